"""Adaptive Masked Reconstruction (AMR) for skeleton sequences, in JAX."""

__version__ = "0.3.0"
