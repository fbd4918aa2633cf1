"""Tables of a comparison: Markdown with notes, CSV of raw numbers, and a picture of each."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ml_collections
from etils import epath

from amr_jax.evaluation import report
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.evaluation.task import Column
from amr_jax.run import console, workdir
from amr_jax.studies import pictures, published

MISSING = "–"

# One line of a table: key of a `Column` -> raw value, or None.
Record = dict[str, Any]


def columns(reference: str, accuracies_on: str, protocols: Iterable[str]) -> list[Column]:
    """All columns, in order.

    Args:
      reference: title of the row that speed-ups are relative to.
      accuracies_on: data set of the published accuracies.
      protocols: names of the protocols of the comparison.
    """
    judged = [
        column
        for name in protocols
        for column in (
            Column(_top1(name), f"{PROTOCOLS[name].title} %", _percent),
            *PROTOCOLS[name].columns,
        )
    ]
    return [
        Column("method", "method", str),
        Column("epochs", "epochs", "{:g}".format),
        Column("predicted_patches", "predicted patches", "{:,}".format),
        Column("parameters", "parameters", "{:,}".format),
        Column("linear_layer_gflops", "GFLOPs a sequence, linear layers", "{:.3g}".format),
        Column("compiler_gflops", "GFLOPs a sequence, compiler", "{:.3g}".format),
        Column("training_seconds", "training time", console.duration),
        Column("speed_up", f"speed-up against {reference}", "{:.2f}×".format),
        Column("step_bytes", "peak memory of a step", lambda n: f"{n / 2**20:,.0f} MiB"),
        *judged,
        Column("published_predicted_patches", "published: predicted patches", "{:,}".format),
        Column("published_gflops", "published: GFLOPs", "{:.1f}".format),
        Column("published_hours", "published: training", "{:.1f} h".format),
        Column("published_speed_up", "published: speed-up", "{:.1f}×".format),
        Column("published_linear_top1", f"published: linear % ({accuracies_on})", _percent),
    ]


def records(
    rows: Sequence[dict], reference: dict | None, accuracies_on: str, finished: Iterable[dict]
) -> list[Record]:
    """The raw lines of a table; the last one is the random encoder's.

    Args:
      rows: contents of row.json, at least one.
      reference: content of row.json of the row that speed-ups are relative to; None if it is not
        finished.
      accuracies_on: data set of the published accuracies.
      finished: contents of row.json of all finished rows; one of them has the random encoder.
    """
    lines = []
    for row in rows:
        costs, known = row["costs"], published.of(row["row"])
        epoch, of_reference = _epoch_seconds(row), reference and _epoch_seconds(reference)
        lines.append(
            {
                "row": row["row"],
                "method": row["title"],
                "epochs": row["epochs"],
                "predicted_patches": costs["num_predicted"],
                "parameters": costs["parameters"],
                "linear_layer_gflops": costs["linear_gflops"],
                "compiler_gflops": costs["compiler_gflops"],
                "training_seconds": row["training_seconds"],
                "speed_up": of_reference / epoch if of_reference and epoch else None,
                "step_bytes": costs["step_bytes"],
                **_accuracies(row, "pretrained"),
                **{f"published_{key}": value for key, value in known.costs().items()},
                "published_linear_top1": known.linear.get(accuracies_on),
                # Not a column; pictures need it.
                "patches": costs["num_patches"],
            }
        )
    random = dict.fromkeys(lines[0]) | {"row": "random", "method": "random encoder"}
    # It was evaluated with one of the rows only.
    evaluated = (_accuracies(row, "random") for row in finished)
    random |= next((found for found in evaluated if set(found.values()) != {None}), {})
    return [*lines, random]


def cells(lines: Sequence[Record], shown: Sequence[Column]) -> list[list[str]]:
    """The texts of the cells, without the head."""
    return [
        [MISSING if line[c.key] is None else c.text(line[c.key]) for c in shown] for line in lines
    ]


def markdown(title: str, lines: Sequence[Record], shown: Sequence[Column], notes: str) -> str:
    """A table with a title above it and notes under it."""
    rows = [[c.head for c in shown], ["---"] * len(shown), *cells(lines, shown)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"## {title}\n\n{table}\n\n{notes}\n"


def csv(lines: Sequence[Record], shown: Sequence[Column]) -> str:
    """The raw numbers: seconds, bytes, accuracies as fractions; empty cells for None."""
    keys = ["row", *(column.key for column in shown)]
    return report.csv_text([keys, *([line[key] for key in keys] for line in lines)])


def verdict(lines: Sequence[Record], ours: str, num_test: int) -> str:
    """Lists the rows that are better than row `ours` in accuracy or cost, by the same rule for all.

    An accuracy is better beyond the noise of the test set if it leads by more than twice the
    standard error of the difference. The variation between seeds is not part of that error.
    """
    own = next((line for line in lines if line["row"] == ours), None)
    if own is None:
        return f"{ours} is not finished: there is no comparison yet."

    def better(key: str, sign: int = -1) -> list[Record]:
        """The rows with less of `key` than `ours` has; with sign = 1, with more."""
        known = [line for line in lines if None not in (line[key], own[key])]
        return [line for line in known if sign * (line[key] - own[key]) > 0]

    clearly, barely = [], []
    for name, protocol in PROTOCOLS.items():
        key = _top1(name)
        for line in better(key, sign=1):
            lead = line[key] - own[key]
            errors = [standard_error(accuracy, num_test) for accuracy in (own[key], line[key])]
            (clearly if lead > 2 * math.hypot(*errors) else barely).append(
                f"{line['method']} ({protocol.title}, +{100 * lead:.1f})"
            )
    noise = "twice the standard error of the difference"
    ahead = {
        f"Ahead of {own['method']} by more than {noise}": clearly,
        "Ahead within that noise": barely,
        "Faster to train": [line["method"] for line in better("speed_up", sign=1)],
        "Fewer GFLOPs (linear layers)": [line["method"] for line in better("linear_layer_gflops")],
        "Fewer GFLOPs (compiler)": [line["method"] for line in better("compiler_gflops")],
        "Less memory": [line["method"] for line in better("step_bytes")],
    }
    return " ".join(f"{what}: {', '.join(names) or 'none'}." for what, names in ahead.items())


def standard_error(accuracy: float, num_test: int) -> float:
    """Standard error of an accuracy on `num_test` sequences: √(p(1 − p)/n)."""
    return math.sqrt(accuracy * (1 - accuracy) / num_test)


def write(
    folder: os.PathLike | str,
    config: ml_collections.ConfigDict,
    finished: dict[str, dict],
    command: str,
) -> str:
    """Writes NAME.md, NAME.csv and NAME.png of every table with a finished row.

    Args:
      folder: workdir of the comparison.
      config: config of the comparison.
      finished: name of a row -> content of its row.json.
      command: command line, for the notes.

    Returns:
      All tables as Markdown.
    """
    texts = []
    for name, table in config.tables.items():
        # Titles may change after a row is finished.
        rows = [
            finished[row] | {"title": config.rows[row].title}
            for row in table.rows
            if row in finished
        ]
        if not rows:
            continue
        accuracies_on = published.accuracies_on(table.rows, config.dataset)
        lines = records(rows, finished.get(config.reference), accuracies_on, finished.values())
        title = config.rows[config.reference].title
        shown = columns(title, accuracies_on, config.protocols)
        num_test = rows[0]["test_sequences"]
        missing = [row for row in table.rows if row not in finished]
        better = verdict(lines, config.ours, num_test)
        texts.append(
            markdown(table.title, lines, shown, notes(config, rows, missing, better, command))
        )
        picture = pictures.comparison(
            f"{table.title}, {config.dataset}",
            [column.head for column in shown],
            cells(lines, shown),
            lines,
            plot=table.plot,
            ours=config.ours,
            error=lambda p, n=num_test: standard_error(p, n),
        )
        workdir.write(epath.Path(folder) / f"{name}.md", texts[-1])
        workdir.write(epath.Path(folder) / f"{name}.csv", csv(lines, shown))
        workdir.write(epath.Path(folder) / f"{name}.png", picture)
    return "\n".join(texts)


def notes(
    config: ml_collections.ConfigDict,
    rows: Sequence[dict],
    missing: Sequence[str],
    better: str,
    command: str,
) -> str:
    """The notes under a table, as a Markdown list.

    Args:
      config: config of the comparison.
      rows: contents of row.json of the table's finished rows.
      missing: names of the rows that are not finished.
      better: the sentence of `verdict`.
      command: command line of the last start.
    """

    def each(text: Callable[[dict], str]) -> str:
        return "; ".join(dict.fromkeys(text(row) for row in rows))

    def encoder(row: dict) -> str:
        sizes = row["encoder"]
        return f"T = {sizes['num_frames']}, width {sizes['width']}, depth {sizes['depth']}"

    def versions(row: dict) -> str:
        found = row["versions"]
        return ", ".join(f"{key} {found[key]}" for key in ("amr_jax", "jax", "jaxlib", "flax"))

    num_test = rows[0]["test_sequences"]
    best = max(
        row["protocols"][key]["pretrained"]["top1"] for row in rows for key in row["protocols"]
    )
    budget = (
        f"every row trains for {config.seconds:,.0f} s at the rate of a short run before it"
        if config.budget == "seconds"
        else "every row trains for the epochs in its line"
    )
    lines = [
        better,
        f"Not finished yet: {', '.join(missing)}." if missing else "",
        f"{config.dataset}: {rows[0]['train_sequences']:,} training and {num_test:,} test "
        f"sequences. One seed ({config.seed}); the standard error of an accuracy on that many test "
        f"sequences is {100 * standard_error(best, num_test):.1f} points at {_percent(best)} %.",
        f"Budget: {budget}. Encoder: {each(encoder)}; {each(lambda r: r['dtype'])}; "
        f"attention by {each(lambda r: r['attention_kernel'])}; batch "
        f"{each(lambda r: str(r['batch_size']))}. Trained on "
        f"{each(lambda r: r['records'])}.",
        "Training time: all steps at the rate of the timed ones, without compilation; the speed-up "
        "is per epoch. Other work on the machine slows training down.",
        "GFLOPs: a forward pass of one sequence (bodies: "
        f"{each(lambda r: str(r['bodies']))}). Peak memory: a training step on one device, by the "
        "compiler.",
        *(column.note for name in config.protocols for column in PROTOCOLS[name].columns),
        "Published figures: NTU-60 x-sub, one L20 GPU, 400 epochs; GFLOPs of the linear layers for "
        "two bodies; speed-up relative to MAMP.",
        f"Device: {each(lambda r: r['versions']['devices'])}. {each(versions)}. "
        f"Last row finished: {max(row['finished'] for row in rows)}. Command: `{command}`",
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _epoch_seconds(row: dict) -> float | None:
    return row["training_seconds"] and row["training_seconds"] / row["epochs"]


def _accuracies(row: dict, encoder: str) -> Record:
    found = {}
    for name, protocol in PROTOCOLS.items():
        metrics = row["protocols"].get(name, {}).get(encoder, {})
        found[_top1(name)] = metrics.get("top1")
        found |= {column.key: metrics.get(column.key) for column in protocol.columns}
    return found


def _top1(protocol: str) -> str:
    """The key of the accuracy by a protocol."""
    return f"{protocol}_top1"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
