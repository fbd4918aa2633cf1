"""Arrays of joints from users: `.npy` and `.npz` files, and the checks that every source shares.

The meaning of a joint's numbers is never guessed: three may be x, y, z, or x, y and a confidence.

A `.npz` file holds one sequence: `joints` (T, M, V, C), or (T, V, C) for one body; and, where
known, `confidence` (T, M, V) or (T, V), `label` (a number from 0, or a name), `split` ('train',
'test', or any other name) and `subject`. A `.npy` file is such an array of joints alone.

Programs save MediaPipe's 33 landmarks with 4 or 5 numbers, x, y, z, visibility and presence, and
often in one row per frame, (T, 132).
"""

import dataclasses
import io

import numpy as np

from amr_jax.data.readers import bounded, files, findings, scores
from amr_jax.data.readers.files import NoBody
from amr_jax.errors import BadFile
from amr_jax.ops import normalise
from amr_jax.skeleton.layouts import num_coordinates

JOINTS, CONFIDENCE = "joints", "confidence"
TEXTS = ("label", "split", "subject")

# Limit for the arrays of a file, decompressed: hours of two persons.
MAX_BYTES = 256 * 2**20
_FLAT = (33 * 3, 33 * 4, 33 * 5)  # rows of MediaPipe's landmarks
_PLAUSIBLE = (0.05, 5.0)  # metres from the middle of a body to its joints, on average


@dataclasses.dataclass(frozen=True)
class Form:
    """What the joints of a data set must be.

    Attributes:
      num_joints: V, of its layout.
      channels: one of `skeleton.layouts.CHANNELS`.
      scale: factor that turns coordinates into metres.
      told_by: the source of this information, for errors.
      scores: None: scores are confidences from 0 to 1; with channels xyc, the score that is
        confidence 1; with xy 'drop', which leaves out the third number of a joint, a score.
      other_scores: how other scores can be read, for errors; '' if they cannot.
      layout, joints: the layout's name and the names of its joints, for files that tell theirs.
      keep_empty: keep frames that hold nobody, so that frames keep their numbers.
    """

    num_joints: int
    channels: str
    scale: float = 1.0
    told_by: str = "--layout and --channels"
    scores: float | str | None = None
    other_scores: str = (
        "Scores that are no probabilities, such as RTMPose's, are read by --scores=10, which "
        "divides them by 10 and cuts them at 1; or give --channels=xy for x and y alone, with "
        "--scores=drop if the score is the third number of a joint"
    )
    layout: str = ""
    joints: tuple[str, ...] = ()
    keep_empty: bool = False


