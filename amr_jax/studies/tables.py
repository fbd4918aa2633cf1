"""Tables of a comparison: Markdown with notes, CSV of raw numbers, LaTeX, and a picture of each."""

import functools
import os
from collections.abc import Collection, Mapping, Sequence

import ml_collections
from etils import epath

from amr_jax.config import base, settings
from amr_jax.evaluation import latex, report
from amr_jax.evaluation.task import Column, Protocol
from amr_jax.run import console, workdir
from amr_jax.studies import lines as table_lines
from amr_jax.studies import notes, pictures, pivots, published, rows
from amr_jax.studies.lines import MISSING, Line

_known = functools.partial(Column, measured=False)


def columns(
    reference: str, accuracies_on: str, judges: Mapping[str, Protocol], metrics: Mapping[str, str]
) -> list[Column]:
    """All columns, in order.

    Args:
      reference: title of the row that speed-ups are relative to.
      accuracies_on: data set of the published accuracies.
      judges: of `rows.judges`.
      metrics: metrics of pre-training to show: name -> head.
    """
    judged = [
        column
        for name, judge in judges.items()
        for column in (
            Column(table_lines.number_key(name), f"{judge.title} %", _percent),
            *judge.columns,
        )
    ]
    return [
        _known("method", "method", str),
        _known("epochs", "epochs", "{:g}".format),
        _known("predicted_patches", "predicted patches", "{:,}".format),
        _known("parameters", "parameters", "{:,}".format),
        _known("linear_layer_gflops", "GFLOPs a sequence, linear layers", "{:.3g}".format),
        _known("compiler_gflops", "GFLOPs a sequence, compiler", "{:.3g}".format),
        _known("training_seconds", "training time", console.duration),
        _known("speed_up", f"speed-up against {reference}", "{:.2f}×".format),
        _known("step_bytes", "peak memory of a step", lambda n: f"{n / 2**20:,.0f} MiB"),
        *(
            Column(table_lines.metric_key(name), head, "{:.3f}".format, optional=True)
            for name, head in metrics.items()
        ),
        *judged,
        _known("published_predicted_patches", "published: predicted patches", "{:,}".format),
        _known("published_gflops", "published: GFLOPs", "{:.1f}".format),
        _known("published_hours", "published: training", "{:.1f} h".format),
        _known("published_speed_up", "published: speed-up", "{:.1f}×".format),
        _known("published_linear_top1", f"published: linear % ({accuracies_on})", _percent),
    ]


def cells(lines: Sequence[Line], shown: Sequence[Column]) -> list[list[str]]:
    """The texts of the cells, without the head; of several seeds, 'mean ± deviation'."""

    def text(line: Line, column: Column) -> str:
        value = line[column.key]
        if value is None:
            return MISSING
        spread = line.std(column.key) if column.measured else None
        return column.text(value) + ("" if spread is None else f" ± {column.text(spread)}")

    return [[text(line, column) for column in shown] for line in lines]


def markdown(title: str, lines: Sequence[Line], shown: Sequence[Column], under: str) -> str:
    """A table with a title above it and notes under it."""
    texts = [[c.head for c in shown], ["---"] * len(shown), *cells(lines, shown)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in texts)
    return f"## {title}\n\n{table}\n\n{under}\n"


def csv(lines: Sequence[Line], shown: Sequence[Column], seeds: int) -> str:
    """The raw numbers: seconds, bytes, accuracies as fractions; empty cells for None.

    Of several seeds, a row has a line for each, one for the mean, and one for the sample standard
    deviation of what is measured; the column `seed` says which.
    """
    keys = [column.key for column in shown]
    if seeds == 1:
        return report.csv_text(
            [["row", *keys], *([line.row, *(line[key] for key in keys)] for line in lines)]
        )
    texts = [["row", "seed", *keys]]
    for line in lines:
        for seed, record in line.each.items():
            texts.append([line.row, seed, *(record.get(key) for key in keys)])
        texts.append([line.row, "mean", *(line[key] for key in keys)])
        stds = (line.std(column.key) if column.measured else None for column in shown)
        texts.append([line.row, "std", *stds])
    return report.csv_text(texts)


