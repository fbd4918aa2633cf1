"""One raw file (or archive member) to arrays: no TFDS, no JAX."""
