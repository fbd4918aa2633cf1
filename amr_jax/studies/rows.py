"""Configs of the rows of a comparison: pre-training and evaluations."""

from pathlib import Path

import ml_collections

from amr_jax.config import files, settings
from amr_jax.config.comparison import COMPARISON
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.evaluation import ensembles
from amr_jax.evaluation.protocols import PROTOCOLS

# Where `config.validation` asks for a part of the training split.
_FITTED, _JUDGED = "train[!validation]", "train[validation]"

TIME = "time"  # the axis of a table's picture that is no setting


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
        for name in config.tables[key].rows:
            settings.require_choice(f"config.tables.{key}.rows: row", name, tuple(config.rows))
        _check_plot(config, key)
    for name in config.rows:
        if name not in names:
            raise UserError(f"config.rows.{name} is in no table; add it to config.tables.")
        if is_ensemble(config.rows[name]):
            _check_ensemble(config, name)
    for key in ("reference", "ours"):
        settings.require_choice(f"config.{key}", config[key], tuple(names))
    return names


def is_ensemble(row: ml_collections.ConfigDict) -> bool:
    """Whether a row is an ensemble of others (`config.comparison.ensemble`), and trains nothing."""
    return "members" in row


def _check_plot(config: ml_collections.ConfigDict, name: str) -> None:
    """Raises `UserError` if the axis of a table's picture is not a number of any of its rows."""
    plot, among = config.tables[name].plot, config.tables[name].rows
    scale = config.tables[name].get("scale", "log")  # absent in files of one's own
    settings.require_choice(f"config.tables.{name}.scale", scale, ("log", "linear"))
    if plot != TIME and all(setting(config, row, plot) is None for row in among):
        settings.refuse(
            f"config.tables.{name}.plot",
            plot,
            f"'{TIME}', or a key of the rows' configs that is a number, such as 'model.r'",
        )


def _check_ensemble(config: ml_collections.ConfigDict, name: str) -> None:
    row, trained = config.rows[name], [n for n in config.rows if not is_ensemble(config.rows[n])]
    for member in row.members:
        settings.require_choice(f"config.rows.{name}.members: row", member, trained)
    if len(row.members) < 2:
        settings.refuse(f"config.rows.{name}.members", row.members, "at least two rows")
    ensembles.check_weights(f"config.rows.{name}.weights", row.weights, len(row.members))
    if not any(PROTOCOLS[protocol].has_logits for protocol in config.protocols):
        able = [key for key, protocol in PROTOCOLS.items() if protocol.has_logits]
        settings.refuse(
            "config.protocols",
            config.protocols,
            f"one whose logits the row {name!r} can sum: {settings.one_of(able)}",
        )


def chosen(config: ml_collections.ConfigDict, names: list[str]) -> list[str]:
    """The rows of `names` that `config.only` lists, by name or table; all rows if it is empty."""
    only = []
    for name in [name.strip() for name in config.only.split(",")] if config.only else names:
        if name not in names:
            settings.require_choice("config.only: row or table", name, (*names, *config.tables))
        only += [name] if name in names else config.tables[name].rows
    return [name for name in names if name in only]


def pretraining(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The pre-training config of a row, with `config.epochs` if given.

    Raises:
      UserError: no such config file; an override of an unknown key or of another type.
    """
    row = config.rows[name]
    made = _from_file(config, row.config)
    if config.validation:
        made.input.split = _FITTED
    files.override(made, (*config.overrides, *row.overrides))
    made.data_dir, made.seed = config.data_dir, config.seed
    if config.budget == "epochs" and config.epochs:
        set_epochs(made, config.epochs)
    return made


def setting(config: ml_collections.ConfigDict, name: str, key: str) -> float | None:
    """The value of a key of a row's pre-training config; None if it has no such number."""
    if is_ensemble(config.rows[name]):
        return None
    value = settings.flat(pretraining(config, name)).get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def protocol(config: ml_collections.ConfigDict, name: str, row: str) -> ml_collections.ConfigDict:
    """The config of a protocol for a row, without the run to evaluate; `UserError` as above."""
    made = _from_file(config, name)
    if config.validation:
        made.train_split, made.test_split = _FITTED, _JUDGED
    for text in config.protocol_overrides:
        owner, _, rest = text.partition(".")
        settings.require_choice(
            f"config.protocol_overrides: {text!r}: protocol", owner, tuple(config.protocols)
        )
        if owner == name:
            files.override(made, [rest])
    files.override(made, config.rows[row].get("evaluation", ()))
    made.data_dir, made.seed = config.data_dir, config.seed
    return made


def set_epochs(config: ml_collections.ConfigDict, epochs: float) -> None:
    """Sets `epochs`, and scales the warm-up and the end of the schedule with it.

    At least one epoch follows the warm-up.
    """
    stretch = epochs / config.epochs
    with config.ignore_type():  # fractions of epochs
        config.epochs = epochs
        warmup = round(config.optim.warmup_epochs * stretch, 3)
        config.optim.warmup_epochs = max(0, min(warmup, epochs - 1))
        if config.optim.schedule_epochs is not None:
            end = round(config.optim.schedule_epochs * stretch, 3)
            config.optim.schedule_epochs = min(end, epochs)


def _from_file(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config `name` for the data set, from the folder `config.configs` if given."""
    file = str(Path(config.configs) / f"{name}.py") if config.configs else name
    argument = datasets.spell(config.dataset, runlocal=config.runlocal, published=config.published)
    return files.get_config(f"{file}:{argument}")
