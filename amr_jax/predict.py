r"""Command: files of skeletons -> what a trained model says of them.

    python -m amr_jax.predict --checkpoint=DIR FILE…
    python -m amr_jax.predict --checkpoint=DIR --embeddings=OUT.npz FILE…

DIR is the workdir of an evaluation that trained a classifier, or the file in it; for embeddings the
workdir of a pre-training run will do. FILE is a `.skeleton` of NTU RGB+D, a `.txt` of PKU-MMD, a
`.json` of NW-UCLA, a `.npy` or `.npz` of shape (T, M, V, C) or (T, V, C), a `.pkl` of PYSKL with
many sequences, or one of these in an archive: `archive.zip!member`.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("predict")


import argparse
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

from amr_jax.errors import BadFile, UserError
from amr_jax.inference import apply, sequences
from amr_jax.inference.apply import Model
from amr_jax.inference.sequences import Sequence
from amr_jax.inference.trained import load
from amr_jax.run import workdir

TOP = 5

# Sequences that the device gets at once. Always as many, the last ones being nobody's, so that
# everything runs through one and the same program; fewer where one alone is large.
_BATCH_SIZE = 16
_BATCH_VALUES = 2**24


@dataclasses.dataclass(frozen=True)
class Result:
    """What came out for one sequence.

    Attributes:
      name: of the sequence.
      frames, used_frames: in the file, and up to where the model looks.
      bodies: that were seen in these.
      output: (K,) logits or (D,) features, float32.
    """

    name: str
    frames: int
    used_frames: int
    bodies: int
    output: np.ndarray


def predictions(
    model: Model, function: Callable, found: Iterable[Sequence | BadFile]
) -> Iterator[Result | BadFile]:
    """Runs sequences through a model, a batch in memory at a time.

    A result does not depend, in any bit, on the other sequences or on their order.

    Args:
      model: the model.
      function: `apply.logits` or `apply.features`.
      found: sequences that fit the model; errors pass through.

    Yields:
      Results, and the errors at their places.
    """
    run = jax.jit(functools.partial(function, model))
    variables = jax.device_put(model.variables)
    size = max(1, min(_BATCH_SIZE, _BATCH_VALUES // math.prod(model.sequence_shape)))
    waiting: list[Sequence | BadFile] = []

    def flush() -> Iterator[Result | BadFile]:
        real = [item for item in waiting if isinstance(item, Sequence)]
        outputs = iter(np.asarray(run(variables, *_batch(model, real, size))) if real else ())
        for item in waiting:
            yield item if isinstance(item, BadFile) else _result(model, item, next(outputs))
        waiting.clear()

    for item in found:
        waiting.append(item)
        if sum(isinstance(item, Sequence) for item in waiting) == size:
            yield from flush()
    yield from flush()


def _batch(model: Model, real: list[Sequence], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences, cut and zero-padded, and their lengths; what fills the batch up has length 0."""
    joints = np.zeros((size, *model.sequence_shape), np.float32)
    length = np.zeros(size, np.int32)
    max_frames, max_bodies = model.sequence_shape[:2]
    for i, sequence in enumerate(real):
        used = sequence.joints[:max_frames, :max_bodies]
        joints[i, : used.shape[0], : used.shape[1]] = used
        length[i] = len(used)
    return joints, length


def _result(model: Model, sequence: Sequence, output: np.ndarray) -> Result | BadFile:
    if not np.isfinite(output).all():
        largest = np.abs(sequence.joints).max()
        return BadFile(
            sequence.name,
            f"coordinates up to {largest:.3g}, of which the model makes no finite number",
            "coordinates in the units that it was trained in (metres)",
        )
    used = sequence.joints[: model.input.max_frames]
    bodies = int(used.any(axis=(0, 2, 3)).sum())
    return Result(sequence.name, len(sequence.joints), len(used), bodies, output)


