"""What things cost on the device at hand, and what they would cost on others.

    python -m amr_jax.benchmark methods [--json=FILE] …
    python -m amr_jax.benchmark aot [--json=FILE] …

Modules: `program` (a compiled training step that is timed), `rounds` (the order of timing, and what
a row of times says), `accelerators` (peaks of devices that need not be there, and their compilers),
`hlo` (launches and bytes of a compiled program), `output` (tables and JSON), and one for each
sub-command.
"""
