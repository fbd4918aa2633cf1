"""Predictions and features of sequences, by a trained model; the logic of `amr_jax.predict`."""

import contextlib
import dataclasses
import functools
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

import jax
import numpy as np
from etils import epath

from amr_jax.data.readers import findings
from amr_jax.errors import BadFile, UserError
from amr_jax.inference import apply
from amr_jax.inference.apply import Model
from amr_jax.inference.read_file import Sequence
from amr_jax.inference.windows import Windows
from amr_jax.ops import normalise
from amr_jax.run import workdir

TOP = 5  # classes that are reported

# Every batch has this size, so that one program computes all of them; the last batch is padded.
# Models of long sequences get smaller batches.
_BATCH_SIZE = 16
_BATCH_VALUES = 2**24


@dataclasses.dataclass(frozen=True)
class Result:
    """The output of a model for one sequence.

    Attributes:
      name: of the sequence.
      frames: in the file.
      empty_frames: those in which nobody is; they are not used.
      used_frames: frames that the model sees, the first ones up to its `max_frames`.
      bodies: in these frames.
      output: (K,) logits or (D,) features, float32.
      window: as in `read_file.Sequence`.
    """

    name: str
    frames: int
    empty_frames: int
    used_frames: int
    bodies: int
    output: np.ndarray
    window: tuple[str, int, int] | None = None