def top(logits: np.ndarray, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The most probable classes of one sequence, best first: class, its number (from 0), share."""
    shares = np.exp(logits.astype(np.float64) - logits.max())
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[:TOP]
    return [
        {"class": class_names[i], "label": int(i), "probability": float(shares[i])} for i in best
    ]


def predict(
    model: Model,
    found: Iterable[Sequence | BadFile],
    *,
    skip: bool = False,
    lines: TextIO | None = None,
    table: TextIO | None = None,
) -> int:
    """Writes the top classes of each sequence, as soon as they are known.

    Args:
      model: one with a head.
      found: what `sequences.read` yields.
      skip: whether to go on after a `BadFile`; its place in `lines` is taken by the reason.
      lines: for JSON, one object a line.
      table: for people.

    Returns:
      How many were skipped.

    Raises:
      BadFile: the first, unless they are skipped.
    """
    skipped = 0
    for result in predictions(model, apply.logits, found):
        if isinstance(result, BadFile):
            row = {"file": result.path, "error": str(_skipped(result, skip))}
            skipped += 1
        else:
            row = {
                "file": result.name,
                "frames": result.frames,
                "used_frames": result.used_frames,
                "bodies": result.bodies,
                "top": top(result.output, model.class_names),
            }
            if table:
                print(_for_people(row), file=table, flush=True)
        if lines:
            print(json.dumps(row, ensure_ascii=False, allow_nan=False), file=lines, flush=True)
    return skipped


def embed(model: Model, found: Iterable[Sequence | BadFile], path: str, *, skip: bool) -> int:
    """Writes features as `.npz`: 'names' (S,) and 'features' (S, D); see `predict`."""
    names, rows, skipped = [], [], 0
    for result in predictions(model, apply.features, found):
        if isinstance(result, BadFile):
            _skipped(result, skip)
            skipped += 1
        else:
            names.append(result.name)
            rows.append(result.output)
    buffer = io.BytesIO()
    features = np.stack(rows) if rows else np.zeros((0, model.encoder.width), np.float32)
    np.savez(buffer, names=np.array(names, str), features=features)
    workdir.write(path, buffer.getvalue())
    print(f"{path}: {features.shape[0]:,} sequences × {features.shape[1]} features")
    return skipped


def _skipped(error: BadFile, skip: bool) -> BadFile:
    if not skip:
        raise error
    print(f"skipped: {error}", file=sys.stderr, flush=True)
    return error


def _for_people(row: dict[str, Any]) -> str:
    frames = "1 frame" if row["frames"] == 1 else f"{row['frames']} frames"
    if row["used_frames"] < row["frames"]:
        frames = f"the first {row['used_frames']} of {frames}"
    bodies = "1 body" if row["bodies"] == 1 else f"{row['bodies']} bodies"
    best = (f"  {100 * one['probability']:5.1f} %  {one['class']}" for one in row["top"])
    return "\n".join([f"{row['file']}  ({frames}, {bodies})", *best])


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.__main__.predict`."""
    if not flags.files:
        raise UserError("give at least one file: python -m amr_jax.predict --checkpoint=DIR FILE…")
    if flags.json and flags.embeddings:
        raise UserError("--json goes with predictions, not with --embeddings: leave one away.")
    model = load(flags.checkpoint, flags.step)
    if not flags.embeddings and model.head is None:
        raise UserError(
            f"{flags.checkpoint} holds an encoder without a classifier: give --embeddings=OUT.npz "
            "for its features, or train a classifier on it first (python -m amr_jax.evaluate "
            "--config=configs/linear.py:… --config.pretrained=…) and give that workdir."
        )
    options = sequences.Options(labels=flags.labels, gaps=flags.gaps)
    found = sequences.read(flags.files, model, options)
    skip = flags.on_bad_file == "skip"
    if flags.embeddings:
        skipped = embed(model, found, flags.embeddings, skip=skip)
    else:
        with _lines(flags.json) as lines:
            table = None if flags.json == "-" else sys.stdout
            skipped = predict(model, found, skip=skip, lines=lines, table=table)
    if skipped:
        print(f"note: {skipped:,} skipped, see above.", file=sys.stderr)


@contextlib.contextmanager
def _lines(path: str | None) -> Iterator[TextIO | None]:
    """Where JSON lines go."""
    if not path or path == "-":
        yield sys.stdout if path else None
        return
    try:
        with epath.Path(path).expanduser().open("w") as file:
            yield file
    except OSError as error:
        raise UserError(f"--json={path}: cannot be written ({error.strerror}).") from error
