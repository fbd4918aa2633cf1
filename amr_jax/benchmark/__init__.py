"""What things cost on the device at hand.

    python -m amr_jax.benchmark methods [--json=FILE] …

Modules: `program` (a compiled training step that is timed), `rounds` (the order of timing, and what
a row of times says), `output` (tables and JSON), and one for each sub-command.
"""
