"""Configs of the rows of a comparison: pre-training and evaluations."""

from pathlib import Path

import ml_collections

from amr_jax.config import files, settings
from amr_jax.config.comparison import COMPARISON
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.evaluation.protocols import PROTOCOLS


def in_order(config: ml_collections.ConfigDict) -> list[str]:
    """Names of the rows in the order of the tables. Every row is in at least one table.

    Raises:
      UserError: settings of the comparison itself are wrong.
    """
    settings.check(config, COMPARISON)
    if not config.protocols:
        settings.refuse("config.protocols", (), "at least one, such as ('linear', 'knn')")
    for name in config.protocols:
        settings.require_choice("config.protocols: protocol", name, tuple(PROTOCOLS))
    names = list(dict.fromkeys(name for key in config.tables for name in config.tables[key].rows))
    for key in config.tables:
        settings.require_choice(f"config.tables.{key}.plot", config.tables[key].plot, ("time", "r"))
        for name in config.tables[key].rows:
            settings.require_choice(f"config.tables.{key}.rows: row", name, tuple(config.rows))
    for name in config.rows:
        if name not in names:
            raise UserError(f"config.rows.{name} is in no table; add it to config.tables.")
    for key in ("reference", "ours"):
        settings.require_choice(f"config.{key}", config[key], tuple(names))
    return names


def chosen(config: ml_collections.ConfigDict, names: list[str]) -> list[str]:
    """The rows of `names` that `config.only` lists; all rows if it is empty."""
    only = [name.strip() for name in config.only.split(",")] if config.only else names
    for name in only:
        settings.require_choice("config.only: row", name, tuple(names))
    return [name for name in names if name in only]


def pretraining(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The pre-training config of a row, with `config.epochs` if given.

    Raises:
      UserError: no such config file; an override of an unknown key or of another type.
    """
    row = config.rows[name]
    made = _from_file(config, row.config)
    files.override(made, (*config.overrides, *row.overrides))
    made.data_dir, made.seed = config.data_dir, config.seed
    if config.budget == "epochs" and config.epochs:
        set_epochs(made, config.epochs)
    return made


def protocol(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config of a protocol, without the run to evaluate; `UserError` as above."""
    made = _from_file(config, name)
    for text in config.protocol_overrides:
        owner, _, rest = text.partition(".")
        settings.require_choice(
            f"config.protocol_overrides: {text!r}: protocol", owner, tuple(config.protocols)
        )
        if owner == name:
            files.override(made, [rest])
    made.data_dir, made.seed = config.data_dir, config.seed
    return made


def set_epochs(config: ml_collections.ConfigDict, epochs: float) -> None:
    """Sets `epochs` and scales the warm-up with it, leaving at least one epoch after it."""
    warmup = config.optim.warmup_epochs * epochs / config.epochs
    with config.ignore_type():  # fractions of epochs
        config.epochs = epochs
        config.optim.warmup_epochs = max(0, min(round(warmup, 3), epochs - 1))


def _from_file(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config `name` for the data set, from the folder `config.configs` if given."""
    file = str(Path(config.configs) / f"{name}.py") if config.configs else name
    argument = datasets.spell(config.dataset, runlocal=config.runlocal, published=config.published)
    return files.get_config(f"{file}:{argument}")
