"""Timing several things so that drift and noise hit all of them alike.

Everything runs once in every round, in an order that moves on by one each time; two things are then
compared round by round, not by figures taken minutes apart.
"""

from collections.abc import Sequence

import numpy as np


def rotated(items: Sequence, round_number: int) -> list:
    """The order of a round: each round starts one further, and goes round."""
    start = round_number % len(items) if items else 0
    return [*items[start:], *items[:start]]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; between two values, linearly."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """The median over rounds of value / base; both have one entry a round."""
    return float(np.median([a / b for a, b in zip(values, base, strict=True)]))
