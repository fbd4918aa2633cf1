"""How many steps a dispatch has: as many as take a few seconds on this device, up to a limit.

SIGTERM, Ctrl-C and the progress on the terminal wait for a dispatch. With resident data its length
changes no result: all lengths share one compiled program (`step.make_dispatch`). Streamed data have
a program for each length; where XLA tunes each program for itself, as on GPUs, these may round
differently, so that the last bits depend on how long steps took.
"""

from collections.abc import Iterator

from amr_jax.run import distributed

SECONDS = 2.0  # of a dispatch; a stop waits for two of them, as the next one is under way


class Pace:
    """The dispatches of a run: of one step until a step is timed, then of about `SECONDS`.

    Lengths are divisors of the limit, so that dispatches end at its multiples, where metrics are
    logged and checkpoints saved. Every process of a run makes the same calls, and has the lengths
    of the slowest.

    Args:
      most: steps per dispatch at most.

    Attributes:
      length: steps of the next dispatch, if it begins at a multiple of this.
      step_s: seconds of a step, as last measured; None at first.
    """

    def __init__(self, most: int):
        self._lengths = [n for n in range(1, most + 1) if most % n == 0]
        self._noted = 0
        self.length, self.step_s = 1, None

    def dispatches(self, start: int, stop: int) -> Iterator[range]:
        """The steps [start, stop), each dispatch by the length that is chosen when it is due."""
        while start < stop:
            end = min(stop, (start // self.length + 1) * self.length)
            yield range(start, end)
            start = end

    def note(self, steps: int, seconds: float) -> None:
        """Call this after a dispatch of `steps` that compiled nothing and took `seconds`."""
        self._noted += 1
        # Processes agree at the first, second, fourth, eighth … dispatch only: it takes time.
        if distributed.several() and self._noted & (self._noted - 1):
            return
        self.step_s = max(distributed.gather(seconds / steps))
        longest = max([1, *(n for n in self._lengths if n * self.step_s <= SECONDS)])
        # A dispatch that takes somewhat longer for once is no reason for another length.
        if longest > self.length or self.length * self.step_s > 2 * SECONDS:
            self.length = longest
