"""Cells of a comparison: a row with one seed, and its file row.json.

A cell trains and evaluates (trained.py), or sums the scores of the cells of other rows with the
same seed (summed.py). Either has a `row`, a `seed` and a `folder`, and two functions:

  read(finished): the cell's row.json; None if it is not finished;
  run(finished): does what is missing, writes row.json and returns it;

`finished` has the row.json of each finished cell, by row and seed.
"""

import json
from collections.abc import Iterable, Mapping

import ml_collections
from etils import epath

from amr_jax import evaluate
from amr_jax.errors import UserError
from amr_jax.run import workdir

ROW_FILE = "row.json"

# (row, seed) -> row.json
Finished = Mapping[tuple[str, int], dict]


def folder_of(
    root: epath.Path, config: ml_collections.ConfigDict, row: str, seed: int
) -> epath.Path:
    """The folder of a cell: ROW for the first seed, ROW/seedN for the others."""
    return root / row if seed == config.seed else root / row / f"seed{seed}"


def is_finished(folder: epath.Path, protocols: Iterable[str]) -> bool:
    """Whether a cell's folder holds row.json, and all results that this was made of."""
    results = (folder / name / evaluate.RESULTS_FILE for name in protocols)
    return all(path.exists() for path in (folder / ROW_FILE, *results))


def read(folder: epath.Path) -> dict:
    """The row.json of a cell's folder; `UserError` if it is not readable."""
    path = folder / ROW_FILE
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(
            f"{path}: not readable as JSON ({error}). Delete it: the command writes it again."
        ) from error


def write(folder: epath.Path, row: dict) -> None:
    """Writes the row.json of a cell's folder."""
    workdir.write(folder / ROW_FILE, json.dumps(row, indent=2, allow_nan=False) + "\n")
