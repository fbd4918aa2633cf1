"""What `python -m amr_jax.compare` consists of: rows' configs, budget, tables, pictures."""
