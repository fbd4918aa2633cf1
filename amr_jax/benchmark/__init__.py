"""Cost of training, input and preparation: measured on this device, or predicted for another.

    python -m amr_jax.benchmark methods|step|input|prepare|aot|scaling [--json=FILE] …

One module per sub-command. They share `options` (flags), `output` (tables and JSON), `timing`
(interleaved rounds) and `full_size` (the configs that are measured). `accelerators` is the table of
devices, `compiled` reads a compiled program, `cost_model` models a step on many chips.
"""
