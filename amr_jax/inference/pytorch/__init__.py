"""Weights of other people's code, into amr_jax and back."""
