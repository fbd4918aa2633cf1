"""Curves over epochs as the SVG of a page: its colours follow the page, light or dark."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 340, 196
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 12, 10, 36
_MOST = 300  # points of a curve; more would not be seen


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart, in the units of its SVG (`WIDTH` × `HEIGHT`).

    Attributes:
      title: what is shown.
      lines: (name, points 'x,y x,y …', last value as text) of each curve.
      across, up: ticks of the axes, (position, text).
    """

    title: str
    lines: list[tuple[str, str, str]]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]


def chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Chart | None:
    """The chart of named curves, each (x, y) in the order of x; None if all are empty.

    Long curves are drawn by the means of runs of neighbouring points.
    """
    from matplotlib.ticker import MaxNLocator  # late: half a second that only reports need

    series = {name: _thinned(points) for name, points in series.items() if points}
    if not series:
        return None
    xs, ys = zip(*(point for points in series.values() for point in points), strict=True)
    low, high = min(ys), max(ys)
    if low == high:
        low, high = low - abs(low) / 10 - 1e-9, high + abs(high) / 10 + 1e-9
    up = [float(tick) for tick in MaxNLocator(4).tick_values(low, high)]
    low, high, right = up[0], up[-1], max(xs) or 1.0
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0.0, right)
    across = [float(x) for x in ticks if x <= right]

    def x_of(value: float) -> float:
        return round(_LEFT + value / right * (WIDTH - _LEFT - _RIGHT), 1)

    def y_of(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    return Chart(
        title,
        [
            (name, " ".join(f"{x_of(x)},{y_of(y)}" for x, y in points), f"{points[-1][1]:.4g}")
            for name, points in series.items()
        ],
        [(x_of(x), f"{x:g}") for x in across],
        [(y_of(y), f"{y:.4g}") for y in up],
    )


def of_metrics(lines: Sequence[dict], key: str) -> list[tuple[float, float]]:
    """Epochs and values of a metric, in lines of metrics.jsonl that have it."""
    return [(line["epoch"], line[key]) for line in lines if key in line and "epoch" in line]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // _MOST)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [tuple(map(statistics.fmean, zip(*group, strict=True))) for group in groups]
