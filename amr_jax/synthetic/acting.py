"""What an action is given to work with: a clock, curves over time, and a performer's choices."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

FRAMES_PER_SECOND = 30
LEFT, RIGHT = 0, 1


def smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and a curve without corners between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def keyframes(u: np.ndarray, *points: tuple) -> np.ndarray:
    """Passes through `points` (time, value) with rest at each; values may be vectors. (T, ...)"""
    value = np.broadcast_to(np.asarray(points[0][1], float), (*u.shape, *np.shape(points[0][1])))
    for (t0, v0), (t1, v1) in itertools.pairwise(points):
        way = smooth((u - t0) / (t1 - t0))
        value = value + np.multiply.outer(way, np.subtract(v1, v0, dtype=float))
    return value


@dataclasses.dataclass
class Act:
    """One performance of an action.

    Attributes:
      u: (T,) time, 0 when the action begins and 1 when it ends; beyond both the person stands idle.
      seconds: how long the action lasts.
      side: the hand or foot that is used.
      size: factor for the reach of movements, about 1.
      pace: factor for the rate of repeated movements, about 1.
      rng: for choices of the action itself.
    """

    u: np.ndarray
    seconds: float
    side: int
    size: float
    pace: float
    rng: np.random.Generator

    def hold(self, ramp: float = 0.2) -> np.ndarray:
        """(T,) rises to 1 in the first `ramp` of the action, falls to 0 in the last."""
        return smooth(self.u / ramp) * smooth((1.0 - self.u) / ramp)

    def wave(self, hertz: float) -> np.ndarray:
        """(T,) a sine of this rate (times the pace of the performer), phase at random."""
        turns = self.u * self.seconds * hertz * self.pace
        return np.sin(2 * np.pi * (turns + self.rng.uniform()))

    def along(self, out=0.0, up=0.0, forward=0.0) -> np.ndarray:
        """(T, 3) from three curves, scaled by the size of the performance."""
        curves = np.broadcast_arrays(out, up, forward, np.zeros_like(self.u))
        return self.size * np.stack(curves[:3], axis=-1)

    def near(self, *values: float, spread: float = 0.09) -> np.ndarray:
        """A point close to `values`: nobody's hand goes twice to the same place."""
        return np.asarray(values) + self.rng.normal(0.0, spread, len(values))


@dataclasses.dataclass(frozen=True)
class Action:
    """An action: `perform(act, *poses)` poses as many persons as it takes.

    Attributes:
      seconds: shortest and longest duration at average pace.
      distance: metres between the two persons; 0 where there is one.
    """

    name: str
    seconds: tuple[float, float]
    perform: Callable[..., None]
    distance: float = 0.0

    @property
    def num_people(self) -> int:
        return 2 if self.distance else 1


def action(
    table: dict[int, Action], number: int, name: str, shortest: float, longest: float, apart=0.0
):
    """Enters the decorated function into `table` as action `number` of NTU RGB+D 60."""

    def enter(perform):
        table[number] = Action(name, (shortest, longest), perform, apart)
        return perform

    return enter
