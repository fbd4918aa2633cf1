"""What readers find in a sequence and do not keep as it is: counted, so that commands tell it.

Counts of one sequence are a dict by the keys of `KINDS`; those of a data set are in the metadata of
its records.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from amr_jax.ops import normalise

EMPTY_FRAMES = "empty_frames"
AT_CORNER = "at_corner"
NOT_NUMBERS = "not_numbers"
SCORE_0 = "score_0"
CUT_SCORES = "cut_scores"
NEGATIVE_SCORES = "negative_scores"
UNORDERED = "unordered"
PEOPLE = "people"

_NOT_FOUND = "count as not found"
# Key -> what was found, and what became of it.
KINDS = {
    EMPTY_FRAMES: ("frames without anybody", "left out"),
    AT_CORNER: ("key points at (0, 0) with a score above 0", _NOT_FOUND),
    NOT_NUMBERS: ("key points that are NaN, without a score above 0", f"zeros; {_NOT_FOUND}"),
    SCORE_0: ("key points with score 0", f"zeros; {_NOT_FOUND}"),
    CUT_SCORES: ("scores above --scores", "confidence 1"),
    UNORDERED: (
        "frames with several people and no ids",
        "each goes on as the nearest of the frame before",
    ),
    PEOPLE: ("people more than asked for", "left out; those in most frames stay"),
    NEGATIVE_SCORES: ("negative scores", f"confidence 0; {_NOT_FOUND}"),
}


def add(counts: dict[str, int], kind: str, number: int | np.integer) -> None:
    """Adds to a count; kinds that were not found have none."""
    if number:
        counts[kind] = counts.get(kind, 0) + int(number)


def told(counts: dict[str, int]) -> dict[str, dict[str, int]]:
    """The key `findings` of an example, if there are any."""
    return {"findings": counts} if counts else {}


def without_empty_frames(joints: np.ndarray, channels: str, counts: dict[str, int]) -> np.ndarray:
    """The frames of (T, M, V, C) in which somebody is: padding is not data."""
    occupied = normalise.found(joints, channels).any(axis=(1, 2))
    add(counts, EMPTY_FRAMES, np.count_nonzero(~occupied))
    return joints if occupied.all() else joints[occupied]


def total(sequences: Iterable[Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Of the counts of all sequences: by kind, the `count` and in how many `sequences`."""
    of_all = {kind: {"count": 0, "sequences": 0} for kind in KINDS}
    for counts in sequences:
        for kind, count in counts.items():
            of_all[kind]["count"] += count
            of_all[kind]["sequences"] += 1
    return {kind: found for kind, found in of_all.items() if found["count"]}


def line(kind: str, count: int, sequences: int | None = None) -> str:
    """A line for people; `sequences` if it is of a data set."""
    what, result = KINDS[kind]
    where = "" if sequences is None else f" in {sequences:,} sequences"
    return f"{count:,} {what}{where}: {result}."
