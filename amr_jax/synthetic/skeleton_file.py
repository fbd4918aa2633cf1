"""The text of an NTU RGB+D `.skeleton` file (format: docs/formats.md).

A file holds about 20,000 numbers. They are formatted together: all digits of a table are computed
as fixed columns of characters, and unused columns are removed.
"""

import numpy as np

from amr_jax.skeleton import layouts
from amr_jax.synthetic.sensor import Track

# False for joints at the end of a chain: the sensor reports no orientation for them.
_LEAVES = np.array(
    [not any(end in j for end in ("head", "foot", "tip", "thumb")) for j in layouts.NTU_25.joints]
)


def fixed_point(values: np.ndarray, whole: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Formats numbers: sign, digits, and a space after each.

    Args:
      values: (N, K), magnitudes below 10**whole.
      whole: maximum number of digits before the point.
      decimals: number of digits after it.

    Returns:
      Characters (N, K·width) as bytes, and a mask (N, K·width) of those that belong to the text.
    """
    digits = whole + decimals
    number = np.rint(np.abs(values) * 10.0**decimals).astype(np.int64)[..., None]
    number = np.minimum(number, 10**digits - 1)
    powers = 10 ** np.arange(digits - 1, -1, -1)
    text = np.empty((*values.shape, digits + 3), np.uint8)
    keep = np.ones(text.shape, bool)
    text[..., 0] = ord("-")
    keep[..., 0] = (values < 0) & (number[..., 0] > 0)
    figures = number // powers
    text[..., 1 : whole + 1] = (figures % 10)[..., :whole] + ord("0")
    keep[..., 1:whole] = figures[..., : whole - 1] > 0
    text[..., whole + 1] = ord(".")
    text[..., whole + 2 : -1] = (figures % 10)[..., whole:] + ord("0")
    text[..., -1] = ord(" ")
    return text.reshape(len(values), -1), keep.reshape(len(values), -1)


def _pixels(joints: np.ndarray) -> np.ndarray:
    """Positions (N, 4) of joints (N, 3) in the depth image and in the colour image."""
    x, y, z = joints.T
    z = np.maximum(z, 0.3)
    depth = 256.0 + 365.5 * x / z, 208.0 - 365.5 * y / z
    colour = 960.0 + 1062.0 * (x + 0.052) / z, 567.0 - 1062.0 * y / z
    return np.stack([*depth, *colour], axis=-1)


def _orientations(joints: np.ndarray) -> np.ndarray:
    """Quaternions (n, 25, 4) from the vertical to each joint's bone; zeros at ends of chains."""
    bones = joints - joints[:, list(layouts.NTU_25.parents)]
    x, y, z = np.moveaxis(bones / (np.linalg.norm(bones, axis=-1, keepdims=True) + 1e-9), -1, 0)
    quaternion = np.stack([1.0 + y, z, np.zeros_like(x), -x], axis=-1)
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True) + 1e-9
    return quaternion * _LEAVES[:, None]


def _joint_lines(track: Track) -> list[bytes]:
    """The 25 lines of each frame of a body."""
    rows = track.joints.reshape(-1, 3)
    parts = [
        fixed_point(rows, 2, 5),
        fixed_point(np.clip(_pixels(rows), -9999, 9999), 4, 2),
        fixed_point(_orientations(track.joints).reshape(-1, 4), 1, 4),
    ]
    end = np.empty((len(rows), 2), np.uint8)
    end[:, 0], end[:, 1] = track.state.reshape(-1) + ord("0"), ord("\n")
    text = np.concatenate([p[0] for p in parts] + [end], axis=1)
    keep = np.concatenate([p[1] for p in parts] + [np.ones(end.shape, bool)], axis=1)
    stops = np.cumsum(keep.reshape(len(track.frames), -1).sum(axis=1))
    characters = text[keep].tobytes()
    return [characters[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True)]


def text(num_frames: int, tracks: list[Track]) -> bytes:
    """The content of a `.skeleton` file with these tracks, with LF line ends."""
    bodies: list[list[bytes]] = [[] for _ in range(num_frames)]
    for track in tracks:
        lean = track.joints[:, 20] - track.joints[:, 0]
        heads = zip(track.frames, lean[:, 0], lean[:, 2], _joint_lines(track), strict=True)
        for frame, x, z, lines in heads:
            body = f"{track.body_id} 0 1 1 1 1 0 {x:.5f} {z:.5f} 2\n25\n"
            bodies[frame].append(body.encode() + lines)
    frames = [b"%d\n" % len(found) + b"".join(found) for found in bodies]
    return b"%d\n" % num_frames + b"".join(frames)
