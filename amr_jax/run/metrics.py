"""Metrics of a run: `metrics.jsonl` and TensorBoard event files."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping

import jax
from etils import epath

from amr_jax.errors import BadFile, UserError
from amr_jax.run import paths
from amr_jax.run import workdir as workdirs

METRICS_FILE = "metrics.jsonl"

# A file in a bucket cannot grow: it is rewritten as a whole, this often.
_REWRITE_EVERY_S = 30.0
_FLUSH_EVENTS_EVERY_S = 30.0


class MetricWriter:
    """Appends scalars of one run to both files; only process 0 writes.

    Args:
      workdir: an existing folder.
      resume_step: lines of later steps, from a start that died after its last checkpoint, are
        removed, so that every step has one line.
    """

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        self._active = jax.process_index() == 0
        if not self._active:
            return
        self._path = epath.Path(workdir) / METRICS_FILE
        self._grows = not paths.is_remote(self._path)
        kept = [line for line in read_metrics(workdir) if line["step"] <= resume_step]
        self._text = "".join(json.dumps(line) + "\n" for line in kept)
        self._rewrite()
        self._clock = WallClock(kept)
        with _as_user_error(self._path.parent):
            self._events = _EventFile(self._path.parent / "tensorboard", resume_step)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds a line to `metrics.jsonl` and a point per scalar to TensorBoard, with the time."""
        if not self._active:
            return
        now = self._clock.now()
        line = json.dumps({"step": step, **scalars, "time": now}) + "\n"
        if self._grows:
            with _as_user_error(self._path), self._path.open("a") as file:
                file.write(line)
        else:
            self._text += line
            if time.monotonic() - self._written >= _REWRITE_EVERY_S:
                self._rewrite()
        with _as_user_error(self._path.parent):
            self._events.write(step, scalars, now)

    def flush(self) -> None:
        """Completes `metrics.jsonl`, for the checkpoint that is saved next."""
        if self._active and not self._grows:
            self._rewrite()

    def close(self) -> None:
        """Completes both files."""
        self.flush()
        if self._active:
            with _as_user_error(self._path.parent):
                self._events.close()

    def _rewrite(self) -> None:
        workdirs.write(self._path, self._text)
        self._written = time.monotonic()


class _EventFile:
    """Points for TensorBoard, written by the calling thread.

    The `SummaryWriter` of tensorboardX passes them to a thread of its own. On a full disk that
    thread ends, and the next call blocks forever.

    Args:
      folder: made if absent.
      resume_step: TensorBoard drops points of earlier files beyond it. It reads files in the order
        of their names, which begin with the step, as the system's clock may be set back.
    """

    def __init__(self, folder: epath.Path, resume_step: int):
        # Imported late: it takes a second, and only runs that write need it.
        from tensorboardX import event_file_writer
        from tensorboardX.proto import event_pb2, summary_pb2

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = event_file_writer.EventsWriter(str(folder / f"events.{resume_step:012d}"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.write_event(self._event(step=resume_step + 1, session_log=start))
        self._flushed = time.monotonic()

    def write(self, step: int, scalars: Mapping[str, float], wall_time: float) -> None:
        values = [self._summary.Value(tag=k, simple_value=v) for k, v in scalars.items()]
        summary = self._summary(value=values)
        self._writer.write_event(self._event(wall_time=wall_time, step=step, summary=summary))
        if time.monotonic() - self._flushed > _FLUSH_EVENTS_EVERY_S:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def _as_user_error(path: epath.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error}). Remove the cause; the same command then "
            "resumes from the last checkpoint."
        ) from error


def read_metrics(workdir: os.PathLike | str) -> list[dict]:
    """The lines of `metrics.jsonl`, without a last line that a kill cut short.

    Raises:
      BadFile: another line is not a JSON object with a step.
    """
    path = epath.Path(workdir) / METRICS_FILE
    texts = path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []
    lines = []
    for number, text in enumerate(texts, start=1):
        line = _parsed(text)
        if line is not None:
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


def _parsed(text: str) -> dict | None:
    """A line of `metrics.jsonl`; None if it is not one."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "step" in line else None


class WallClock:
    """Seconds since 1970 that never go back and never jump, for the lines of one run.

    The system's clock is read once per start. A start whose clock is behind the last line continues
    from that line.

    Args:
      lines: of `metrics.jsonl`, up to the step that the run resumes from.
    """

    def __init__(self, lines: list[dict]):
        last = lines[-1].get("time", 0.0) if lines else 0.0
        self._ahead = max(time.time(), last) - time.monotonic()

    def now(self) -> float:
        return self._ahead + time.monotonic()


class TrainingClock:
    """Seconds that a run has trained, over all its starts, without compilation and pauses.

    Args:
      last: the last line of `metrics.jsonl` before the step that the run resumes from.
    """

    def __init__(self, last: dict):
        self._seconds, self._steps = last.get("timed_seconds", 0.0), last.get("timed_steps", 0)
        self._since = time.monotonic()
        self._lengths: set[int] = set()

    def update(self, steps: range) -> dict[str, float]:
        """Notes that `steps` are just done.

        The first dispatch of each length is not counted: it compiles.

        Returns:
          `timed_seconds`, and `timed_steps`, the number of steps done in them.
        """
        now = time.monotonic()
        if len(steps) in self._lengths:
            self._seconds += now - self._since
            self._steps += len(steps)
        self._lengths.add(len(steps))
        self._since = now
        return {"timed_seconds": round(self._seconds, 3), "timed_steps": self._steps}
