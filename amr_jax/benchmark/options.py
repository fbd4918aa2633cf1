"""Command-line flags that several sub-commands have."""

import argparse
import os

import jax

from amr_jax.benchmark import output
from amr_jax.models.attention import KERNELS


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """--dtype."""
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="compute dtype; auto (default): float32 on CPU, bfloat16 on accelerators",
    )


def add_attention(parser: argparse.ArgumentParser) -> None:
    """--attention: a kernel, or all."""
    parser.add_argument(
        "--attention",
        choices=("all", *KERNELS),
        default="all",
        help="kernel; all (default): each that the device has",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", type=output.json_file, help="file for everything measured")


def add_override(parser: argparse.ArgumentParser) -> None:
    """--override, as often as one likes."""
    parser.add_argument(
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="of every config that is measured, as encoder.depth=4; may be repeated",
    )


def on_cpu() -> bool:
    """Whether the default device is the CPU: defaults of sizes are smaller there."""
    return jax.default_backend() == "cpu"


def usable_cores() -> int:
    """Cores that this process may run on; XLA takes as many threads on a CPU."""
    # Not on macOS, where a process cannot be kept to some of them.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
