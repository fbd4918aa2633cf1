"""Arrays that users hand in: checked, and brought into the form of a record.

What the numbers of a joint are is never guessed: three may be x, y, z or x, y and a confidence.
"""

import dataclasses
import io

import numpy as np

from amr_jax.data.readers import numpy_files
from amr_jax.errors import BadFile
from amr_jax.skeleton.layouts import num_coordinates

# What the arrays of a file may unpack to: hours of two persons.
MAX_BYTES = 256 * 2**20
# Detectors' confidences can end a little above 1; a depth in metres or pixels does not stay there.
_MAX_CONFIDENCE = 1.5
_PLAUSIBLE = (0.05, 5.0)  # metres from a body's middle to its joints, on average


class NoBody(BadFile):
    """A sequence in which nobody is to be seen."""


@dataclasses.dataclass(frozen=True)
class Form:
    """What the joints of a set must be.

    Attributes:
      num_joints: V, of its layout.
      channels: one of `skeleton.CHANNELS`.
      scale: coordinates are multiplied by this, to make them metres.
      told_by: what says so, for errors.
    """

    num_joints: int
    channels: str
    scale: float = 1.0
    told_by: str = "--layout and --channels"


def joints(values: np.ndarray, confidence: np.ndarray | None, form: Form, path) -> np.ndarray:
    """Joints as records hold them: (T, M, V, C) float32, slots behind the last body cut off.

    Args:
      values: (T, M, V, coordinates), or with the confidence as one channel more.
      confidence: (T, M, V), where it stands apart; used if the form has it, else set aside.
      form: what is expected.
      path: what to call the place in an error.

    Raises:
      BadFile: another shape, not numbers, not finite, or no confidences.
      NoBody: no frame, or all zero (where there are confidences, all of those).
    """
    if values.dtype.kind not in "fiu":
        raise BadFile(path, f"joints of dtype {values.dtype}", "numbers")
    if form.channels == "xyc" and (confidence is not None or values.shape[-1:] == (2,)):
        values = _joined(values, confidence, form, path)
    expected = (form.num_joints, len(form.channels))
    if values.ndim != 4 or values.shape[2:] != expected:
        raise BadFile(
            path,
            f"joints of shape {values.shape}",
            f"(frames, bodies, {expected[0]} joints, {expected[1]} channels {form.channels})",
            hint=f"{form.told_by} say what is expected.",
        )
    with np.errstate(over="ignore", invalid="ignore"):  # told below, as an error
        result = values.astype(np.float32)
        result[..., : num_coordinates(form.channels)] *= np.float32(form.scale)
    wrong = np.argwhere(~np.isfinite(result))
    if wrong.size:
        frame, body, joint, channel = map(int, wrong[0])
        raise BadFile(
            path,
            f"{result[frame, body, joint, channel]} in frame {frame}, body {body}, joint {joint}, "
            f"channel {form.channels[channel]}",
            "finite numbers; zeros stand for what was not found",
        )
    if form.channels == "xyc":
        _check_confidence(result[..., 2], form, path)
    told = result[..., 2:] if form.channels == "xyc" else result
    here = told.any(axis=(0, 2, 3))
    if not here.any():
        raise NoBody(path, "no body in any frame", f"{form.channels} that are not all zero")
    return result[:, : np.flatnonzero(here)[-1] + 1]


def extent(joints: np.ndarray) -> float:
    """Mean distance of the joints of all bodies in (T, M, V, C) to their body's middle."""
    bodies = joints[joints.any(axis=(2, 3))].astype(np.float64)  # (frames · bodies, V, C)
    return float(np.linalg.norm(bodies - bodies.mean(axis=1, keepdims=True), axis=-1).mean())


def doubt_metres(size: float) -> str:
    """What is odd about bodies of this `extent`, if they are in metres; '' where nothing is."""
    if _PLAUSIBLE[0] <= size <= _PLAUSIBLE[1]:
        return ""
    return f"joints lie {size:,.3g} from a body's middle, on average; expected metres."


def _joined(
    values: np.ndarray, confidence: np.ndarray | None, form: Form, path: object
) -> np.ndarray:
    if confidence is None or (*confidence.shape, 2) != values.shape:
        apart = "no confidences" if confidence is None else f"confidences {confidence.shape}"
        raise BadFile(
            path,
            f"joints of shape {values.shape} and {apart}",
            "x and y of each joint and its confidence (xyc)",
            hint=f"{form.told_by} say what is expected: xy has no confidences, nor has xyz.",
        )
    if confidence.dtype.kind not in "fiu":
        raise BadFile(path, f"confidences of dtype {confidence.dtype}", "numbers")
    return np.concatenate([values, confidence[..., None]], axis=-1)


def _check_confidence(confidence: np.ndarray, form: Form, path: object) -> None:
    odd = (confidence < 0) | (confidence > _MAX_CONFIDENCE)
    if odd.any():
        raise BadFile(
            path,
            f"the confidence {confidence[odd][0]:g}",
            f"0 to 1 (up to {_MAX_CONFIDENCE} is taken)",
            hint=f"{form.told_by} say that the third channel is one; of a coordinate, xyz would.",
        )


def read_npz(data: bytes, names: tuple[str, ...], path: object) -> dict[str, np.ndarray]:
    """Those arrays of an `.npz` file that are there; its size bounds the memory it takes.

    Args:
      data: the whole file.
      names: of the arrays that are wanted.
      path: what to call the file in an error.

    Raises:
      BadFile: no npz file, damaged, arrays of Python objects, or more than `MAX_BYTES`.
    """

    def wanted(there: list[str]) -> list[str]:
        return [name for name in names if name in there]

    return numpy_files.read_npz(io.BytesIO(data), path, wanted, MAX_BYTES)
