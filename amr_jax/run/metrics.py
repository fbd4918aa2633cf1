"""Metrics and pictures of a run: `metrics.jsonl`, and the writers that `config.writers` names."""

import json
import os
import time
from collections.abc import Mapping, Sequence

from etils import epath

from amr_jax.errors import BadFile, UserError
from amr_jax.run import console, paths, writers
from amr_jax.run import workdir as workdirs

METRICS_FILE = "metrics.jsonl"

# A file in a bucket cannot grow: it is rewritten as a whole, this often.
_REWRITE_EVERY_S = 30.0


class MetricWriter:
    """Hands what a run measures to all its writers; one process of a run has one.

    Each step has a `time`, seconds since 1970 that never go back and never jump: the system's clock
    is read once, and a resumed run whose clock is behind continues from its last line.

    A service that fails after it has started does not end the run: the run goes on without it.

    Args:
      workdir: an existing folder.
      resume_step: lines of later steps, from a start that died after its last checkpoint, are
        removed, so that every step has one line.
      names: of `writers.WRITERS`, beside metrics.jsonl.

    Raises:
      UserError: a file cannot be written; a package is absent, or a service refuses the run.
    """

    def __init__(
        self,
        workdir: os.PathLike | str,
        resume_step: int,
        names: Sequence[str] = ("tensorboard",),
    ):
        self._lines = JsonLines(workdir, resume_step)
        self._clock_starts = max(time.time(), self._lines.last_time) - time.monotonic()
        self._writers: dict[str, writers.Writer] = {
            name: writers.WRITERS[name](workdir, resume_step) for name in dict.fromkeys(names)
        }

    def config(self, values: Mapping[str, object]) -> None:
        """The settings of the run, by dotted key."""
        self._each("config", values)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """What was measured at a step."""
        now = self._clock_starts + time.monotonic()
        self._lines.scalars(step, values, now)
        self._each("scalars", step, values, now)

    def image(self, step: int, name: str, png: bytes) -> None:
        """A picture of a step."""
        self._each("image", step, name, png, self._clock_starts + time.monotonic())

    def flush(self) -> None:
        """Completes `metrics.jsonl`, for the checkpoint that is saved next."""
        self._lines.flush()

    def close(self) -> None:
        """Completes everything."""
        self._lines.flush()
        self._each("close")

    def _each(self, call: str, *arguments: object) -> None:
        for name, writer in list(self._writers.items()):
            try:
                getattr(writer, call)(*arguments)
            except UserError:
                raise
            except Exception as error:  # a service may raise anything; training is worth more
                del self._writers[name]
                console.say(
                    f"warning: config.writers: {name} failed ({type(error).__name__}: {error}). "
                    f"The run goes on without it; {METRICS_FILE} has all scalars."
                )


class JsonLines:
    """Appends a line for each step to `metrics.jsonl`; `last_time` is that of the last line."""

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        self._path = epath.Path(workdir) / METRICS_FILE
        self._grows = not paths.is_remote(self._path)
        kept = [line for line in read_metrics(workdir) if line["step"] <= resume_step]
        self._text = "".join(json.dumps(line) + "\n" for line in kept)
        self.last_time = kept[-1].get("time", 0.0) if kept else 0.0
        self._rewrite()

    def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
        """See `writers.Writer`."""
        line = json.dumps({"step": step, **values, "time": wall_time}) + "\n"
        if self._grows:
            with writers.as_user_error(self._path), self._path.open("a") as file:
                file.write(line)
            return
        self._text += line
        if time.monotonic() - self._written >= _REWRITE_EVERY_S:
            self._rewrite()

    def flush(self) -> None:
        """Completes the file, if it does not grow line by line."""
        if not self._grows:
            self._rewrite()

    def _rewrite(self) -> None:
        workdirs.write(self._path, self._text)
        self._written = time.monotonic()


def read_metrics(workdir: os.PathLike | str) -> list[dict]:
    """The lines of `metrics.jsonl`, without a last line that a kill cut short.

    Raises:
      BadFile: another line is not a JSON object with a step.
    """
    path = epath.Path(workdir) / METRICS_FILE
    texts = path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
        elif number < len(texts):
            raise BadFile(
                path,
                repr(text[:80]),
                "a JSON object with a step",
                line=number,
                hint="Remove this line, or restore the file.",
            )
    return lines
