"""Draws the pictures of docs/show.md from the output of launch/quickstart.sh.

    python docs/images/show.py runs/quickstart

The built-in data and the encoder that the quickstart trains: nothing of others is shown.
"""

import sys
from pathlib import Path

from PIL import Image

from amr_jax.__main__ import main

PLACE = Path(__file__).parent / "show"


def draw(quickstart: Path) -> None:
    """Runs the commands of the page, and makes their files small."""
    run, clip = f"--run={quickstart}/amr", f"{quickstart}/raw/S001C001P001R001A050.skeleton"
    commands = {
        "clip": ["clip", clip],
        "seen": ["seen", run, "--index=20"],
        "attention": ["attention", run, "--index=20"],
        "neighbours": ["neighbours", run, "--rows=4"],
        "map": ["map", run],
    }
    PLACE.mkdir(exist_ok=True)
    for name, arguments in commands.items():
        out = PLACE / f"{name}.png"
        main(["show", *arguments, "--dpi=120", f"--out={out}"])
        image = Image.open(out).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
        image.save(out, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
