"""From a row of a comparison to the configs of its pre-training and of its evaluations."""

import ast
import importlib.util
from pathlib import Path

import ml_collections

from amr_jax.errors import UserError
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.models.settings import require, require_choice

BUDGETS = ("epochs", "seconds")


def in_order(config: ml_collections.ConfigDict) -> list[str]:
    """Names of the rows, in the order of the tables; every row stands in one.

    Raises:
      UserError: settings of the comparison itself that do not fit.
    """
    require_choice("config.budget", config.budget, BUDGETS)
    for key in ("epochs", "seconds"):
        require(config[key] >= 0, f"config.{key}={config[key]}: expected 0 or more.")
    require(
        config.budget == "epochs" or config.seconds > 0,
        "config.budget='seconds' needs config.seconds above 0.",
    )
    require(
        len(config.protocols) > 0, "config.protocols is empty; expected e.g. ('linear', 'knn')."
    )
    for name in config.protocols:
        require_choice("config.protocols: protocol", name, tuple(PROTOCOLS))
    names = list(dict.fromkeys(name for key in config.tables for name in config.tables[key].rows))
    for key in config.tables:
        require_choice(f"config.tables.{key}.plot", config.tables[key].plot, ("time", "r"))
        for name in config.tables[key].rows:
            require_choice(f"config.tables.{key}.rows: row", name, tuple(config.rows))
    for name in config.rows:
        require(name in names, f"config.rows.{name} stands in no table; add it to config.tables.")
    for key in ("reference", "ours"):
        require_choice(f"config.{key}", config[key], tuple(names))
    return names


def chosen(config: ml_collections.ConfigDict, names: list[str]) -> list[str]:
    """Those of the rows `names` that `config.only` names, in their order; all if it is empty."""
    only = [name.strip() for name in config.only.split(",")] if config.only else names
    for name in only:
        require_choice("config.only: row", name, tuple(names))
    return [name for name in names if name in only]


def pretraining(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The pre-training config of a row, with `config.epochs`, if any.

    Raises:
      UserError: no such config file; an override of a key that is not there or of another type.
    """
    row = config.rows[name]
    made = _from_file(config, row.config)
    for text in (*config.overrides, *row.overrides):
        override(made, text)
    made.data_dir, made.seed = config.data_dir, config.seed
    if config.budget == "epochs" and config.epochs:
        set_epochs(made, config.epochs)
    return made


def protocol(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config of a protocol, but for the run that it is to judge; `UserError` as above."""
    made = _from_file(config, name)
    for text in config.protocol_overrides:
        owner, _, rest = text.partition(".")
        require_choice(
            f"config.protocol_overrides: {text!r}: protocol", owner, tuple(config.protocols)
        )
        if owner == name:
            override(made, rest)
    made.data_dir, made.seed = config.data_dir, config.seed
    return made


def override(config: ml_collections.ConfigDict, text: str) -> None:
    """Sets one key in place, as the command line would: 'model.contrast=0.1'.

    Raises:
      UserError: not of that form, no such key, or a value of another type.
    """
    key, equals, value = text.partition("=")
    require(bool(equals), f"override {text!r}: expected KEY=VALUE, as in 'model.r=6'.")
    path, _, last = key.rpartition(".")
    section = config
    for part in path.split(".") if path else ():
        section = section.get(part) if isinstance(section, ml_collections.ConfigDict) else None
    if not isinstance(section, ml_collections.ConfigDict) or last not in section:
        known = ", ".join(section) if isinstance(section, ml_collections.ConfigDict) else "none"
        raise UserError(f"override {text!r}: the config has no key {key!r}; there: {known}.")
    try:
        new = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        new = value
    expected = type(section[last])
    if expected is float and type(new) is int:
        new = float(new)
    if type(new) is not expected:
        raise UserError(
            f"override {text!r}: found {new!r} ({type(new).__name__}); expected "
            f"{expected.__name__}, as {section[last]!r}."
        )
    section[last] = new


def set_epochs(config: ml_collections.ConfigDict, epochs: float) -> None:
    """Sets `epochs`, and the warm-up to its share of them, leaving one epoch after it."""
    warmup = config.optim.warmup_epochs * epochs / config.epochs
    with config.ignore_type():  # parts of an epoch
        config.epochs = epochs
        config.optim.warmup_epochs = max(0, min(round(warmup, 3), epochs - 1))


def _from_file(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """`get_config` of one file of `config.configs`, for the comparison's data set."""
    path = Path(config.configs) / f"{name}.py"
    if not path.is_file():
        raise UserError(
            f"{path}: not found; expected the config file that a row or protocol names."
        )
    spec = importlib.util.spec_from_file_location(f"config_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(f"{config.dataset},runlocal" if config.runlocal else config.dataset)
