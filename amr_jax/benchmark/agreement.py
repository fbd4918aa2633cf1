"""Losses of training with each attention kernel of this device, beside those of the plain formula.

    python -m amr_jax.benchmark agreement [--steps=200] [--methods=amr,mamp] [--json=FILE]

Every program starts from the same state and takes the same steps, on the same few batches of random
clips again and again. Rounding alone lets two trainings drift apart, so a difference has a measure
beside it: that of the plain formula with another seed. A kernel agrees if its losses at the end
differ from the plain ones by much less than those of another seed do.
"""

import argparse
from typing import Any

import ml_collections
import numpy as np

from amr_jax.benchmark import full_size, interface
from amr_jax.errors import UserError
from amr_jax.models import attention
from amr_jax.run import cli, console
from amr_jax.studies import costs

_BATCHES = 10  # that are trained on in turn
_BODIES = 16

COLUMNS = {
    "method": interface.number("name"),
    "attention": interface.number("attention"),
    "first loss": interface.number("first", ".5f"),
    "last losses": interface.number("last", ".5f"),
    "differ at first": interface.number("first_difference", ".1e"),
    "at most": interface.number("largest_difference", ".1e"),
    "at last": interface.number("last_difference", ".1e"),
    "another seed": interface.number("seed_difference", ".1e"),
}


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    names = ", ".join(row.name for row in full_size.all_rows())
    parser.add("methods", str, "all", f"some of: {names}")
    parser.add("steps", cli.at_least(_BATCHES), 200, f"of training, a multiple of {_BATCHES}")
    parser.add("bodies", cli.at_least(1), _BODIES, "per step")
    parser.add("dtype", str, "auto", "compute dtype: float32, bfloat16; auto: the device's")
    interface.add_override(parser)


def losses(config: ml_collections.ConfigDict, steps: int) -> np.ndarray:
    """The loss of each step, (steps,), of `costs.training_step` on the same batches in turn."""
    dispatch, state, batch = costs.training_step(config, _BATCHES)
    found = []
    for _ in range(steps // _BATCHES):
        state, metrics = dispatch(state, {}, batch)
        found.append(np.asarray(metrics["loss"], np.float64))
    return np.concatenate(found)


def compared(found: np.ndarray, plain: np.ndarray) -> dict[str, float]:
    """Relative differences of losses (steps,): of the first step, at most, and of the last mean.

    The last mean is that over the last `_BATCHES` steps, each batch once.
    """
    each = np.abs(found - plain) / np.abs(plain)
    first, last = found[0], found[-_BATCHES:].mean()
    before = plain[-_BATCHES:].mean()
    return {
        "first": float(first),
        "last": float(last),
        "first_difference": float(each[0]),
        "largest_difference": float(each.max()),
        "last_difference": float(abs(last - before) / abs(before)),
    }


def rows_of(row: full_size.Row, flags: argparse.Namespace) -> list[dict[str, Any]]:
    """The entries of a method: the plain formula, then each other kernel of this device."""

    def config(kernel, *more):
        overrides = (*flags.override, *more)
        return full_size.config_of(row, flags.bodies, flags.dtype, kernel, overrides)

    plain = losses(config("xla"), flags.steps)
    other = losses(config("xla", "seed=1"), flags.steps)
    noise = compared(other, plain)["last_difference"]
    entries = [{"attention": "xla", **compared(plain, plain)}]
    kernels = {attention.for_backend(), *full_size.kernels(config("xla").dtype)} - {"xla"}
    for kernel in sorted(kernels):
        found = losses(config(kernel), flags.steps)
        entries.append({"attention": kernel, **compared(found, plain), "seed_difference": noise})
    console.say(f"{row.name}: done")
    return [{"name": row.name, **entry} for entry in entries]


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures and prints the table; returns the content of the JSON file.

    Raises:
      UserError: steps that are no multiple of the batches; an override that does not fit.
    """
    rows = full_size.select(full_size.all_rows(), flags.methods, "--methods")
    if flags.steps % _BATCHES:
        raise UserError(f"--steps={flags.steps}: expected a multiple of {_BATCHES}.")
    entries = [entry for row in rows for entry in rows_of(row, flags)]
    interface.print_table(entries, COLUMNS)
    used = {name: getattr(flags, name) for name in ("steps", "bodies", "override")}
    return {**used, "rows": entries}
