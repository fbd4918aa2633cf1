"""Evaluation of encoders: protocols, what they share, adaptation to other data sets, reports."""
