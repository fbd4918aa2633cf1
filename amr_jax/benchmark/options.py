"""Command-line flags that several sub-commands share."""

import argparse
import os
from pathlib import Path

import jax

from amr_jax.config.base import KERNELS


def positive(text: str) -> int:
    """The type of a count: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number of at least 1")
    return int(text)


def positives(text: str) -> tuple[int, ...]:
    """The type of a list of counts, `1,2,4`; sorted, without repetitions."""
    return tuple(sorted({positive(part.strip()) for part in text.split(",")}))


def json_file(text: str) -> Path:
    """The type of --json. Its folder is checked now, not after minutes of measuring."""
    path = Path(text).expanduser().absolute()
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a file in a folder that exists")
    return path


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", type=json_file, help="file for all measurements")


def add_dtype(parser: argparse.ArgumentParser, *choices: str) -> None:
    """--dtype; the first of the choices is the default."""
    parser.add_argument(
        "--dtype", choices=choices, default=choices[0], help=f"compute dtype (default {choices[0]})"
    )


def add_attention(parser: argparse.ArgumentParser) -> None:
    """--attention."""
    parser.add_argument(
        "--attention",
        choices=("all", *KERNELS),
        default="all",
        help="attention kernel; all (default): each that the device has",
    )


def add_override(parser: argparse.ArgumentParser) -> None:
    """--override, which may be repeated."""
    parser.add_argument(
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of every config that is measured: encoder.depth=4; may be repeated",
    )


def on_cpu() -> bool:
    """Whether the default device is the CPU, for which default sizes are smaller."""
    return jax.default_backend() == "cpu"


def usable_cores() -> int:
    """Cores that this process may run on; XLA starts as many threads on a CPU."""
    # macOS has no affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
