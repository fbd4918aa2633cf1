"""The built-in data: simulated persons in raw files of NTU RGB+D 60.

    python -m amr_jax.synthetic --out=DIR

Modules, in the order of use: `body` (bones and poses), `actions` (25 classes in `solo` and `pairs`,
written with `acting`), `performance` (performers, their style and position), `sensor` (three
cameras and their errors), `skeleton_file` (the text), `writer` (the folder).
"""

from amr_jax.synthetic.writer import write

__all__ = ["write"]
