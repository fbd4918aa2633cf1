"""Timing several things so that drift and noise hit all of them alike.

Everything runs once in every round, in an order that moves on by one each time; two things are then
compared round by round, not by figures taken minutes apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from amr_jax.run import console


def rotated(items: Sequence, round_number: int) -> list:
    """The order of a round: each round starts one further, and goes round."""
    start = round_number % len(items) if items else 0
    return [*items[start:], *items[:start]]


def time_all(programs: Sequence[Any], num_rounds: int) -> None:
    """Warms all programs up, then times each once a round.

    Args:
      programs: with what `program.Program` has for that: `warm_up`, `time_step`, `memory_bytes`.
    """
    # The allocator's peak never falls: from the smallest to the largest, each sets its own.
    for program in sorted(programs, key=lambda p: p.memory_bytes or 0):
        program.warm_up()
    for i in range(num_rounds):
        for program in rotated(programs, i):
            program.time_step()
        console.say(f"round {i + 1}/{num_rounds}")


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; between two values, linearly."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """The median over rounds of value / base; both have one entry a round."""
    return float(np.median([a / b for a, b in zip(values, base, strict=True)]))
