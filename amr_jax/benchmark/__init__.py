"""Cost of training, input and preparation: `python -m amr_jax.benchmark WHAT` (docs/benchmarks.md).

One module per sub-command. They share `interface` (flags, tables, JSON), `timing` (steps in
interleaved rounds) and `full_size` (the configs that are measured). `accelerators` is the table of
devices, `compiled` reads a compiled program, `cost_model` models a step on many chips.
"""
