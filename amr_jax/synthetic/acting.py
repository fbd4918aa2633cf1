"""Tools for actions: a clock, curves over time, and the performer's choices."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

FRAMES_PER_SECOND = 30
LEFT, RIGHT = 0, 1


def smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth in between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def keyframes(u: np.ndarray, *points: tuple) -> np.ndarray:
    """Curve (T, ...) through `points` (time, value), at rest in each; values may be vectors."""
    value = np.broadcast_to(np.asarray(points[0][1], float), (*u.shape, *np.shape(points[0][1])))
    for (t0, v0), (t1, v1) in itertools.pairwise(points):
        way = smooth((u - t0) / (t1 - t0))
        value = value + np.multiply.outer(way, np.subtract(v1, v0, dtype=float))
    return value


@dataclasses.dataclass
class Act:
    """One performance of an action.

    Attributes:
      u: (T,) time, 0 at the start of the action and 1 at its end; before and after, the person
        is idle.
      seconds: duration of the action.
      side: the hand or foot in use.
      size: factor for the reach of movements, about 1.
      pace: factor for the rate of repeated movements, about 1.
      rng: for random choices within the action.
    """

    u: np.ndarray
    seconds: float
    side: int
    size: float
    pace: float
    rng: np.random.Generator

    def hold(self, ramp: float = 0.2) -> np.ndarray:
        """(T,) rises to 1 in the first `ramp` of the action, and falls to 0 in the last."""
        return smooth(self.u / ramp) * smooth((1.0 - self.u) / ramp)

    def wave(self, hertz: float) -> np.ndarray:
        """(T,) sine of this rate, times the performer's pace, with random phase."""
        turns = self.u * self.seconds * hertz * self.pace
        return np.sin(2 * np.pi * (turns + self.rng.uniform()))

    def along(self, out=0.0, up=0.0, forward=0.0) -> np.ndarray:
        """(T, 3) of three curves, scaled by the size of the movements."""
        curves = np.broadcast_arrays(out, up, forward, np.zeros_like(self.u))
        return self.size * np.stack(curves[:3], axis=-1)

    def near(self, *values: float, spread: float = 0.09) -> np.ndarray:
        """A random point close to `values`."""
        return np.asarray(values) + self.rng.normal(0.0, spread, len(values))


@dataclasses.dataclass(frozen=True)
class Action:
    """An action: `perform(act, *poses)` poses one or two persons.

    Attributes:
      seconds: shortest and longest duration at average pace.
      distance: metres between the two persons; 0 for an action of one.
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
    """Decorator that adds a function to `table` as action `number` of NTU RGB+D 60."""

    def enter(perform):
        table[number] = Action(name, (shortest, longest), perform, apart)
        return perform

    return enter
