"""The report of an evaluation."""

import dataclasses
import os
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from amr_jax.data import datasets
from amr_jax.data.records import Records
from amr_jax.data.split import Split
from amr_jax.evaluation import report, results
from amr_jax.evaluation.accuracy import standard_error
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.evaluation.task import Outcome
from amr_jax.report import curves, page, strips
from amr_jax.run import metrics, workdir

_LEVELS = (0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)  # bounds of the colours of the heat map
_MAX_NAME = 28  # characters of a class name beside the heat map


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """A confusion matrix of the classes that occur, as squares of unit size.

    Attributes:
      names: labels of the K classes, 'number name'.
      cells: (row, column, colour from 1, text, count and names of the classes in words) of the
        cells that are not 0.
      size: pixels of a square, which has room for `text` if that is not ''.
      room: pixels for the longest name.
    """

    names: list[str]
    cells: list[tuple[int, int, int, str, str]]
    size: int
    room: int


def content(
    folder: os.PathLike | str,
    command: str | None,
    facts: Mapping[str, str],
    notes: Sequence[str],
    found: Mapping,
    sources: Sequence[Records],
    splits: Sequence[Split],
    outcomes: Mapping[str, Outcome],
) -> str:
    """The page of a finished evaluation.

    Args:
      folder: its workdir.
      command: the command line; None: it was started from Python, or by a comparison.
      facts: what is evaluated, on which data and devices, by name.
      notes: what a reader of the accuracies should know, a sentence each.
      found: the content of results.json.
      sources, splits: the records, training and test, and what was read of them.
      outcomes: of each encoder, by its name.
    """
    folder, (_, test) = epath.Path(folder), splits
    config = workdir.read_config(folder)
    confusions = {
        name: report.confusion_matrix(test.label, outcome.predictions, len(test.class_names))
        for name, outcome in outcomes.items()
    }
    changed, others = page.options(config)
    titles = results.TITLES if "scratch" in config else {}
    head, rows = _accuracies(found, titles, len(test.label))
    pretraining = found["pretraining"]
    return page.render(
        "evaluation.html",
        title=f"{config.protocol} on {config.dataset}",
        kind="Evaluation",
        folder=folder,
        command=command,
        num_test=f"{len(test.label):,}",
        bounds=["> 0", *(f"≥ {100 * bound:g}" for bound in _LEVELS[1:-1])],
        tiles=_tiles(found, titles, len(test.label)),
        head=head,
        rows=rows,
        facts=facts,
        notes=notes,
        encoders=[titles.get(name, name) for name in confusions],
        classes=per_class(test, list(confusions.values())),
        absent=[n for k, n in enumerate(test.class_names) if not (test.label == k).any()],
        heat_map=heat_map(test.class_names, next(iter(confusions.values()))),
        first=titles.get(next(iter(confusions)), next(iter(confusions))),
        neighbours=_neighbours(config.dataset, sources, splits, next(iter(outcomes.values()))),
        main_charts=_charts(metrics.read_metrics(folder), outcomes),
        run_link=page.relative(pretraining["workdir"], folder) if pretraining else None,
        changed=changed,
        others=others,
        versions=page.versions(folder),
        links=page.links(folder),
    )


def _tiles(found: Mapping, titles: Mapping[str, str], num_test: int) -> list[tuple[str, str, str]]:
    """The numbers at the top: top-1 of each encoder, and what was tested."""
    tiles = []
    for name, numbers in found["encoders"].items():
        top1, spread = numbers["top1"], numbers.get("top1_std")
        error = standard_error(top1, num_test) if spread is None else spread
        what = "standard error" if spread is None else "deviation over draws"
        title = f"top-1, {titles.get(name, name)}"
        tiles.append((title, f"{100 * top1:.1f} %", f"± {100 * error:.1f}, {what}"))
    classes = f"of {found['classes_in_test']} classes"
    return [*tiles, ("test sequences", f"{num_test:,}", classes)]


