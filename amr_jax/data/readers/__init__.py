"""Readers of raw files and archive members, one module per format. NumPy only."""
