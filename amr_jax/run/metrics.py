"""Metrics of a run: `metrics.jsonl` and TensorBoard event files."""

import contextlib
import json
import os
import time
from collections.abc import Iterator

import jax
from etils import epath

from amr_jax.errors import BadFile, UserError
from amr_jax.run import paths
from amr_jax.run import workdir as workdirs

METRICS_FILE = "metrics.jsonl"

# In a bucket nothing can be appended to: the file is written anew, so often.
_REWRITE_EVERY_S = 30.0


class MetricWriter:
    """Appends scalars of one run; only process 0 writes.

    Args:
      workdir: an existing folder.
      resume_step: lines beyond it, left by a start that died later than its last checkpoint, are
        taken out, so that every step stands in the file once.
    """

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        self._path = epath.Path(workdir) / METRICS_FILE
        self._active = jax.process_index() == 0
        if not self._active:
            return
        lines = read_metrics(workdir)
        kept = [line for line in lines if line["step"] <= resume_step]
        self._lines = _Lines(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._clock = WallClock(kept)
        with _told(self._path.parent):
            self._events = _EventFile(self._path.parent / "tensorboard", resume_step)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """One line of `metrics.jsonl` and one point per scalar in TensorBoard."""
        if not self._active:
            return
        now = self._clock.now()
        self._lines.add(json.dumps({"step": step, **scalars, "time": now}) + "\n")
        with _told(self._path.parent):
            self._events.write(step, scalars, now)

    def flush(self) -> None:
        """Returns when every line is in the file.

        To be called before a checkpoint is saved: who goes on from that writes only later ones.
        """
        if self._active:
            self._lines.flush()

    def close(self) -> None:
        """Flushes both files."""
        if self._active:
            self._lines.flush()
            with _told(self._path.parent):
                self._events.close()


class _EventFile:
    """Points for TensorBoard, written by the thread that has them.

    tensorboardX's `SummaryWriter` hands them to a thread of its own. When that one meets a full
    disk it ends, and who goes on handing over waits for it forever.

    Args:
      folder: made if absent.
      resume_step: TensorBoard forgets what earlier files of the folder hold beyond it. Files are
        read in the order of their names: the step stands in front, as clocks may jump back.
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

    def write(self, step: int, scalars: dict[str, float], wall_time: float) -> None:
        values = [self._summary.Value(tag=k, simple_value=v) for k, v in scalars.items()]
        summary = self._summary(value=values)
        self._writer.write_event(self._event(wall_time=wall_time, step=step, summary=summary))
        if time.monotonic() - self._flushed > 30:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def _told(path: epath.Path) -> Iterator[None]:
    """What the system says of a disk, for the reader of a terminal."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error}). When that is mended, the same command goes "
            "on from the last checkpoint."
        ) from error


class _Lines:
    """A file that grows; in a bucket, where nothing can be appended to, it is written anew."""

    def __init__(self, path: epath.Path, text: str):
        self._path, self._text, self._appends = path, text, not paths.is_remote(path)
        workdirs.write(path, text)
        self._written = time.monotonic()

    def add(self, line: str) -> None:
        if not self._appends:
            self._text += line
            if time.monotonic() - self._written >= _REWRITE_EVERY_S:
                self.flush()
            return
        with _told(self._path), self._path.open("a") as file:
            file.write(line)

    def flush(self) -> None:
        if not self._appends:
            workdirs.write(self._path, self._text)
            self._written = time.monotonic()


def read_metrics(workdir: os.PathLike | str) -> list[dict]:
    """The lines of `metrics.jsonl`; a last line cut short by a kill is left out.

    Raises:
      BadFile: another line is no JSON object with a step.
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
    """A line of `metrics.jsonl`; None if it is none."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "step" in line else None


class WallClock:
    """Seconds since 1970 for the lines of one run: they never go back, and never jump.

    Read once a start and then counted on, so that whoever sets the system's clock meanwhile changes
    no difference. A start whose clock is behind the last line goes on from that line.

    Args:
      lines: of `metrics.jsonl`, up to where the run goes on from.
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
