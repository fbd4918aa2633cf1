"""The built-in data: raw files in the format of NTU RGB+D 60, of simulated persons.

    python -m amr_jax.synthetic --out=DIR

Modules, in the order in which things happen: `body` (bones and poses), `actions` (25 classes:
`solo` and `pairs`, written with `acting`), `performance` (who does what, how and where), `sensor`
(three cameras and their flaws), `skeleton_file` (the text), `writer` (the folder). No JAX here.
"""

from amr_jax.synthetic.writer import write

__all__ = ["write"]
