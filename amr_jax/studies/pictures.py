"""A comparison as a picture; its table is in the report (`amr_jax/report/comparison.py`)."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from amr_jax.pictures.style import LEFT, PAGE, RIGHT, png, styled
from amr_jax.run import console
from amr_jax.studies.lines import Line

_OURS, _OTHERS = LEFT, RIGHT  # colours that colour-blind readers tell apart
# Of several lines: colours that colour-blind readers can tell apart (Okabe and Ito), and markers.
_LINES = (
    (_OTHERS, "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#000000", "P"),
)
_BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}  # a legend outside the axes
_DASHES = ("--", ":", "-.", (0, (1, 4)))  # of random encoders


@dataclasses.dataclass(frozen=True)
class Axis:
    """A setting that accuracy is shown over.

    Attributes:
      label: its name and meaning.
      values: row -> value.
      second, second_label: key of the numbers to show beside the accuracies, and their name.
      lines: row -> the line that it is on; empty: all are on one.
    """

    label: str
    values: dict[str, float]
    second: str
    second_label: str
    lines: dict[str, str] = dataclasses.field(default_factory=dict)


@styled
def comparison(
    title: str,
    lines: Sequence[Line],
    axis: Axis | None,
    scale: str,
    ours: str,
    num_test: int,
    accuracies: Mapping[str, str],
) -> bytes:
    """The picture as PNG.

    Args:
      title: title of the picture.
      lines: the lines of the table.
      axis: what accuracy is shown over; None: training time.
      scale: of that axis, 'log' or 'linear'.
      ours: the row to highlight.
      num_test: test sequences, for the bars.
      accuracies: keys and names of accuracies; the plot shows the first that the lines have.
    """
    figure = Figure(figsize=(PAGE, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    key = next((k for k in accuracies if any(line[k] is not None for line in lines)), None)
    if key is not None:
        drawn = [line for line in lines if line[key] is not None]
        points = [
            Point(line, 100 * line[key], 100 * line.error(key, num_test), line.row == ours)
            for line in drawn
            if not line.is_random
        ]
        if axis:
            _over_setting(axes, points, axis, scale)
        else:
            _over_time(axes, points, scale)
        axes.set_ylabel(accuracies[key])
        random = [line for line in drawn if line.is_random]
        for line, style in zip(random, itertools.cycle(_DASHES)):
            height = 100 * line[key]
            axes.axhline(height, color="0.6", linestyle=style, label=line["method"])
        if random:
            several = axis is not None and bool(axis.lines)
            axes.legend(**_BESIDE if several else {"loc": "lower right"})
    axes.set_title(title)
    return png(figure)


@dataclasses.dataclass(frozen=True)
class Point:
    """A line of the table in the plot: its accuracy and standard error in per cent."""

    line: Line
    accuracy: float
    error: float
    is_ours: bool

    @property
    def colour(self) -> str:
        return _OURS if self.is_ours else _OTHERS


def _over_time(axes: Axes, points: Sequence[Point], scale: str) -> None:
    """Plots accuracy over training time; the area of a marker is proportional to GFLOPs."""
    drawn = [point for point in points if point.line["training_seconds"]]
    most = max((point.line["linear_layer_gflops"] for point in drawn), default=1)
    for point in drawn:
        time, colour = point.line["training_seconds"], point.colour
        area = 500 * point.line["linear_layer_gflops"] / most
        axes.errorbar(time, point.accuracy, point.error, color="0.8", capsize=3, zorder=1)
        axes.scatter(time, point.accuracy, area, color=colour, alpha=0.5, linewidths=0, zorder=2)
        axes.scatter(time, point.accuracy, 6, color=colour, zorder=3)
    _label(axes, drawn)
    axes.set_xscale(scale)
    if scale == "log":  # labels of all minor ticks would touch
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    axes.margins(x=0.25, y=0.15)
    axes.xaxis.set_major_formatter(lambda value, _: console.duration(value))
    axes.xaxis.set_minor_formatter(lambda value, _: console.duration(value))
    axes.set_xlabel(
        "training time without compilation; area: GFLOPs of the linear layers; "
        "bars: ± one standard error"
    )


def _label(axes: Axes, drawn: Sequence[Point]) -> None:
    """Writes names beside the points, alternating between above and below."""
    by_time = sorted(drawn, key=lambda point: point.line["training_seconds"])
    for i, point in enumerate(by_time):
        axes.annotate(
            point.line["method"],
            (point.line["training_seconds"], point.accuracy),
            xytext=(10, -15 if i % 2 else 8),
            textcoords="offset points",
            fontsize=8,
        )


def _over_setting(axes: Axes, points: Sequence[Point], axis: Axis, scale: str) -> None:
    """Plots accuracy over the values of a setting, and a second number on an axis of its own."""
    drawn = [point for point in points if point.line.row in axis.values]
    drawn = sorted(drawn, key=lambda point: axis.values[point.line.row])
    x = [axis.values[point.line.row] for point in drawn]
    on_line = {point.line.row: axis.lines.get(point.line.row, "accuracy") for point in drawn}
    names = list(dict.fromkeys(on_line[row] for row in axis.values if row in on_line))
    for name, (colour, marker) in zip(names, itertools.cycle(_LINES)):
        own = [point for point in drawn if on_line[point.line.row] == name]
        axes.errorbar(
            [axis.values[point.line.row] for point in own],
            [point.accuracy for point in own],
            [point.error for point in own],
            marker=marker,
            color=colour,
            capsize=3,
            elinewidth=0.8,
            label=name,
        )
    for value, point in zip(x, drawn, strict=True):
        if point.is_ours and not axis.lines:
            axes.plot(value, point.accuracy, "o", color=_OURS, zorder=3, label=point.line["method"])
    axes.set_xscale(scale)
    if x:
        axes.set_xlim(*_limits(x, scale))
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(f"{axis.label}; bars: ± one standard error")
    if axis.lines:
        axes.legend(**_BESIDE)  # again later, with random encoders
        return
    second = axes.twinx()
    known = [(value, point.line[axis.second]) for value, point in zip(x, drawn, strict=True)]
    known = [(value, number) for value, number in known if number is not None]
    second.plot([v for v, _ in known], [number for _, number in known], "s:", color="0.4")
    second.set_ylim(bottom=0)
    second.set_ylabel(f"{axis.second_label} (squares)")


def _limits(values: Sequence[float], scale: str) -> tuple[float, float]:
    """Ends of an axis with room beside the values, also beside a single one."""
    low, high = min(values), max(values)
    if scale == "log":
        room = max(high / low, 2.0) ** 0.1
        return low / room, high * room
    room = 0.05 * (high - low or abs(high) or 1.0)
    return low - room, high + room