def _accuracies(
    found: Mapping, titles: Mapping[str, str], num_test: int
) -> tuple[list[str], list[list[str]]]:
    """The table of the encoders: head and rows; ± is the standard error of the test set's size."""
    rows = {titles.get(name, name): numbers for name, numbers in found["encoders"].items()}
    head, cells = report.cells(rows, PROTOCOLS[found["protocol"]].columns)
    for row, numbers in zip(cells, rows.values(), strict=True):
        row.insert(2, f"{100 * standard_error(numbers['top1'], num_test):.2f}")
    head.insert(2, "standard error")
    kept = [i for i in range(len(head)) if any(row[i] for row in cells)]
    return [head[i] for i in kept], [[row[i] for i in kept] for row in cells]


def per_class(test: Split, confusions: Sequence[np.ndarray]) -> list[dict]:
    """The classes of the test split: number, name, sequences, accuracies, frequent confusions.

    Args:
      test: the test split.
      confusions: (K, K) of each encoder, of all draws; the confusions shown are of the first.
    """
    rows, names = [], test.class_names
    for k, count in zip(*np.unique(test.label, return_counts=True), strict=True):
        row = confusions[0][k]
        others = [i for i in np.argsort(-row, kind="stable") if i != k and row[i]][:2]
        rows.append(
            {
                "number": int(k),
                "name": names[k],
                "count": int(count),
                "accuracies": [100 * c[k, k] / c[k].sum() for c in confusions],
                "confused": [(names[i], 100 * row[i] / row.sum()) for i in others],
            }
        )
    return rows


def heat_map(names: Sequence[str], confusion: np.ndarray) -> HeatMap:
    """The confusion matrix (K, K) of the classes that occur, as true or as predicted ones."""
    kept = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    few = len(kept) <= 32
    total = confusion.sum(axis=1)
    cells = []
    for row, i in enumerate(kept):
        for column, j in enumerate(kept):
            if confusion[i, j]:
                share = confusion[i, j] / total[i]
                about = f"{names[i]} → {names[j]}: {confusion[i, j]} of {total[i]}"
                text = f"{100 * share:.0f}" if few else ""
                level = int(np.searchsorted(_LEVELS[1:-1], share, side="right")) + 1
                cells.append((row, column, level, text, about))
    labels = [f"{k} {_short(names[k])}" for k in kept]
    room = 14 + round(6.2 * max(map(len, labels)))
    return HeatMap(labels, cells, 26 if few else 13, room)


def _neighbours(
    dataset: str, sources: Sequence[Records], splits: Sequence[Split], outcome: Outcome
) -> list[dict]:
    """Test sequences with their nearest training sequences, drawn; none without `nearest`."""
    layout, (train, test) = datasets.get(dataset).layout, splits

    def drawn(source: Records, split: Split, place: int) -> dict:
        clip = source.joints(place)
        return {
            "name": split.names[place],
            "label": split.class_names[split.label[place]],
            "strip": strips.strip(clip, layout, source.channels),
        }

    found, shown = outcome.nearest, []
    for i, place in enumerate(found.test if found else ()):
        near = [
            drawn(sources[0], train, at) | {"similarity": f"{cosine:.3f}"}
            for at, cosine in zip(found.train[i], found.similarity[i], strict=True)
        ]
        own = drawn(sources[1], test, place)
        predicted = test.class_names[outcome.predictions[place]]
        shown.append(own | {"predicted": predicted, "near": near})
    return shown


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def _charts(lines: Sequence[dict], encoders: Mapping[str, Outcome]) -> list[curves.Chart]:
    """Accuracy and loss over the epochs of a protocol that trains; none of others."""
    if len({line["step"] for line in lines}) < 2:
        return []
    made = []
    for key, title in (("top1", "top-1 on the test set"), ("train_loss", "training loss")):
        series = {name: _points(lines, name, key) for name in encoders}
        made.append(curves.chart(title, series))
    return [chart for chart in made if chart]


def _points(lines: Sequence[dict], name: str, key: str) -> list[tuple[float, float]]:
    """Epochs and values of an encoder's metric; of a protocol of several draws, their means."""
    found: dict[int, list[float]] = {}
    for line in lines:
        values = [v for k, v in line.items() if k.startswith(f"{name}/") and k.endswith(f"/{key}")]
        found.setdefault(line["step"], []).extend(values)
    return [(step, statistics.fmean(values)) for step, values in sorted(found.items()) if values]
