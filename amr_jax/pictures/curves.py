"""Training curves of runs, from their `metrics.jsonl`."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from amr_jax.errors import UserError, did_you_mean
from amr_jax.pictures.style import CYCLE, MARGIN, PAGE, Sheet, styled
from amr_jax.run import paths
from amr_jax.run.metrics import METRICS_FILE, read_metrics

_LEFT, _BELOW, _HIGH = 0.5, 0.34, 1.9  # inches
_DASHES = ("-", "--", ":", "-.")


def read(runs: Sequence[os.PathLike | str]) -> dict[str, list[dict]]:
    """The metrics of runs by the shortest ends of their paths that differ.

    Raises:
      UserError: a folder without metrics, or one twice.
    """
    folders = [paths.absolute(run) for run in runs]
    for folder in folders:
        if not (folder / METRICS_FILE).exists():
            raise UserError(f"{folder / METRICS_FILE}: not found; expected the workdir of a run.")
    parts = [folder.parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise UserError(f"{', '.join(map(str, runs))}: expected every run once.")
    length = next(n for n in range(1, 99) if len({part[-n:] for part in parts}) == len(parts))
    names = ["/".join(part[-length:]) for part in parts]
    return {name: read_metrics(folder) for name, folder in zip(names, folders, strict=True)}


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over a fiftieth of the values, shorter at the ends."""
    half = len(values) // 100
    total = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


@styled
def curves(
    runs: dict[str, list[dict]],
    metrics: Sequence[str] = ("loss",),
    *,
    over: str = "step",
    title: str = "",
    width: float = PAGE,
) -> Figure:
    """A panel for each metric, with a line for each run that has it.

    Args:
      runs: see `read`.
      metrics: their names. Many values are drawn pale, and their running mean over them; those
        that are not finite are left out.
      over: the horizontal axis: `step`, or another key such as `epoch`.
      title: above; '' for none.
      width: inches.

    Raises:
      UserError: a metric of which no run has a finite value.
    """
    sheet = Sheet(width)
    if title:
        sheet.text(title)
    for i, metric in enumerate(metrics):
        axes = sheet.axes(MARGIN + _LEFT, width - _LEFT - 2 * MARGIN - 0.1, _HIGH)
        drawn = {}
        for k, (name, lines) in enumerate(runs.items()):
            pairs = [(line[over], line[metric]) for line in lines if {over, metric} <= line.keys()]
            points = np.array(pairs, float).reshape(-1, 2)
            x, y = points[np.isfinite(points).all(axis=1)].T
            if not len(x):
                continue
            colour, dash = CYCLE[k % len(CYCLE)], _DASHES[k // len(CYCLE) % len(_DASHES)]
            if len(y) >= 100:
                axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.6)
            (drawn[name],) = axes.plot(x, smooth(y), color=colour, linestyle=dash)
        if not drawn:
            known = sorted({key for lines in runs.values() for line in lines for key in line})
            what = "a finite value of it" if metric in known else "it"
            hint = did_you_mean(metric, known) or f" Expected one of {', '.join(known)}."
            raise UserError(f"--metrics={metric}: no run has {what} over {over}.{hint}")
        axes.set_ylabel(metric)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92", linewidth=0.6)
        if i == 0:
            places = [str(k) for k in range(len(drawn))]
            legend = axes.legend(list(drawn.values()), places, frameon=False)
            for text, name in zip(legend.get_texts(), drawn, strict=True):
                text.set_text(name)  # here, as a label that begins with _ would be left out
        last = i == len(metrics) - 1
        axes.tick_params(labelbottom=last)
        axes.set_xlabel(over if last else "")
        sheet.depth += _BELOW if last else 0.12
    return sheet.done()
