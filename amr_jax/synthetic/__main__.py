"""Command: writes the built-in data set.

    python -m amr_jax.synthetic --out=DIR [--seed=0] [--performers=10] [--takes=2]

25 actions × 10 performers × 2 takes × 3 cameras = 1,500 files (360 MB, about 10 seconds on two
cores). `--performers=40 --takes=19` gives 57,000: as many as NTU RGB+D 60 has.
"""

import argparse
import time
from pathlib import Path

from amr_jax.run.cli import command
from amr_jax.synthetic.actions import ACTIONS
from amr_jax.synthetic.writer import CAMERAS, MAX_TAKES, write


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m amr_jax.synthetic",
        description="Writes simulated skeleton files, in the format and names of NTU RGB+D 60.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new or empty")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--performers", type=int, default=10, help="1 to 40 (default 10)")
    parser.add_argument(
        "--takes",
        type=int,
        default=2,
        help=f"how often each performer does each action, 1 to {MAX_TAKES} (default 2)",
    )
    parser.add_argument("--num_workers", type=int, help="processes (default: one per core)")
    flags = parser.parse_args()

    start = time.monotonic()
    num_files = len(ACTIONS) * flags.performers * flags.takes * len(CAMERAS)
    written = write(
        flags.out,
        seed=flags.seed,
        performers=flags.performers,
        takes=flags.takes,
        num_workers=flags.num_workers,
    )
    if written:
        print(f"{num_files:,} files in {flags.out} ({time.monotonic() - start:.0f} s)")
    else:
        print(f"{flags.out} holds these {num_files:,} files already: nothing to do")


if __name__ == "__main__":
    main()
