"""Text on the terminal: messages and tables on standard output, progress on standard error."""

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich import progress
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from amr_jax.errors import UserError


def say(text: str) -> None:
    """Prints a text, on process 0."""
    if _is_first_process():
        try:
            with _bars_hidden():
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


# Without a terminal: seconds until the first line about a long part, and between later ones.
_FIRST_LINE_S, _LINE_EVERY_S = 10.0, 20.0

_APPEARS_S = 0.5  # a shorter part shows no bar

# (steps just done, text to show beside them)
Advance = Callable[..., None]


@contextlib.contextmanager
def progress_bar(description: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
    """Shows on standard error how far a part is, and the time left, while the block runs.

    A terminal has a bar for each part that runs, a part of a part below it. A file or a pipe gets a
    line now and then, also while the block waits for a compiler. Of several processes the first one
    shows it.

    Args:
      description: what runs.
      total: steps of it; None: not known, so the time since its start is shown.
      done: of these, before the block.

    Yields:
      A function `advance(steps=1, text=None)`; `text` is shown from then on. The time until its
      first call is no time of steps: they compile. Call `advance(0)` first where they do not.
    """
    global _bars
    if _silent or not _is_first_process():
        yield lambda steps=1, text=None: None
        return
    outermost = _bars is None
    bars = _bars = _Bars() if outermost else _bars
    task = bars.add_task(description, total=total, completed=done, text="")

    def advance(steps: int = 1, text: str | None = None) -> None:
        if text is not None:
            bars.update(task, text=text)
        bars.advance(task, steps)

    with bars if outermost else contextlib.nullcontext():
        try:
            yield advance
        finally:
            bars.remove_task(task)
            if outermost:
                _bars = None


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing is said and no bar is shown while the block runs: for use from Python."""
    global _silent
    before, _silent = _silent, True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        _silent = before


class _Bars(progress.Progress):
    """All bars of this process: rich has one display per terminal."""

    def __init__(self):
        console = Console(stderr=True)
        self.live_on_terminal = console.is_terminal and not console.is_dumb_terminal
        super().__init__(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=24),
            _State(),
            console=console,
            disable=not self.live_on_terminal,
            transient=True,
            redirect_stdout=False,  # `say` writes there, and hides the bars
            speed_estimate_period=float("inf"),
        )
        self._ended = threading.Event()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars of parts that are not over at once."""
        yield self.make_tasks_table([task for task in self.tasks if task.elapsed > _APPEARS_S])

    def __enter__(self) -> "_Bars":
        if not self.live_on_terminal:
            threading.Thread(target=self._write_lines, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        self._ended.set()
        super().__exit__(*error)

    def _write_lines(self) -> None:
        wait = _FIRST_LINE_S
        while not self._ended.wait(wait):
            wait = _LINE_EVERY_S
            line = "; ".join(f"{task.description} {_state(task)}" for task in self.tasks)
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                print(line, file=sys.stderr, flush=True)


class _State(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(_state(task))


def _state(task: progress.Task) -> str:
    """'12/40  0:13 left  loss 0.4'; of a part of unknown length the time since its start."""
    if task.total is None:
        parts = [duration(task.elapsed)]
    else:
        parts = [f"{task.completed:,.0f}/{task.total:,.0f}"]
        if task.time_remaining is not None:
            parts.append(f"{duration(task.time_remaining)} left")
    return "  ".join([*parts, task.fields["text"]]).rstrip()


_bars: _Bars | None = None
_silent = False


@contextlib.contextmanager
def _bars_hidden() -> Iterator[None]:
    """Clears the bars from the terminal while a text is printed above them."""
    hide = _bars is not None and _bars.live_on_terminal and sys.stdout.isatty()
    if hide:
        _bars.stop()
    yield
    if hide:
        _bars.start()


def _is_first_process() -> bool:
    """Whether this is process 0 of a run. Does not import JAX, as some commands do not."""
    distributed = sys.modules.get("amr_jax.run.distributed")
    if distributed is None or not distributed.several():
        return True
    import jax

    return jax.process_index() == 0


class Progress:
    """Measures how fast a run trains, and shows it.

    Compilation and pauses do not count: the first dispatch of each program compiles.

    Args:
      total_steps: of the whole run.
      sequences_per_step: on average.
      last: the last line of `metrics.jsonl` before the step that the run resumes from.
      advance: of the bar of the run.
    """

    _EVERY_S = 5.0

    def __init__(
        self,
        total_steps: int,
        sequences_per_step: float,
        last: Mapping[str, float],
        advance: Advance,
    ):
        self._total, self._per_step, self._advance = total_steps, sequences_per_step, advance
        self._seconds, self._steps = last.get("timed_seconds", 0.0), last.get("timed_steps", 0)
        self._since = time.monotonic()
        self._programs: set[int] = set()
        self._noted = self._seconds, self._steps
        self._rate: float | None = None

    def resume(self) -> None:
        """Leaves out the time since the last update."""
        self._since = time.monotonic()

    def update(self, steps: range, text: str, program: int) -> dict[str, float]:
        """Notes that `steps` are just done, by a compiled program; the last ones are also said.

        Returns:
          `timed_seconds` of all starts of the run, `timed_steps`, the number of steps done in
          them, and `sequences_per_s` over some seconds, once it is known.
        """
        now = time.monotonic()
        if program in self._programs:
            self._seconds += now - self._since
            self._steps += len(steps)
        self._programs.add(program)
        self._since = now
        seconds, count = self._seconds - self._noted[0], self._steps - self._noted[1]
        is_last = steps.stop == self._total
        if count and (seconds >= self._EVERY_S or (is_last and not self._rate)):
            self._rate = count * self._per_step / seconds
            self._noted = self._seconds, self._steps
        told = f"{text}  {self._rate:,.0f} sequences/s" if self._rate else text
        self._advance(len(steps), told)
        if is_last:
            say(f"step {steps.stop:,}/{self._total:,}  {told}")
        measured = {"timed_seconds": round(self._seconds, 3), "timed_steps": self._steps}
        return measured | ({"sequences_per_s": self._rate} if self._rate else {})
