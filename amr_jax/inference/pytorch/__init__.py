"""Conversion between weights of published PyTorch code and parameters of amr_jax."""
