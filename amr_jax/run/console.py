"""Text on the terminal: messages, progress, tables."""

import contextlib
import functools
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amr_jax.errors import UserError


def say(text: str) -> None:
    """Prints a text, on process 0."""
    import jax  # late: commands without devices run without it

    if jax.process_index() == 0:
        try:
            print(text, flush=True)
        except OSError as error:
            raise UserError(f"standard output: could not be written ({error}).") from error


def aligned(lines: dict[str, str]) -> str:
    """Names and texts in two columns, one pair per line."""
    width = max(map(len, lines)) + 1
    return "\n".join(f"{name:<{width}}{text}" for name, text in lines.items())


def duration(seconds: float) -> str:
    """3723 → '1:02:03'; 63 → '1:03'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text: the first column left-aligned, the others right-aligned.

    On a terminal, it is fitted to the window. In a file or a pipe, every row is one line.

    Args:
      head: names of the columns.
      rows: one text per column. A column without any text is left out.
    """
    drawn = Table(box=None, pad_edge=False)
    kept = [i for i in range(len(head)) if not rows or any(row[i] for row in rows)]
    for i in kept:
        drawn.add_column(Text(head[i]), justify="right" if i else "left")
    for row in rows:
        drawn.add_row(*(Text(row[i]) for i in kept))  # not markup: '[' is a character
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 10_000).print(drawn)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


@contextlib.contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar on standard error while the block runs.

    Yields:
      A function that advances it by a number of steps.
    """
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    how = {"console": Console(stderr=True), "redirect_stdout": False, "redirect_stderr": False}
    with progress.Progress(*columns, **how) as bar:
        yield functools.partial(bar.advance, bar.add_task(description, total=total))


class Progress:
    """Measures how fast a run trains, and prints a line every few seconds.

    Compilation and pauses do not count: the first dispatch of each length compiles.

    Args:
      total_steps: of the whole run.
      sequences_per_step: on average.
      last: the last line of `metrics.jsonl` before the step that the run resumes from.
    """

    _EVERY_S = 5.0

    def __init__(self, total_steps: int, sequences_per_step: float, last: Mapping[str, float]):
        self._total, self._per_step = total_steps, sequences_per_step
        self._seconds, self._steps = last.get("timed_seconds", 0.0), last.get("timed_steps", 0)
        self._since = time.monotonic()
        self._lengths: set[int] = set()
        self._shown = float("-inf"), self._seconds, self._steps
        self._rate: float | None = None

    def update(self, steps: range, text: str) -> dict[str, float]:
        """Notes that `steps` are just done.

        Returns:
          `timed_seconds` of all starts of the run, `timed_steps`, the number of steps done in
          them, and `sequences_per_s` between the last two lines, once it is known.
        """
        now = time.monotonic()
        if len(steps) in self._lengths:
            self._seconds += now - self._since
            self._steps += len(steps)
        self._lengths.add(len(steps))
        self._since = now
        shown, seconds, count = self._shown
        if now - shown >= self._EVERY_S or steps.stop == self._total:
            if self._steps > count:
                self._rate = (self._steps - count) * self._per_step / (self._seconds - seconds)
            self._shown = now, self._seconds, self._steps
            self._print(steps.stop, text)
        measured = {"timed_seconds": round(self._seconds, 3), "timed_steps": self._steps}
        return measured | ({"sequences_per_s": self._rate} if self._rate else {})

    def _print(self, step: int, text: str) -> None:
        speed = left = ""
        if self._rate:
            speed = f"  {self._rate:,.0f} sequences/s"
            left = f"  {duration((self._total - step) * self._per_step / self._rate)} left"
        say(f"step {step:,}/{self._total:,}  {text}{speed}{left}")
