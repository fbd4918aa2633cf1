"""How fast a cost grows with a size: exponents between neighbours, against what the model explains.

Between two sizes a cost grows like size^x, x = log(ratio of costs) / log(ratio of sizes).
"""

import dataclasses
import math
from collections.abc import Sequence

from amr_jax.benchmark import rounds

# On top of what is explained: noise, and caches that one size fits and the next does not. With a
# quarter, twice the size may take a fifth longer than explained.
MARGIN = 0.25


@dataclasses.dataclass(frozen=True)
class Axis:
    """One size that grows while the others stay.

    Attributes:
      allowed: the highest exponent that the model explains. why: what explains it.
    """

    name: str
    allowed: float
    why: str


@dataclasses.dataclass(frozen=True)
class Point:
    """What was measured at one size.

    Attributes:
      value: as the user gives it. size: what the exponent is of (r: predicted patches, N / r).
      times: seconds, one a round. memory_bytes, flops: None where they are not known.
      problem: why there are no times, or None.
    """

    value: int
    size: float
    times: Sequence[float]
    memory_bytes: int | None = None
    flops: float | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Growth:
    """Exponents from one point to the next; None where a cost is not known at both.

    Attributes:
      time: by the median over rounds. fastest: by the fastest round of each.
      memory, flops: as named.
    """

    time: float | None
    fastest: float | None
    memory: float | None
    flops: float | None

    def surprises(self, axis: Axis) -> list[str]:
        """Which of time and memory grow faster than the axis explains."""
        limit = axis.allowed + MARGIN
        # Noise only ever adds to a time: what is true of the median alone is noise.
        time = None if self.time is None else min(self.time, self.fastest)
        costs = {"time": time, "memory": self.memory}
        return [name for name, found in costs.items() if found is not None and found > limit]


def exponent(size_ratio: float, cost_ratio: float) -> float:
    """x in cost ∝ size^x; `size_ratio` is not 1."""
    return math.log(cost_ratio) / math.log(size_ratio)


def between(smaller: Point, larger: Point) -> Growth:
    """Exponents from `smaller` to `larger`; `time` by the ratio in each round."""
    sizes = larger.size / smaller.size

    def of(cost):
        before, after = getattr(smaller, cost), getattr(larger, cost)
        return exponent(sizes, after / before) if before and after else None

    time = fastest = None
    if smaller.times and larger.times:
        time = exponent(sizes, rounds.ratio(larger.times, smaller.times))
        fastest = exponent(sizes, min(larger.times) / min(smaller.times))
    return Growth(time, fastest, of("memory_bytes"), of("flops"))
