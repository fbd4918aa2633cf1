"""Configs of the rows of a comparison: pre-training and evaluations."""

import dataclasses
import fnmatch
from pathlib import Path

import ml_collections

from amr_jax.config import arguments, files, settings
from amr_jax.config.comparison import COMPARISON
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.evaluation import ensembles
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.evaluation.task import Protocol
from amr_jax.studies.lines import number_key

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
    for name, variant in config.variants.items():
        key = f"config.variants.{name}"
        if name in PROTOCOLS:
            settings.refuse(key, variant.title, "another name: a protocol is called so")
        settings.require_choice(f"{key}.protocol", variant.protocol, tuple(PROTOCOLS))
    for name in config.protocols:
        known = (*PROTOCOLS, *config.variants)
        settings.require_choice("config.protocols: protocol", name, known)
    names = list(dict.fromkeys(name for key in config.tables for name in config.tables[key].rows))
    for key in config.tables:
        for name in config.tables[key].rows:
            settings.require_choice(f"config.tables.{key}.rows: row", name, tuple(config.rows))
        if is_pivot(config.tables[key]):
            _check_pivot(config, key)
        else:
            _check_plot(config, key)
    for name in config.rows:
        if name not in names:
            raise UserError(f"config.rows.{name} is in no table; add it to config.tables.")
        if is_ensemble(config.rows[name]):
            _check_ensemble(config, name)
        elif first := config.rows[name].get("start_from"):
            before = [row for row in names[: names.index(name)] if "config" in config.rows[row]]
            settings.require_choice(f"config.rows.{name}.start_from: earlier row", first, before)
    for key in ("reference", "ours"):
        settings.require_choice(f"config.{key}", config[key], tuple(names))
    return names


def is_ensemble(row: ml_collections.ConfigDict) -> bool:
    """Whether a row is an ensemble of others (`config.comparison.ensemble`), and trains nothing."""
    return "members" in row


def is_pivot(table: ml_collections.ConfigDict) -> bool:
    """Whether a table is one of several data sets (`config.comparison.pivot`)."""
    return "gains" in table


def judged_on(config: ml_collections.ConfigDict, name: str) -> tuple[str, ...]:
    """The data sets that a row names for its evaluations; none: that of the comparison."""
    return tuple(config.rows[name].get("judged_on", ()))  # absent in files of one's own


def judged_alike(config: ml_collections.ConfigDict, name: str) -> list[str]:
    """The rows whose protocols have the settings that those of a row have."""
    own = config.rows[name].get("evaluation", ())
    return [other for other, spec in config.rows.items() if spec.get("evaluation", ()) == own]


def key(protocol: str, dataset: str | None = None) -> str:
    """Where a row has its results of a protocol: PROTOCOL, or SET/PROTOCOL of a named data set."""
    return f"{datasets.short(dataset)}/{protocol}" if dataset else protocol


def _check_pivot(config: ml_collections.ConfigDict, name: str) -> None:
    """Raises `UserError` for rows that a table of several data sets cannot show."""
    table = config.tables[name]
    titles = {}
    for row in table.rows:
        if is_ensemble(config.rows[row]) or not judged_on(config, row):
            raise UserError(
                f"config.tables.{name}.rows: {row} is judged on no data set of its own; expected "
                "row(…, judged_on=…) in every row of a table of several data sets."
            )
        for dataset in judged_on(config, row):
            datasets.get(dataset)
            cell = config.rows[row].title, datasets.short(dataset)
            if cell in titles:
                raise UserError(
                    f"config.tables.{name}.rows: {titles[cell]} and {row} have the title "
                    f"{cell[0]!r} and are both judged on {cell[1]}; expected another title for one "
                    "of them, and another name for one of two data sets."
                )
            titles[cell] = row
    for title in {title for pair in table.gains for title in pair}:
        known = [config.rows[row].title for row in table.rows]
        settings.require_choice(f"config.tables.{name}.gains: title", title, known)


def protocol_of(config: ml_collections.ConfigDict, name: str) -> str:
    """The protocol that a name in `config.protocols` stands for: itself, or that of a variant."""
    return config.variants[name].protocol if name in config.variants else name


def judges(config: ml_collections.ConfigDict) -> dict[str, Protocol]:
    """What evaluates the rows: protocols and variants of them, by name, as tables know them.

    The keys of their columns are those of a cell's numbers: NAME_METRIC.
    """
    made = {}
    for name in config.protocols:
        protocol, variant = PROTOCOLS[protocol_of(config, name)], config.variants.get(name)
        more = f", {variant.title}" if variant else ""
        columns = (
            dataclasses.replace(c, key=number_key(name, c.key), head=f"{c.head}{more}")
            for c in protocol.columns
        )
        title = f"{protocol.title}{more}"
        made[name] = dataclasses.replace(protocol, title=title, columns=tuple(columns))
    return made


