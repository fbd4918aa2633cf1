"""Command: writes the built-in data set.

    python -m amr_jax.synthetic --out=DIR [--seed=0] [--performers=10] [--takes=2]

25 actions × 10 performers × 2 takes × 3 cameras = 1,500 files (360 MB, about 10 seconds on two
cores). `--performers=40 --takes=19` gives 57,000, the size of NTU RGB+D 60.
"""

import argparse
import time
from pathlib import Path

from amr_jax.synthetic.actions import ACTIONS
from amr_jax.synthetic.writer import CAMERAS, write


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.synthetic`."""
    start, out = time.monotonic(), Path(flags.out)
    num_files = len(ACTIONS) * flags.performers * flags.takes * len(CAMERAS)
    written = write(
        out,
        seed=flags.seed,
        performers=flags.performers,
        takes=flags.takes,
        num_workers=flags.num_workers,
    )
    if written:
        print(f"{num_files:,} files in {out} ({time.monotonic() - start:.0f} s)")
    else:
        print(f"{out} already holds these {num_files:,} files")


if __name__ == "__main__":
    from amr_jax.__main__ import script

    script("synthetic")
