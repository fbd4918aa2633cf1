"""Scores of key points, which become confidences from 0 to 1 (docs/own_data.md).

Detectors differ: most report probabilities, RTMPose numbers up to about 10, others per cent. What
they mean is never guessed; the flag `--scores` tells it, and records and models remember it.
"""

import math

import numpy as np

from amr_jax.data.readers import findings
from amr_jax.errors import BadFile, UserError
from amr_jax.skeleton.layouts import num_coordinates

DROP = "drop"  # the third number of a joint is a score, and is left out
# Detectors may report confidences a little above 1; a depth in metres or pixels is mostly above.
_MAX_CONFIDENCE = 1.5
_BOUNDS = 1e-6, 1e6  # of scores that are confidence 1


def fit(scores: object, channels: str) -> bool:
    """Whether these channels can have `Form.scores`."""
    if scores is None:
        return True
    if scores == DROP:
        return channels == "xy"
    is_number = type(scores) in (int, float) and _BOUNDS[0] <= scores <= _BOUNDS[1]
    return channels == "xyc" and is_number


def parse(text: str, channels: str) -> float | str | None:
    """The value of the flag `--scores`; `UserError` if it is none, or does not fit the channels."""
    scores: float | str | None = text or None
    if scores not in (None, DROP):
        try:
            scores = float(text)
        except ValueError:
            scores = math.nan
    if not fit(scores, channels):
        raise UserError(
            f"--scores is {text!r} and --channels is {channels!r}; expected, for xyc, the score "
            f"that is confidence 1, such as 10; or, for xy, {DROP!r}, which leaves out the third "
            "number of a joint."
        )
    return scores


def confidences(
    found: np.ndarray,
    scores: float | str | None,
    path: object,
    counts: dict[str, int],
    hint: str,
) -> np.ndarray:
    """Confidences of finite scores (T, M, V).

    Args:
      found: the scores of a file.
      scores: what they are, see `arrays.Form`.
      path, hint: of an error.
      counts: see `findings`.

    Raises:
      BadFile: scores that are no confidences, and are not said to be others.
    """
    if scores is not None:
        findings.add(counts, findings.CUT_SCORES, np.count_nonzero(found > scores))
        findings.add(counts, findings.NEGATIVE_SCORES, np.count_nonzero(found < 0))
        return (np.clip(found.astype(np.float64), 0, scores) / scores).astype(np.float32)
    odd = (found < 0) | (found > _MAX_CONFIDENCE)
    if odd.any():
        raise BadFile(
            path,
            f"the confidence {found[odd][0]:g}",
            f"0 to 1 (up to {_MAX_CONFIDENCE} is accepted)",
            hint=hint,
        )
    return found


def clear_lost(
    joints: np.ndarray, scores: np.ndarray, channels: str, counts: dict[str, int]
) -> None:
    """Sets the numbers of joints (T, M, V, C) to 0 in place, where their scores (T, M, V) say so.

    A detector may write NaN for a joint that it did not find, if its score is 0 or NaN too. Without
    a channel for it, a score of 0 is kept as the place (0, 0). In space, a body has all joints or
    none.
    """
    places = joints[..., : num_coordinates(channels)]
    is_nan = np.isnan(places)
    lost = is_nan.any(axis=-1) & (scores == 0)
    lost |= np.isnan(scores) & (is_nan.all(axis=-1) | ~places.any(axis=-1))
    if channels == "xyz":
        lost = np.broadcast_to(lost.all(axis=-1, keepdims=True), lost.shape)
    findings.add(counts, findings.NOT_NUMBERS, np.count_nonzero(lost))
    joints[lost] = 0
    if channels == "xy":
        unsure = (scores == 0) & places.any(axis=-1)
        findings.add(counts, findings.SCORE_0, np.count_nonzero(unsure))
        joints[unsure] = 0
