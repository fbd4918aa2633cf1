"""From a row of a comparison to the configs of its pre-training and of its evaluations."""

from pathlib import Path

import ml_collections

from amr_jax.config import base, files, settings
from amr_jax.errors import UserError
from amr_jax.evaluation.protocols import PROTOCOLS


def in_order(config: ml_collections.ConfigDict) -> list[str]:
    """Names of the rows, in the order of the tables; every row stands in one.

    Raises:
      UserError: settings of the comparison itself that do not fit.
    """
    settings.check(config, base.COMPARISON)
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
    """Those of the rows `names` that `config.only` names, in their order; all if it is empty."""
    only = [name.strip() for name in config.only.split(",")] if config.only else names
    for name in only:
        settings.require_choice("config.only: row", name, tuple(names))
    return [name for name in names if name in only]


def pretraining(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The pre-training config of a row, with `config.epochs`, if any.

    Raises:
      UserError: no such config file; an override of a key that is not there or of another type.
    """
    row = config.rows[name]
    made = _from_file(config, row.config)
    files.override(made, (*config.overrides, *row.overrides))
    made.data_dir, made.seed = config.data_dir, config.seed
    if config.budget == "epochs" and config.epochs:
        set_epochs(made, config.epochs)
    return made


def protocol(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config of a protocol, but for the run that it is to judge; `UserError` as above."""
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
    """Sets `epochs`, and the warm-up to its share of them, leaving one epoch after it."""
    warmup = config.optim.warmup_epochs * epochs / config.epochs
    with config.ignore_type():  # parts of an epoch
        config.epochs = epochs
        config.optim.warmup_epochs = max(0, min(round(warmup, 3), epochs - 1))


def _from_file(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config called `name`, in the folder `config.configs` if any, for the data set."""
    file = str(Path(config.configs) / f"{name}.py") if config.configs else name
    argument = f"{config.dataset},runlocal" if config.runlocal else config.dataset
    return files.get_config(f"{file}:{argument}")
