"""What things cost on the device at hand, and what they would cost on others.

    python -m amr_jax.benchmark methods|step|input|prepare|scaling|aot [--json=FILE] …

A module for each sub-command, and: `program` (a compiled training step that is timed), `variants`
(of AMR's step), `torch_mamp` (the published step in PyTorch, an extra), `evaluation` (features and
neighbours); `rounds` (the order of timing, and what a row of times says), `roofline` and `growth`
(what times are held against); `accelerators` (peaks of devices that need not be there, and their
compilers), `hlo` (launches and bytes of a compiled program); `options` (flags) and `output` (tables
and JSON).
"""
