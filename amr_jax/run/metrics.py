"""Metrics of a run: `metrics.jsonl` and TensorBoard event files."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping

from etils import epath

from amr_jax.errors import BadFile, UserError
from amr_jax.run import paths
from amr_jax.run import workdir as workdirs

METRICS_FILE = "metrics.jsonl"

# A file in a bucket cannot grow: it is rewritten as a whole, this often.
_REWRITE_EVERY_S = 30.0
_FLUSH_EVENTS_EVERY_S = 30.0


class MetricWriter:
    """Appends scalars of one run to both; one process of a run has one.

    Each line has a `time`, seconds since 1970 that never go back and never jump: the system's clock
    is read once, and a resumed run whose clock is behind continues from its last line.

    Args:
      workdir: an existing folder.
      resume_step: lines of later steps, from a start that died after its last checkpoint, are
        removed, so that every step has one line. TensorBoard drops the points of earlier files
        beyond it; it reads the files in the order of their names, which begin with the step.
    """

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        # Imported late: it takes a second, and only runs that write need it.
        from tensorboardX import event_file_writer
        from tensorboardX.proto import event_pb2, summary_pb2

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._path = epath.Path(workdir) / METRICS_FILE
        self._grows = not paths.is_remote(self._path)
        kept = [line for line in read_metrics(workdir) if line["step"] <= resume_step]
        self._text = "".join(json.dumps(line) + "\n" for line in kept)
        self._rewrite()
        last = kept[-1].get("time", 0.0) if kept else 0.0
        self._clock_starts = max(time.time(), last) - time.monotonic()
        folder = self._path.parent / "tensorboard"
        with _as_user_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Not tensorboardX's SummaryWriter: its thread ends on a full disk, and the next call
            # blocks forever.
            self._events = event_file_writer.EventsWriter(
                str(folder / f"events.{resume_step:012d}")
            )
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._events.write_event(self._event(step=resume_step + 1, session_log=start))
        self._flushed = time.monotonic()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds a line to `metrics.jsonl` and a point per scalar to TensorBoard, with the time."""
        now = time.monotonic()
        wall_time = self._clock_starts + now
        line = json.dumps({"step": step, **scalars, "time": wall_time}) + "\n"
        if self._grows:
            with _as_user_error(self._path), self._path.open("a") as file:
                file.write(line)
        else:
            self._text += line
            if now - self._written >= _REWRITE_EVERY_S:
                self._rewrite()
        values = [self._summary.Value(tag=k, simple_value=v) for k, v in scalars.items()]
        event = self._event(wall_time=wall_time, step=step, summary=self._summary(value=values))
        with _as_user_error(self._path.parent):
            self._events.write_event(event)
            if now - self._flushed > _FLUSH_EVENTS_EVERY_S:
                self._events.flush()
                self._flushed = now

    def flush(self) -> None:
        """Completes `metrics.jsonl`, for the checkpoint that is saved next."""
        if not self._grows:
            self._rewrite()

    def close(self) -> None:
        """Completes both files."""
        self.flush()
        with _as_user_error(self._path.parent):
            self._events.close()

    def _rewrite(self) -> None:
        workdirs.write(self._path, self._text)
        self._written = time.monotonic()


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
