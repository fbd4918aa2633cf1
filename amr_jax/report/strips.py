"""Film strips of clips as the SVG of a page: its colours follow the page, light or dark."""

import dataclasses

import numpy as np

from amr_jax.pictures import project, skeleton, style
from amr_jax.skeleton.layouts import Layout

_CLASSES = {style.LEFT: "left-limb", style.RIGHT: "right-limb", style.TRUNK: "trunk"}
_HEIGHT, _MARGIN, _NARROWEST = 92.0, 4.0, 34.0
_WIDEST = 420.0  # of a strip; wide ones, such as of two persons, have fewer frames


@dataclasses.dataclass(frozen=True)
class Strip:
    """A strip, in the units of its SVG: its size, and (class, path) of what is drawn."""

    width: int
    height: int
    paths: list[tuple[str, str]]


def strip(clip: np.ndarray, layout: Layout, channels: str, columns: int = 7) -> Strip:
    """Frames of a clip side by side, evenly spaced, all at one scale.

    Args:
      clip: (T, M, V, C); absent bodies are zeros.
      layout: the joints.
      channels: one of `layouts.CHANNELS`.
      columns: frames to draw, at most.
    """
    frames = skeleton.chosen(clip, columns)
    points = project.points(clip, layout, channels)[frames] * (1, -1)  # y of a page points down
    flat = points.reshape(len(frames), -1, 2)
    here = np.isfinite(flat).all(axis=2, keepdims=True)
    low = np.where(here, flat, np.inf).min(axis=1)
    high = np.where(here, flat, -np.inf).max(axis=1)
    low, high = (np.where(np.isfinite(x), x, 0) for x in (low, high))
    size = max(high[:, 1].max() - low[:, 1].min(), 1e-6)
    scale = (_HEIGHT - 2 * _MARGIN) / size
    step = max(_NARROWEST, scale * (high - low)[:, 0].max() + 2 * _MARGIN)
    if columns > 3 and step * len(frames) > _WIDEST:
        return strip(clip, layout, channels, columns - 1)
    paths: dict[str, list[str]] = {}
    for k, bodies in enumerate(points):
        across = (k + 0.5) * step - scale * (low[k, 0] + high[k, 0]) / 2
        for m, body in enumerate(bodies * scale + (across, _MARGIN - scale * low[:, 1].min())):
            second = " second" if m else ""
            for a, b, colour in skeleton.lines(layout):
                if np.isfinite(body[[a, b]]).all():
                    line = "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*body[a], *body[b])
                    paths.setdefault(_CLASSES[colour] + second, []).append(line)
            for joint in skeleton.heads(layout):
                if np.isfinite(body[joint]).all():
                    dot = "M{:.1f} {:.1f}h0".format(*body[joint])
                    paths.setdefault("head" + second, []).append(dot)
    drawn = [(name, "".join(lines)) for name, lines in paths.items()]
    return Strip(round(step * len(frames)), round(_HEIGHT), drawn)
