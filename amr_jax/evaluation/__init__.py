"""Evaluation of encoders: protocols, adaptation to other data sets, reports."""