def write(
    folder: os.PathLike | str,
    config: ml_collections.ConfigDict,
    finished: Mapping[str, Sequence[dict]],
    command: str,
    names: Collection[str] | None = None,
) -> str:
    """Writes NAME.md, NAME.csv, NAME.tex and NAME.png of every table with a finished row.

    Args:
      folder: workdir of the comparison.
      config: config of the comparison.
      finished: name of a row -> row.json of its finished seeds.
      command: command line, for the notes.
      names: of the tables to write; None: all.

    Returns:
      These tables as Markdown. One of several data sets has no picture (pivots.py).
    """
    # Titles may change after a row is finished.
    finished = {
        name: [cell | {"title": config.rows[name].title} for cell in each]
        for name, each in finished.items()
    }
    texts, judges = [], rows.judges(config)
    for name, table in config.tables.items():
        here = [finished[row] for row in table.rows if row in finished]
        if not here or (names is not None and name not in names):
            continue
        if rows.is_pivot(table):
            files = pivots.table(config, table, finished, command)
            texts.append(files["md"])
            for ending, text in files.items():
                workdir.write(epath.Path(folder) / f"{name}.{ending}", text)
            continue
        accuracies_on = published.accuracies_on(table.rows, config.dataset)
        everything = [cell for each in finished.values() for cell in each]
        reference = finished.get(config.reference, [])
        lines = table_lines.of_rows(here, reference, accuracies_on, everything)
        shown = columns(
            config.rows[config.reference].title,
            accuracies_on,
            judges,
            table.get("metrics", {}),
        )
        shown = [c for c in shown if c.belongs(line[c.key] for line in lines)]
        if not any(name in published.ROWS for name in table.rows):
            shown = [c for c in shown if not c.key.startswith("published_")]
        under = notes.under(config, table, lines, finished, command)
        texts.append(markdown(table.title, lines, shown, under))
        head, title = [column.head for column in shown], f"{table.title}, {config.dataset}"
        picture = pictures.comparison(
            title,
            lines,
            axis=_axis(config, table),
            scale=table.get("scale", "log"),
            ours=config.ours,
            num_test=here[0][0]["test_sequences"],
            accuracies={
                table_lines.number_key(name): f"{judge.title}, top-1 %"
                for name, judge in judges.items()
            },
        )
        workdir.write(epath.Path(folder) / f"{name}.md", texts[-1])
        workdir.write(epath.Path(folder) / f"{name}.csv", csv(lines, shown, config.seeds))
        text = latex.table(head, cells(lines, shown), title, name, under)
        workdir.write(epath.Path(folder) / f"{name}.tex", text)
        workdir.write(epath.Path(folder) / f"{name}.png", picture)
    return "\n".join(texts)


def _axis(
    config: ml_collections.ConfigDict, table: ml_collections.ConfigDict
) -> pictures.Axis | None:
    """The setting that a table's picture shows accuracy over; None: training time."""
    if table.plot == rows.TIME:
        return None
    values = {name: rows.setting(config, name, table.plot) for name in table.rows}
    values = {name: value for name, value in values.items() if value is not None}
    method = rows.pretraining(config, next(iter(values))).method
    about = settings.lookup(base.of_method(method), table.plot).help
    costs = {"linear_layer_gflops": "GFLOPs a sequence, linear layers"}
    metrics = {table_lines.metric_key(n): head for n, head in table.get("metrics", {}).items()}
    key, head = next(iter((metrics or costs).items()))
    by = table.get("by")  # absent in files of one's own
    lines = {name: f"{by} = {rows.setting(config, name, by):g}" for name in values} if by else {}
    return pictures.Axis(f"{table.plot}: {about}", values, key, head, lines)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