def read(raw: files.RawFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Loads the arrays of a `.npy` or `.npz` file; `joints` checks their content.

    A `.npz` holds one array, or several of which one is called 'joints'.

    Returns:
      Joints (T, M, V, C), and the array 'confidence' (T, M, V) if there is one.

    Raises:
      BadFile: damaged, Python objects, or several arrays of other names.
    """
    if not raw.name.lower().endswith(".npz"):
        return _with_body_axis(bounded.load_npy(raw.read(), raw), None)

    def wanted(names: list[str]) -> list[str]:
        if JOINTS in names:
            return [name for name in (JOINTS, CONFIDENCE) if name in names]
        if len(names) != 1:
            found = f"the arrays {', '.join(names) or '(none)'}"
            raise BadFile(raw, found, f"one array, or one called {JOINTS!r}")
        return names

    found = bounded.load_npz(io.BytesIO(raw.read()), raw, wanted, files.MAX_BYTES)
    joints, *rest = found.values()
    return _with_body_axis(joints, rest[0] if rest else None)


def read_example(
    raw: files.RawFile, name: str, form: Form, row: dict[str, str] | None = None
) -> dict:
    """Reads one sequence of a user's data set from a `.npz` or `.npy` file.

    Args:
      raw: the file.
      name: of the sequence.
      form: what its joints must be.
      row: its row of `labels.csv`; what it has of label, split and subject replaces the file's.

    Returns:
      joints (T, M, V, C) float32; name; label, split and subject as texts, '' if unknown; and
      `findings`, if there are any.

    Raises:
      BadFile: no such file, no joints, or joints of another form.
      NoBody: no body in it.
    """

    def wanted(names: list[str]) -> list[str]:
        if JOINTS not in names:
            listed = f"no array {JOINTS!r}, but {', '.join(names[:8]) or 'nothing'}"
            raise BadFile(raw, listed, "joints (T, M, V, C), or (T, V, C) for one body")
        return [name for name in (JOINTS, CONFIDENCE, *TEXTS) if name in names]

    if raw.name.lower().endswith(".npz"):
        found = bounded.load_npz(io.BytesIO(raw.read()), raw, wanted, MAX_BYTES)
    else:
        found = {JOINTS: bounded.load_npy(raw.read(MAX_BYTES), raw)}
    values, confidence = _with_body_axis(found[JOINTS], found.get(CONFIDENCE))
    texts = {key: _text(found[key], key, raw) if key in found else "" for key in TEXTS}
    counts: dict[str, int] = {}
    example = {"joints": joints(values, confidence, form, raw, counts), "name": name}
    return {**example, **texts, **(row or {}), **findings.told(counts)}


def joints(
    values: np.ndarray,
    confidence: np.ndarray | None,
    form: Form,
    path: object,
    counts: dict[str, int] | None = None,
) -> np.ndarray:
    """Checks joints and brings them into the form of a record.

    Args:
      values: (T, M, V, coordinates), or with the confidence as one more channel.
      confidence: (T, M, V), or (T, V) of one body, if it is a separate array. If the form has
        none, it only tells which joints were not found.
      form: what is expected.
      path: how errors call the sequence.
      counts: gets the counts of `findings`.

    Returns:
      (T, M, V, C) float32, without frames that hold nobody and slots behind the last body.

    Raises:
      BadFile: another shape, not numbers, not finite, or confidences out of range.
      NoBody: no frame, or no joint that was found (`normalise.found`).
    """
    counts = {} if counts is None else counts
    values, confidence = _of_mediapipe(values, confidence, form)
    if values.dtype.kind not in "fiu":
        raise BadFile(path, f"joints of dtype {values.dtype}", "numbers")
    if form.scores == scores.DROP and values.shape[-1:] == (3,):
        values, confidence = values[..., :2], values[..., 2]
    apart = confidence is not None
    if apart and confidence.ndim == 2 and values.ndim == 4 and values.shape[1] == 1:
        confidence = confidence[:, None]
    if apart and confidence.dtype.kind == "b":  # whether a joint was found
        confidence = confidence.astype(np.uint8)
    if form.channels == "xyc" and (confidence is not None or values.shape[-1:] == (2,)):
        values = _append_confidence(values, confidence, form, path)
    expected = (form.num_joints, len(form.channels))
    if values.ndim != 4 or values.shape[2:] != expected:
        third = form.channels == "xy" and values.shape[-1:] == (3,)
        raise BadFile(
            path,
            f"joints of shape {values.shape}",
            f"(frames, bodies, {expected[0]} joints, {expected[1]} channels {form.channels})",
            hint=f"{form.told_by} define what is expected.{_advice(form, third)}",
        )
    num_places = num_coordinates(form.channels)
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        result = values.astype(np.float32)
        result[..., :num_places] *= np.float32(form.scale)
    if form.channels == "xyc":
        scores.clear_lost(result, result[..., 2], form.channels, counts)
    elif confidence is not None:
        _check_confidence(confidence, values, path)
        scores.clear_lost(result, confidence, form.channels, counts)
    wrong = np.argwhere(~np.isfinite(result))
    if wrong.size:
        frame, body, joint, channel = map(int, wrong[0])
        raise BadFile(
            path,
            f"{result[frame, body, joint, channel]} in frame {frame}, body {body}, joint {joint}, "
            f"channel {form.channels[channel]}",
            "finite numbers; zeros stand for joints that were not found",
        )
    if form.channels == "xyc":
        hint = f"{form.told_by} define the third channel as one.{_advice(form)}"
        hint += "" if apart else " If it is none, use xyz for a coordinate."
        result[..., 2] = scores.confidences(result[..., 2], form.scores, path, counts, hint)
        at_corner = (result[..., 2] > 0) & ~result[..., :2].any(axis=-1)
        findings.add(counts, findings.AT_CORNER, np.count_nonzero(at_corner))
    if not form.keep_empty:
        result = findings.without_empty_frames(result, form.channels, counts)
    present = normalise.found(result, form.channels).any(axis=(0, 2))
    if not present.any():
        raise NoBody(path, "no body in any frame", f"{form.channels} that are not all zero")
    return result[:, : np.flatnonzero(present)[-1] + 1]


def shape_of(values: np.ndarray) -> tuple[int, ...]:
    """The shape of joints; of landmarks in rows, (T, 132), that of the landmarks, (T, 33, 4)."""
    if values.ndim == 2 and values.shape[1] in _FLAT:
        return len(values), 33, values.shape[1] // 33
    return values.shape


def extent(joints: np.ndarray) -> float:
    """Mean distance of joints (T, M, V, C) from the middle of their body, over all bodies."""
    bodies = joints[joints.any(axis=(2, 3))].astype(np.float64)  # (frames · bodies, V, C)
    return float(np.linalg.norm(bodies - bodies.mean(axis=1, keepdims=True), axis=-1).mean())


def doubt_metres(size: float) -> str:
    """A warning if bodies of this `extent` are implausible in metres; '' otherwise."""
    if _PLAUSIBLE[0] <= size <= _PLAUSIBLE[1]:
        return ""
    return f"joints lie {size:,.3g} from a body's middle, on average; expected metres."


def _with_body_axis(
    joints: np.ndarray, confidence: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    if joints.ndim == 3:
        joints = joints[:, None]
        if confidence is not None and confidence.ndim == 2:
            confidence = confidence[:, None]
    return joints, confidence


def _of_mediapipe(
    values: np.ndarray, confidence: np.ndarray | None, form: Form
) -> tuple[np.ndarray, np.ndarray | None]:
    """(coordinates, visibility) of landmarks that have both; other arrays as they are."""
    if form.layout != "mediapipe_33" or confidence is not None or values.dtype.kind not in "fiu":
        return values, confidence
    if values.ndim == 2 and values.shape[1] in _FLAT:
        values = values.reshape(len(values), 1, 33, -1)
    if values.ndim == 4 and values.shape[2:] in ((33, 4), (33, 5)):
        return values[..., : num_coordinates(form.channels)], values[..., 3]
    return values, None


def _append_confidence(
    values: np.ndarray, confidence: np.ndarray | None, form: Form, path: object
) -> np.ndarray:
    if confidence is None or (*confidence.shape, 2) != values.shape:
        apart = "no confidences" if confidence is None else f"confidences {confidence.shape}"
        raise BadFile(
            path,
            f"joints of shape {values.shape} and {apart}",
            "x and y of each joint and its confidence (xyc)",
            hint=f"{form.told_by} define what is expected: xy and xyz have no confidences.",
        )
    _check_confidence(confidence, values, path)
    return np.concatenate([values, confidence[..., None]], axis=-1)


def _advice(form: Form, applies: bool = True) -> str:
    return f" {form.other_scores}." if form.other_scores and applies else ""


def _check_confidence(confidence: np.ndarray, values: np.ndarray, path: object) -> None:
    """Raises `BadFile` unless they are the numbers of these joints."""
    if confidence.dtype.kind not in "fiu":
        raise BadFile(path, f"confidences of dtype {confidence.dtype}", "numbers")
    if confidence.shape != values.shape[:-1]:
        raise BadFile(
            path,
            f"confidences {confidence.shape}",
            f"{values.shape[:-1]}, one for each joint of shape {values.shape}",
            hint="Correct the array, or leave it out.",
        )


def _text(value: np.ndarray, key: str, raw: files.RawFile) -> str:
    """A single text or whole number, as text; '' for NaN, and for the label -1."""
    if value.size != 1 or value.dtype.kind not in "fiuUS":
        found = f"'{key}' of shape {value.shape}, dtype {value.dtype}"
        raise BadFile(raw, found, "one number from 0, or one text")
    item = value.reshape(()).item()
    if item != item or (key == "label" and item == -1):
        return ""
    if value.dtype.kind == "f":  # tables of numbers are often 1.0
        if not item.is_integer() or abs(item) >= 2**31:
            raise BadFile(raw, f"'{key}' {item}", "a whole number from 0, or a name")
        item = int(item)
    try:
        text = item.decode() if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError as error:
        raise BadFile(raw, f"'{key}' of bytes that are not text", "text in UTF-8") from error
    if isinstance(item, int) and item < 0:
        raise BadFile(raw, f"'{key}' {item}", "a number from 0, or a name")
    return text.strip()
