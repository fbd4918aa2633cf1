"""From joints in space or in an image to points on paper."""

from collections.abc import Sequence

import numpy as np

from amr_jax.ops import normalise
from amr_jax.skeleton.layouts import Layout

# The direction that a viewer looks in, where this axis points up: a sensor's z for data with y up.
_FORWARD = {"x": (0, 1, 0), "y": (0, 0, 1), "z": (0, 1, 0)}
UP = ("auto", "x", "-x", "y", "-y", "z", "-z")

# Degrees: a little from the side and from above, so that motion towards the viewer shows.
AZIMUTH, ELEVATION = 25.0, 8.0

# How much longer the trunk must be along another axis than along y for that axis to be up.
_CLEARLY = 1.5


def channels_of(clip: np.ndarray, channels: str | None = None) -> str:
    """The channels of a clip (..., C); where they are not given, three of them are `xyz`."""
    return channels or ("xy" if clip.shape[-1] == 2 else "xyz")


def found(clip: np.ndarray, channels: str) -> np.ndarray:
    """Which joints of a clip (T, M, V, C) are there, (T, M, V) bool; NaN and infinity are not."""
    finite = np.isfinite(clip).all(axis=-1)
    return finite & normalise.found(np.where(finite[..., None], clip, 0), channels)


def up_axis(clip: np.ndarray, layout: Layout) -> str:
    """Which axis of a clip (T, M, V, 3) points up: from hips to shoulders at its beginning.

    `y`, as of sensors, unless the trunk clearly points along another axis.
    """
    ends = [
        [i for i, name in enumerate(layout.joints) if part in name] for part in ("shoulder", "hip")
    ]
    here = found(clip, "xyz")
    somebody = here.any(axis=-1)
    first = np.s_[: max(1, somebody.sum() // 4)]
    bodies, here = clip[somebody][first], here[somebody][first]
    places = [bodies[:, end][here[:, end]] for end in ends]  # (N, 3) each, of the joints there
    if not all(map(len, places)):
        return "y"
    trunk = places[0].mean(axis=0) - places[1].mean(axis=0)
    axis = int(np.abs(trunk).argmax())
    if np.abs(trunk[axis]) < _CLEARLY * np.abs(trunk[1]):
        axis = 1
    return ("-" if trunk[axis] < 0 else "") + "xyz"[axis]


def upward(up: str) -> np.ndarray:
    """The direction (3,) that an axis such as `-y` names."""
    return np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)


def forward(up: str) -> np.ndarray:
    """The direction (3,) that a viewer at the sensor looks in."""
    return np.array(_FORWARD[up[-1]], float)


def view(up: str, azimuth: float = AZIMUTH, elevation: float = ELEVATION) -> np.ndarray:
    """The axes of the paper in space, (2, 3): to the right, and up. Rows are orthonormal.

    Args:
      up: an axis that points up, such as `y` or `-y`.
      azimuth: degrees that the viewer walks around the person; 0: at the sensor.
      elevation: degrees that the viewer looks down.
    """
    ahead, top, (a, e) = forward(up), upward(up), np.radians([azimuth, elevation])
    ahead = np.cos(a) * ahead + np.sin(a) * np.cross(ahead, top)
    return np.stack([np.cross(ahead, top), np.cos(e) * top + np.sin(e) * ahead])


def points(
    clip: np.ndarray,
    layout: Layout,
    channels: str | None = None,
    up: str = "auto",
    angles: Sequence[float] = (AZIMUTH, ELEVATION),
) -> np.ndarray:
    """Joints (T, M, V, C) -> points (T, M, V, 2), the second upwards; both in the clip's unit.

    Positions in space are projected without perspective, so that lengths across the view keep
    their scale; in images y points down, and is turned over. Joints that are not there are NaN.
    """
    channels = channels_of(clip, channels)
    here = found(clip, channels)
    if channels == "xyz":
        up = up_axis(clip, layout) if up == "auto" else up
        flat = clip.astype(np.float64) @ view(up, *angles).T
    else:
        flat = clip[..., :2] * np.array([1.0, -1.0])
    return np.where(here[..., None], flat, np.nan)