def _check_plot(config: ml_collections.ConfigDict, name: str) -> None:
    """Raises `UserError` if the axis of a table's picture is not a number of any of its rows."""
    for row in config.tables[name].rows:
        if not is_ensemble(config.rows[row]) and judged_on(config, row):
            raise UserError(
                f"config.tables.{name}.rows: {row} is judged on data sets of its own; expected it "
                "in a table of several data sets, pivot(title, rows)."
            )
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
    row = config.rows[name]
    trained = [n for n in config.rows if not (is_ensemble(config.rows[n]) or judged_on(config, n))]
    for member in row.members:
        settings.require_choice(f"config.rows.{name}.members: row", member, trained)
    if len(row.members) < 2:
        settings.refuse(f"config.rows.{name}.members", row.members, "at least two rows")
    ensembles.check_weights(f"config.rows.{name}.weights", row.weights, len(row.members))
    if not any(judge.has_logits for judge in judges(config).values()):
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
        matching = fnmatch.filter(names, name)
        if not matching:
            settings.require_choice("config.only: row or table", name, (*names, *config.tables))
        only += matching or config.tables[name].rows
    return [name for name in names if name in only]


def pretraining(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The pre-training config of a row, with `config.epochs` if given.

    Raises:
      UserError: no such config file; an override of an unknown key or of another type; one that
        trains on sequences that are for validation.
    """
    made = _from_file(config, config.rows[name].config, config.rows[name].get("dataset"))
    if config.validation:
        made.input.split = _FITTED
    files.override(made, overrides(config, name))
    if config.validation and made.input.split != _FITTED:
        settings.refuse(
            "config.input.split",
            made.input.split,
            f"{_FITTED!r}, as {_JUDGED} judges; or --judge_on=test (of a comparison: "
            "--config.validation=False)",
        )
    made.data_dir, made.seed = config.data_dir, config.seed
    if config.budget == "epochs" and config.epochs:
        set_epochs(made, max(1, round(config.epochs * stage(config, name))))
    return made


def stage(config: ml_collections.ConfigDict, name: str) -> float:
    """What a row has of the budget of the comparison: 1; of a later stage, its share of the first.

    The share is that of the epochs in the rows' configs.
    """
    spec = config.rows[name]
    if not spec.get("start_from"):
        return 1.0
    own, first = (
        _from_file(config, row.config, row.get("dataset")).epochs
        for row in (spec, config.rows[spec.start_from])
    )
    return own / first * stage(config, spec.start_from)


def overrides(config: ml_collections.ConfigDict, name: str) -> list[str]:
    """The overrides of a row's pre-training config: of all rows, of the row, 'PATTERN:KEY=VALUE'.

    The last one of a key counts.
    """
    every, some = [], []
    for text in config.overrides:
        pattern, colon, rest = text.partition(":")
        if "=" in pattern or not colon:
            every.append(text)
        elif not fnmatch.filter(config.rows, pattern):
            settings.require_choice(f"config.overrides: {text!r}: row", pattern, config.rows)
        elif fnmatch.fnmatch(name, pattern):
            some.append(rest)
    return [*every, *config.rows[name].overrides, *some]


def setting(config: ml_collections.ConfigDict, name: str, key: str) -> float | None:
    """The value of a key of a row's pre-training config; None if it has no such number."""
    if is_ensemble(config.rows[name]):
        return None
    value = settings.flat(pretraining(config, name)).get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def protocol(
    config: ml_collections.ConfigDict, name: str, row: str, on: str | None = None
) -> ml_collections.ConfigDict:
    """The config of a protocol for a row, without the run to evaluate; `UserError` as above.

    The overrides of a protocol are those of its variants, too; a variant's own come after them.

    Args:
      name: of the protocol, or of a variant.
      on: the data set; None: that of the comparison.
    """
    usual = protocol_of(config, name)
    made = _from_file(config, usual, on)
    if config.validation:
        made.train_split, made.test_split = _FITTED, _JUDGED
    given: dict[str, list[str]] = {}
    for text in config.protocol_overrides:
        owner, _, rest = text.partition(".")
        known = (*PROTOCOLS, *config.variants)
        settings.require_choice(f"config.protocol_overrides: {text!r}: protocol", owner, known)
        given.setdefault(owner, []).append(rest)
    files.override(made, given.get(usual, ()))
    if usual != name:
        files.override(made, (*config.variants[name].overrides, *given.get(name, ())))
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


def _from_file(
    config: ml_collections.ConfigDict, name: str, dataset: str | None
) -> ml_collections.ConfigDict:
    """The config `name` for a data set, from the folder `config.configs` if given."""
    file = str(Path(config.configs) / f"{name}.py") if config.configs else name
    options = {option: config[option] for option in arguments.OPTIONS}
    argument = arguments.spell(dataset or config.dataset, config.size, **options)
    return files.get_config(f"{file}:{argument}")
