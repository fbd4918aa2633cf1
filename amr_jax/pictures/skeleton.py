"""Skeletons on paper: a body, a film strip of a clip.

The left limbs are orange, the right ones blue, the trunk is dark; a second person is paler. Every
frame of a strip is centred left to right on the persons in it; heights are as they are.
"""

import dataclasses
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from amr_jax.pictures import project
from amr_jax.pictures.style import FAINT, LEFT, MARGIN, PAGE, RIGHT, TRUNK, WEIGHTS, Sheet, styled
from amr_jax.skeleton.layouts import Layout

_TALLEST = 1.5  # inches of a row of a strip
_LINE = 0.19  # inches of a line of type


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a strip.

    Attributes:
      label: written at its left.
      points: (K, M, V, 2) of K frames, as `project.points` gives them.
      values: (K, M, V) in [0, 1], which size and colour of joints show; None: limbs in colours.
      marked: (K, M, V) bool, joints with a mark; the others are pale. None: limbs in colours.
      behind: (K, M, V, 2), drawn in grey behind; None: nothing.
    """

    label: str
    points: np.ndarray
    values: np.ndarray | None = None
    marked: np.ndarray | None = None
    behind: np.ndarray | None = None


def lines(layout: Layout) -> list[tuple[int, int, str]]:
    """The lines to draw, (joint, joint, colour).

    They are the layout's bones. Layouts of detectors hang the arms on the nose and the hips on the
    shoulders; there, lines across shoulders and hips close the trunk instead.
    """
    parent = dict(layout.bones)
    face = {i for i, name in enumerate(layout.joints) if name == "nose"}
    sides = {left: LEFT for left, _ in layout.left_right}
    sides |= {right: RIGHT for _, right in layout.left_right}
    across = [
        (left, right, TRUNK)
        for left, right in layout.left_right
        if layout.joints[left] in ("left shoulder", "left hip")
        and (parent.get(left) != parent.get(right) or parent.get(left) in face)
    ]
    hung = {joint for pair in across for joint in pair[:2] if parent.get(joint) in face}
    bones = [
        (child, above, sides.get(child, TRUNK))
        for child, above in layout.bones
        if child not in hung
    ]
    return bones + across


def heads(layout: Layout) -> list[int]:
    """The joint that a dot marks as the head, in a list; an empty one if none is named so."""
    names = [name for name in ("head", "nose") if name in layout.joints]
    return [layout.joints.index(name) for name in names[:1]]


def draw_body(axes: Axes, points: np.ndarray, layout: Layout, pale: float = 0.0) -> None:
    """Draws the lines of one body; lines to joints that are not there (NaN) are left out.

    Args:
      axes: of equal scale.
      points: (V, 2).
      layout: the joints.
      pale: 0 for full colours, towards 1 for white.
    """
    drawn = [(a, b, c) for a, b, c in lines(layout) if np.isfinite(points[[a, b]]).all()]
    segments = [points[[a, b]] for a, b, _ in drawn]
    colours = [1 - (1 - np.array(to_rgb(c))) * (1 - pale) for _, _, c in drawn]
    axes.add_collection(
        LineCollection(segments, colors=colours, linewidths=1.3, capstyle="round"), autolim=False
    )
    head = [i for i in heads(layout) if np.isfinite(points[i]).all()]
    tone = 1 - (1 - np.array(to_rgb(TRUNK))) * (1 - pale)
    axes.scatter(*points[head].T, s=14, color=tone, linewidths=0, zorder=2)


def _draw_grey(axes: Axes, points: np.ndarray, layout: Layout) -> None:
    drawn = [points[[a, b]] for a, b, _ in lines(layout) if np.isfinite(points[[a, b]]).all()]
    axes.add_collection(LineCollection(drawn, colors=FAINT, linewidths=0.8), autolim=False)


def _draw(axes: Axes, row: Row, k: int, shift: np.ndarray, layout: Layout) -> None:
    """Frame k of a row."""
    for m, body in enumerate(row.points[k]):
        here = np.isfinite(body).all(axis=-1)
        if not here.any():
            continue
        body = body + shift
        if row.behind is not None:
            _draw_grey(axes, row.behind[k, m] + shift, layout)
        if row.values is None and row.marked is None:
            draw_body(axes, body, layout, pale=0.0 if m == 0 else 0.55)
            continue
        _draw_grey(axes, body, layout)
        if row.values is not None:
            w = row.values[k, m][here]
            colour = matplotlib.colormaps[WEIGHTS](w)
            axes.scatter(*body[here].T, s=2 + 22 * w, c=colour, linewidths=0, zorder=2)
        else:
            seen = here & row.marked[k, m]
            axes.scatter(*body[seen].T, s=9, color=TRUNK, linewidths=0, zorder=3)


def strip(
    sheet: Sheet,
    rows: Sequence[Row],
    layout: Layout,
    names: Sequence[str],
    left: float = MARGIN,
    width: float | None = None,
    tallest: float = _TALLEST,
) -> list[Axes]:
    """Adds rows of the same frames, one under the other, all at one scale.

    Args:
      sheet: gets the rows.
      rows: see `Row`; the first one decides what is in the middle of the view.
      layout: the joints.
      names: (K,), written under the frames.
      left, width: inches; None: to the margin at the right.
      tallest: inches of a row.

    Returns:
      The axes of the rows, in the unit of the points; ticks are at the middle of each frame.
    """
    count = len(names)
    width = sheet.width - left - MARGIN if width is None else width
    if any(row.label for row in rows):
        left, width = left + _LINE, width - _LINE
    ends = corners(rows[0].points)
    centre = ends.mean(axis=1)[:, 0]  # (K,)
    low, high = np.nanmin(ends[:, 0, 1]), np.nanmax(ends[:, 1, 1])
    room = 0.15 * (high - low)  # at most, for what other rows have beyond the first
    every = np.concatenate([corners(row.points) for row in rows])
    low = max(np.nanmin(every[:, 0, 1]), low - room)
    high = min(np.nanmax(every[:, 1, 1]), high + room)
    tall = 1.08 * max(high - low, 1e-6)
    step = 1.08 * max(np.nanmax(ends[:, 1, 0] - ends[:, 0, 0]), 0.2 * tall)
    height = min(tall * width / (count * step), tallest)
    step = tall * width / (count * height)
    drawn = []
    for i, row in enumerate(rows):
        axes = sheet.axes(left, width, height)
        drawn.append(axes)
        axes.set(xlim=(0, count * step), ylim=((low + high - tall) / 2, (low + high + tall) / 2))
        axes.set_frame_on(False)
        axes.tick_params(length=0, pad=1, labelbottom=i == len(rows) - 1)
        axes.set_yticks([])
        axes.set_xticks([(k + 0.5) * step for k in range(count)], names)
        axes.set_ylabel(row.label, labelpad=2)
        for k in np.flatnonzero(np.isfinite(centre)):
            _draw(axes, row, k, np.array([(k + 0.5) * step - centre[k], 0]), layout)
    sheet.depth += _LINE if any(names) else 0
    return drawn


def corners(points: np.ndarray) -> np.ndarray:
    """The corners of the persons of each frame: (K, M, V, 2) -> (K, 2, 2); NaN without anybody."""
    flat = points.reshape(len(points), -1, 2)
    filled = [np.where(np.isnan(flat), fill, flat) for fill in (np.inf, -np.inf)]
    ends = np.stack([filled[0].min(axis=1), filled[1].max(axis=1)], axis=1)
    return np.where(np.isfinite(ends), ends, np.nan)


def chosen(clip: np.ndarray, columns: int) -> np.ndarray:
    """The frames of a strip: at most `columns`, evenly spaced, the first and the last included."""
    return np.linspace(0, len(clip) - 1, min(columns, len(clip))).round().astype(int)


@styled
def film_strip(
    clip: np.ndarray,
    layout: Layout,
    *,
    columns: int = 8,
    title: str = "",
    width: float = PAGE,
    channels: str | None = None,
    up: str = "auto",
    angles: Sequence[float] = (project.AZIMUTH, project.ELEVATION),
) -> Figure:
    """Frames of a clip side by side.

    Args:
      clip: (T, M, V, C); absent bodies are zeros. In metres, or in an image.
      layout: the joints.
      columns: frames to draw, evenly spaced.
      title: above; '' for none.
      width: inches, `style.COLUMN` or `style.PAGE`.
      channels: one of `layouts.CHANNELS`; None: `xy` for two numbers, `xyz` for three.
      up: the axis of space that points up, one of `project.UP`.
      angles: azimuth and elevation of the view in degrees, see `project.view`.

    Raises:
      ValueError: nobody is in the clip.
    """
    return film_strips([(title, clip, layout, channels)], columns, width, up, angles)


@styled
def film_strips(
    clips: Sequence[tuple[str, np.ndarray, Layout, str | None]],
    columns: int = 8,
    width: float = PAGE,
    up: str = "auto",
    angles: Sequence[float] = (project.AZIMUTH, project.ELEVATION),
) -> Figure:
    """Film strips of several clips in one figure; of each its title, joints, layout, channels.

    Further arguments and errors as in `film_strip`.
    """
    sheet = Sheet(width)
    for title, clip, layout, channels in clips:
        points, frames = project.points(clip, layout, channels, up, angles), chosen(clip, columns)
        if np.isnan(points[frames]).all():
            raise ValueError(f"{title}: nobody is in the frames of the strip")
        if title:
            sheet.text(title)
        strip(sheet, [Row("", points[frames])], layout, frame_names(frames))
    return sheet.done()


def frame_names(frames: np.ndarray) -> list[str]:
    """What is written under the frames of a strip."""
    return [f"frame {frame}" if i == 0 else f"{frame}" for i, frame in enumerate(frames)]
