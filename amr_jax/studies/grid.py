"""A sweep as a comparison: a row for each point of a grid over keys of a pre-training config."""

import copy
import itertools
import math
import re
from collections.abc import Mapping, Sequence

import ml_collections

from amr_jax.config import comparison, files, settings
from amr_jax.data import datasets
from amr_jax.errors import UserError

TABLE = "sweep"

# What a comparison sets for all rows.
_NOT_SWEPT = {
    "seed": "--seeds=3 to train every point with three seeds",
    "data_dir": "--config.data_dir=DATA",
    "dataset": "a sweep for each data set, in --config=NAME:DATASET",
    "method": "a sweep for each method, in --config=NAME",
}

# Key -> text of each value -> the value.
Grid = Mapping[str, Mapping[str, object]]


def parse(texts: Sequence[str], config: ml_collections.ConfigDict) -> Grid:
    """The values of each key, from arguments such as 'optim.lr=1e-4,1e-3'.

    Args:
      texts: a key each.
      config: the pre-training config; its keys and their types are the ones allowed.

    Raises:
      UserError: no argument, one of another form, an unknown key, a value of another type, a key or
        a value twice.
    """
    if not texts:
        raise UserError("no KEY=VALUE,VALUE to sweep over; expected such as optim.lr=1e-4,1e-3.")
    grid: dict[str, dict[str, object]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.removeprefix("config.")
        if not equals:
            raise UserError(f"{text}: expected KEY=VALUE,VALUE, as in optim.lr=1e-4,1e-3.")
        if key in grid:
            raise UserError(f"{text}: {key} is there twice; expected all its values in one place.")
        if key in _NOT_SWEPT:
            raise UserError(f"{text}: {key} is the same in all rows; expected {_NOT_SWEPT[key]}.")
        grid[key] = {}
        for value in _split(values):
            changed = copy.deepcopy(config)
            files.override(changed, [f"{key}={value}"])
            found = settings.lookup(changed, key)
            if found in grid[key].values():
                raise UserError(f"{text}: the value {value} is there twice; expected it once.")
            grid[key][value] = found
    return grid


def _split(text: str) -> list[str]:
    """'(4,),(4,8)' → ['(4,)', '(4,8)']: commas within brackets separate nothing."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def comparison_of(
    spec: str, config: ml_collections.ConfigDict, overrides: Sequence[str], grid: Grid
) -> ml_collections.ConfigDict:
    """The config of the comparison whose rows are the points of a grid.

    The row that others are compared with has the config's own values, or else the first ones.

    Args:
      spec: of the pre-training config, 'NAME:ARGUMENT'.
      config: this config with its overrides.
      overrides: 'KEY=VALUE', of all rows.
      grid: of `parse`.
    """
    name, _, argument = spec.partition(":")
    made = comparison.comparison(argument) if argument else comparison.comparison(config.dataset)
    if made.dataset != config.dataset:
        settings.refuse("config.dataset", config.dataset, f"{made.dataset}, as in --config={spec}")
    made.data_dir, made.seed, made.overrides = config.data_dir, config.seed, tuple(overrides)
    own, names = {key: settings.lookup(config, key) for key in grid}, []
    for point in itertools.product(*grid.values()):
        values = dict(zip(grid, point, strict=True))
        row, changes = _row_name(values), [f"{key}={value}" for key, value in values.items()]
        if row in names:
            raise UserError(f"two points of the grid would have the folder {row}: {changes}.")
        names.append(row)
        made.rows[row] = comparison.row(", ".join(changes), name, *changes)
        if len(names) == 1 or {key: grid[key][values[key]] for key in grid} == own:
            made.reference = made.ours = row
    numbers = [key for key in grid if all(map(_is_number, grid[key].values()))]
    title = f"Sweep of {', '.join(grid)}"
    if len(grid) <= 2 and len(numbers) == len(grid):
        scale = _scale(list(grid[numbers[0]].values()))
        table = comparison.table(title, names, numbers[0], scale, *numbers[1:])
    else:
        table = comparison.table(title, names)
    made.tables[TABLE] = table
    return made


def _row_name(values: Mapping[str, str]) -> str:
    """The folder of a point: {'optim.lr': '1e-3', 'model.r': '6'} → 'lr_1e-3_r_6'."""
    last = [key.rpartition(".")[2] for key in values]
    parts = []
    for key, value in values.items():
        short = key.rpartition(".")[2]
        parts += [short if last.count(short) == 1 else key, value.strip("()[]'\" ")]
    # No dots: names of rows are keys of a config.
    return re.sub(r"[^A-Za-z0-9+-]+", "_", "_".join(parts).replace(".", "p")).strip("_")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scale(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return "log" if low > 0 and math.log10(high / low) >= 1 else "linear"


def judged_on_validation(dataset: str, judge_on: str | None) -> bool:
    """Whether rows are judged on a part of the training split; by default where a set has one.

    Raises:
      UserError: `judge_on` is 'validation', and the set has no such part.
    """
    part = datasets.get(dataset).validation
    if judge_on == "validation" and part is None:
        raise UserError(
            f"--judge_on=validation: {dataset} has no part for validation of its own; expected "
            "--judge_on=test, or splits in --config.input.split and a comparison of your own."
        )
    return part is not None if judge_on is None else judge_on == "validation"
