"""Text on the terminal: messages, progress, tables. Only process 0 prints."""

import sys
import time
from collections.abc import Sequence

import jax
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amr_jax.errors import UserError


def say(text: str) -> None:
    """Prints a text, on process 0."""
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

    On a terminal, rich fits it to the window. In a file or a pipe, every row is one line.

    Args:
      head: names of the columns.
      rows: one text per column. A column without any text is left out.
    """
    kept = [i for i in range(len(head)) if not rows or any(row[i] for row in rows)]
    cells = [[row[i] for i in kept] for row in (head, *rows)]
    if sys.stdout.isatty():
        return _rich(cells)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        aligned = [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *aligned]).rstrip())
    return "\n".join(lines)


def _rich(cells: Sequence[Sequence[str]]) -> str:
    drawn = Table(box=None, pad_edge=False)
    for i, name in enumerate(cells[0]):
        drawn.add_column(name, justify="right" if i else "left")
    for row in cells[1:]:
        drawn.add_row(*map(Text, row))  # not markup: '[' is a character
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n")


class Progress:
    """A line on the terminal every few seconds: steps done, speed, time left."""

    def __init__(
        self, total_steps: int, first_step: int, sequences_per_step: float, every_s: float = 5.0
    ):
        self._total, self._per_step, self._every_s = total_steps, sequences_per_step, every_s
        self._step, self._time = first_step, time.monotonic()
        self._rate: float | None = None
        self._compiled = False

    def update(self, step: int, text: str) -> float | None:
        """Notes that `step` steps are done; returns sequences per second, None until known.

        The first interval holds the compilation and is not counted.
        """
        now = time.monotonic()
        last = step >= self._total
        if self._compiled and now - self._time < self._every_s and not last:
            return self._rate
        if self._compiled and step > self._step:
            self._rate = (step - self._step) * self._per_step / (now - self._time)
        self._compiled, self._step, self._time = True, step, now
        speed = left = ""
        if self._rate:
            seconds = (self._total - step) * self._per_step / self._rate
            speed = f"  {self._rate:,.0f} sequences/s"
            left = f"  {duration(seconds)} left"
        say(f"step {step:,}/{self._total:,}  {text}{speed}{left}")
        return self._rate
