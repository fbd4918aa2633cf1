r"""Sweep: pre-trains and evaluates a method at every point of a grid, and writes a table.

  amr-jax sweep --config=amr:nwucla optim.lr=1e-4,1e-3 model.r=3,6 --config.data_dir=DATA \
      --workdir=DIR

A sweep is a comparison (`amr_jax.compare`) whose rows are the points of the grid: each has a folder
in DIR, and the same command resumes with what is missing. More values or seeds may follow in the
same DIR; a further key makes new points. By default points are judged on the part of the training
split that a data set has for validation, and trained on the rest, so that the test split remains
for the one that is chosen.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("sweep")


import argparse
import math
import shlex
from collections.abc import Mapping, Sequence

import ml_collections

from amr_jax import compare
from amr_jax.evaluation.accuracy import standard_error
from amr_jax.run import console
from amr_jax.studies import grid, lines, published, rows


def main(config: ml_collections.ConfigDict, flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.sweep`."""
    points = grid.parse(flags.values, config)
    made = grid.comparison_of(flags.config, config, flags.overrides, points)
    made.seeds = flags.seeds
    made.protocols = tuple(name.strip() for name in flags.protocols.split(","))
    made.validation = grid.judged_on_validation(made.dataset, flags.judge_on)
    console.say(f"{len(made.rows)} points of {' × '.join(points)}; judged on {_judged_on(made)}")
    found = compare.run(made, flags.workdir, flags.command)
    found = {row: cells for row, cells in found.items() if row in made.rows}
    chosen = []
    for protocol, judge in rows.judges(made).items():
        row, text = best(found, protocol, judge.title, _judged_on(made))
        console.say(text)
        chosen += made.rows[row].overrides if not chosen else ()
    given = [f"--config.{text}" for text in (*flags.overrides, *chosen)]
    command = shlex.join(["amr-jax", "pretrain", f"--config={flags.config}", *given])
    console.say(f"the first of these, on all of the training split: {command} --workdir=RUN")


def best(
    found: Mapping[str, Sequence[dict]], protocol: str, title: str, judged_on: str
) -> tuple[str, str]:
    """Which row is best; a sentence on it, and on how many are as good within the noise.

    Args:
      found: row -> row.json of its seeds.
      protocol, title: that judges, and its name in tables.
      judged_on: the split.
    """
    every = [cell for cells in found.values() for cell in cells]
    num_test, key = every[0]["test_sequences"], lines.number_key(protocol)
    table = lines.of_rows(list(found.values()), [], published.COMMON, every)
    ranked = sorted((x for x in table if not x.is_random), key=lambda line: -line[key])
    first, others = ranked[0], ranked[1:]
    near = sum(
        first[key] - other[key]
        <= 2 * math.hypot(first.error(key, num_test), other.error(key, num_test))
        for other in others
    )
    error = 100 * standard_error(first[key], num_test)
    return first.row, (
        f"best by {title} on {judged_on} ({num_test:,} sequences, ± {error:.1f}): "
        f"{first['method']}, {100 * first[key]:.1f} %; {near} of {len(others)} others are within "
        "twice the standard error of the difference"
    )


def _judged_on(made: ml_collections.ConfigDict) -> str:
    if made.validation:
        return "train[validation], trained on train[!validation]"
    return "the test split, which a choice by this table uses up"
