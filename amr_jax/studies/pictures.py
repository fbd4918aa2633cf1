"""A comparison as a picture: a plot, and under it the table."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amr_jax.evaluation import report
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.run import console

# The plot shows the first of these that the lines have.
_ACCURACIES = {f"{name}_top1": f"{p.title}, top-1 %" for name, p in PROTOCOLS.items()}
_OURS, _OTHERS = "tab:red", "tab:blue"
_HEAD_WIDTH = 13  # characters per line in the head of a column


def comparison(
    title: str,
    head: Sequence[str],
    cells: Sequence[Sequence[str]],
    lines: Sequence[dict[str, Any]],
    plot: str,
    ours: str,
    error: Callable[[float], float],
) -> bytes:
    """The picture as PNG.

    Args:
      title: title of the picture.
      head, cells: texts of the table.
      lines: raw lines of the table (`tables.records`); the last one is the random encoder's.
      plot: 'time' plots accuracy over training time, 'r' over r.
      ours: the row to highlight.
      error: function from an accuracy to its standard error.
    """
    head = [textwrap.fill(text, _HEAD_WIDTH) for text in head]
    widths = [
        max(len(part) for text in column for part in text.split("\n")) + 2
        for column in zip(head, *cells, strict=True)
    ]
    height = 0.3 * (len(cells) + 4)
    figure = Figure(figsize=(0.085 * sum(widths), 6 + height), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[6, height])
    key = next((k for k in _ACCURACIES if lines[0][k] is not None), None)
    if key is not None:
        (_over_r if plot == "r" else _over_time)(above, lines, key, ours, error)
        above.set_ylabel(_ACCURACIES[key])
        if lines[-1][key] is not None:  # None if the row that it was evaluated with is gone
            height = 100 * lines[-1][key]
            above.axhline(height, color="0.6", linestyle="--", label="random encoder")
            above.legend(loc="lower right")
    above.set_title(title)
    _draw_table(below, head, cells, widths)
    return report.png(figure)


def _over_time(axes: Axes, lines, key: str, ours: str, error) -> None:
    """Plots accuracy over training time; the area of a marker is proportional to GFLOPs."""
    drawn = [line for line in lines if line["training_seconds"] and line[key] is not None]
    most = max((line["linear_layer_gflops"] for line in drawn), default=1)
    for line in drawn:
        time, accuracy = line["training_seconds"], line[key]
        colour = _OURS if line["row"] == ours else _OTHERS
        area = 500 * line["linear_layer_gflops"] / most
        axes.errorbar(time, 100 * accuracy, 100 * error(accuracy), color="0.8", capsize=3, zorder=1)
        axes.scatter(time, 100 * accuracy, area, color=colour, alpha=0.5, linewidths=0, zorder=2)
        axes.scatter(time, 100 * accuracy, 6, color=colour, zorder=3)
    _label(axes, drawn, key)
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.xaxis.set_major_formatter(lambda value, _: console.duration(value))
    axes.xaxis.set_minor_formatter(lambda value, _: console.duration(value))
    axes.set_xlabel(
        "training time without compilation (log); area: GFLOPs of the linear layers; "
        "bars: ± one standard error"
    )


def _label(axes: Axes, drawn, key: str) -> None:
    """Writes names beside the points, alternating between the sides."""
    by_time = sorted(drawn, key=lambda line: line["training_seconds"])
    for i, line in enumerate(by_time):
        left = i % 2 == 1
        axes.annotate(
            line["method"],
            (line["training_seconds"], 100 * line[key]),
            xytext=(-14 if left else 14, 4),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=9,
        )


def _over_r(axes: Axes, lines, key: str, ours: str, error) -> None:
    """Plots accuracy and GFLOPs (second axis) over r, the patches per predicted patch."""
    drawn = [line for line in lines if line["predicted_patches"] and line[key] is not None]
    drawn = sorted(drawn, key=lambda line: -line["predicted_patches"])
    r = [line["patches"] / line["predicted_patches"] for line in drawn]
    accuracy = [100 * line[key] for line in drawn]
    bars = [100 * error(line[key]) for line in drawn]
    axes.errorbar(r, accuracy, bars, marker="o", color=_OTHERS, capsize=3, label="accuracy")
    for x, y, line in zip(r, accuracy, drawn, strict=True):
        if line["row"] == ours:
            axes.plot(x, y, "o", color=_OURS, zorder=3, label=line["method"])
    axes.set_xscale("log")
    axes.set_xticks(r, [f"{value:g}" for value in r])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("r: patches per predicted patch; bars: ± one standard error")
    cost = axes.twinx()
    cost.plot(r, [line["linear_layer_gflops"] for line in drawn], "s:", color="0.4")
    cost.set_ylim(bottom=0)
    cost.set_ylabel("GFLOPs per sequence, linear layers (squares)")


def _draw_table(axes: Axes, head, cells, widths) -> None:
    axes.set_axis_off()
    table = axes.table(
        cells, colLabels=head, colWidths=[w / sum(widths) for w in widths], loc="upper center"
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    tall = max(text.count("\n") + 1 for text in head)
    unit = 1 / (len(cells) + tall)
    for (row, column), cell in table.get_celld().items():
        cell.set_height(unit * (tall if row == 0 else 1))
        cell.set_edgecolor("0.8")
        if row == 0:
            cell.set_facecolor("0.92")
        if column == 0:
            cell.set_text_props(ha="left")
