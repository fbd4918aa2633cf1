"""Comparisons of methods: configs of their rows, costs, tables and pictures."""