def outputs(
    model: Model, function: Callable, inputs: Iterable[Sequence | BadFile]
) -> Iterator[Result | BadFile]:
    """Applies a model to sequences, with one batch in memory at a time.

    A result does not depend, in any bit, on the other sequences or on their order.

    Args:
      model: the model.
      function: `apply.logits` or `apply.features`.
      inputs: sequences that fit the model, or errors.

    Yields:
      A result for each sequence, in order; errors in the places of theirs.
    """
    run = jax.jit(function, static_argnums=0)
    variables = jax.device_put(model.variables)
    size = max(1, min(_BATCH_SIZE, _BATCH_VALUES // math.prod(model.sequence_shape)))
    waiting: list[Sequence | BadFile] = []

    def flush() -> Iterator[Result | BadFile]:
        batch = [item for item in waiting if isinstance(item, Sequence)]
        rows = iter(
            np.asarray(run(model, variables, *_padded(model, batch, size))) if batch else ()
        )
        for item in waiting:
            yield item if isinstance(item, BadFile) else _result(model, item, next(rows))
        waiting.clear()

    for item in inputs:
        waiting.append(item)
        if sum(isinstance(item, Sequence) for item in waiting) == size:
            yield from flush()
    yield from flush()


def _padded(model: Model, batch: list[Sequence], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences cut and padded to (size, L, M, V, C), and their lengths; 0 for padding."""
    joints = np.zeros((size, *model.sequence_shape), np.float32)
    length = np.zeros(size, np.int32)
    max_frames, max_bodies = model.sequence_shape[:2]
    for i, sequence in enumerate(batch):
        used = sequence.joints[:max_frames, :max_bodies]
        joints[i, : used.shape[0], : used.shape[1]] = used
        length[i] = len(used)
    return joints, length


def _result(model: Model, sequence: Sequence, output: np.ndarray) -> Result | BadFile:
    if not np.isfinite(output).all():
        largest = np.abs(sequence.joints).max()
        return BadFile(
            sequence.name,
            f"coordinates up to {largest:.3g}, for which the model's output is not finite",
            "coordinates in the units that the model was trained in (metres)",
        )
    used = sequence.joints[: model.input.max_frames]
    bodies = int(normalise.found(used, model.input.channels).any(axis=(0, 2)).sum())
    empty = sequence.findings.get(findings.EMPTY_FRAMES, 0)
    frames = len(sequence.joints) + empty
    return Result(sequence.name, frames, empty, len(used), bodies, output, sequence.window)


def top(logits: np.ndarray, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The most probable classes of one sequence, best first: name, number (from 0), probability."""
    shares = np.exp(logits.astype(np.float64) - logits.max())
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[:TOP]
    return [
        {"class": class_names[i], "label": int(i), "probability": float(shares[i])} for i in best
    ]


def classify(
    model: Model,
    inputs: Iterable[Sequence | BadFile],
    json_path: str | None,
    skip: bool,
    windows: Windows | None = None,
    each: Callable[[dict[str, Any]], None] = lambda row: None,
) -> int:
    """Writes the top classes of each sequence as soon as they are known.

    Args:
      model: a model with a head.
      inputs: of `read_inputs.read`.
      json_path: a file for JSON lines, or '-' for standard output; None: no JSON. Unless it is '-',
        standard output gets a table.
      skip: whether to continue after a `BadFile`; its JSON line holds the reason.
      windows: how the inputs were cut, if they were: a row is then of a window.
      each: gets the row of each sequence or window.

    Returns:
      How many inputs were skipped.

    Raises:
      BadFile: the first one, unless inputs may be skipped.
      UserError: `json_path` cannot be written.
    """
    skipped, file = 0, ""
    with _json_lines(json_path) as lines:
        for result in outputs(model, apply.logits, inputs):
            if isinstance(result, BadFile):
                row = {"file": result.path, "error": str(_skipped(result, skip))}
                skipped += 1
            else:
                best = top(result.output, model.class_names)
                if windows:
                    row = _of_window(result, best, windows)
                else:
                    row = {
                        "file": result.name,
                        "frames": result.frames,
                        "empty_frames": result.empty_frames,
                        "used_frames": result.used_frames,
                        "bodies": result.bodies,
                        "top": best,
                    }
                if json_path != "-":
                    print(_window_as_text(row, file) if windows else _as_text(row), flush=True)
                file = row["file"]
                each(row)
            if lines:
                print(json.dumps(row, ensure_ascii=False, allow_nan=False), file=lines, flush=True)
    return skipped


def embed(
    model: Model,
    inputs: Iterable[Sequence | BadFile],
    path: str,
    skip: bool,
    readout: str = "mean",
) -> int:
    """Writes features as `.npz`: 'names' (S,), 'features' (S, F) and 'readout', a text.

    Arguments as in `classify` and `apply.features`.
    """
    names, rows, skipped = [], [], 0
    for result in outputs(model, functools.partial(apply.features, readout=readout), inputs):
        if isinstance(result, BadFile):
            _skipped(result, skip)
            skipped += 1
        else:
            names.append(result.name)
            rows.append(result.output)
    empty = np.zeros((0, apply.num_features(model, readout)), np.float32)
    features = np.stack(rows) if rows else empty
    buffer = io.BytesIO()
    np.savez(buffer, names=np.array(names, str), features=features, readout=readout)
    workdir.write(path, buffer.getvalue())
    kept = "" if readout == "mean" else f" ({readout})"
    print(f"{path}: {features.shape[0]:,} sequences × {features.shape[1]} features{kept}")
    return skipped


def _skipped(error: BadFile, skip: bool) -> BadFile:
    if not skip:
        raise error
    print(f"skipped: {error}", file=sys.stderr, flush=True)
    return error


def _of_window(result: Result, best: list[dict[str, Any]], windows: Windows) -> dict[str, Any]:
    """The row of a window: frames from `start` to before `end`, and seconds if they are known."""
    file, start, end = result.window
    row = {"file": file, "start": start, "end": end}
    if windows.fps:
        row |= {"start_s": windows.time(start), "end_s": windows.time(end)}
    return row | best[0] | {"bodies": result.bodies, "top": best}


def _window_as_text(row: dict[str, Any], file: str) -> str:
    """A line, below the name of the file where it begins."""
    heading = "" if row["file"] == file else f"{row['file']}\n"
    frames = f"{row['start']}-{row['end'] - 1}"
    seconds = f"{row['start_s']:8.2f} to {row['end_s']:.2f} s" if "start_s" in row else ""
    return f"{heading}  {frames:>15}{seconds}  {100 * row['probability']:5.1f} %  {row['class']}"


def _as_text(row: dict[str, Any]) -> str:
    frames = "1 frame" if row["frames"] == 1 else f"{row['frames']} frames"
    occupied = row["frames"] - row["empty_frames"]
    if row["empty_frames"]:
        frames = f"{occupied} of {frames} that show somebody"
    if row["used_frames"] < occupied:
        frames = f"the first {row['used_frames']} of {frames}"
    bodies = "1 body" if row["bodies"] == 1 else f"{row['bodies']} bodies"
    best = (f"  {100 * one['probability']:5.1f} %  {one['class']}" for one in row["top"])
    return "\n".join([f"{row['file']}  ({frames}, {bodies})", *best])


@contextlib.contextmanager
def _json_lines(path: str | None) -> Iterator[TextIO | None]:
    """The file that JSON lines go to."""
    if not path or path == "-":
        yield sys.stdout if path else None
        return
    try:
        with epath.Path(path).expanduser().open("w") as file:
            yield file
    except OSError as error:
        raise UserError(f"--json={path}: cannot be written ({error.strerror}).") from error
