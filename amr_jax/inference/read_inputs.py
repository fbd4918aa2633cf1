"""Reads files into sequences that fit a trained model, as `prepare` reads them."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from amr_jax.data.readers import arrays, findings, in_memory
from amr_jax.errors import BadFile
from amr_jax.inference import read_file
from amr_jax.inference.apply import Model
from amr_jax.inference.read_file import Options, Sequence
from amr_jax.inference.windows import Windows
from amr_jax.ops import normalise


def read(paths: Iterable[str], model: Model, options: Options) -> Iterator[Sequence | BadFile]:
    """Reads files one by one, and checks that each sequence fits the model.

    Args:
      paths: files, or `archive.zip!member`; the end of a name decides the format.
      model: the model that the sequences are for.
      options: see `Options`.

    Yields:
      Sequences in the order of the files; an error in place of each that cannot be used.
    """
    for path in paths:
        try:
            for sequence in read_file.read(path, model.input, options):
                if not isinstance(sequence, Sequence):
                    yield sequence
                    continue
                whole = [sequence]
                if options.windows:
                    whole = parts(sequence, options.windows, model.input.channels)
                yield from (_fitted(part, model) for part in whole)
                _note(sequence, model)
        except BadFile as error:
            yield error


def parts(sequence: Sequence, windows: Windows, channels: str) -> Iterator[Sequence]:
    """The windows of a sequence in which a joint was found (`normalise.found`)."""
    for start, end in windows.spans(len(sequence.joints)):
        joints = sequence.joints[start:end]
        if normalise.found(joints, channels).any():
            window = sequence.name, start, end
            yield Sequence(f"{sequence.name}[{start}-{end}]", joints, {}, window)


def of_arrays(x: object, model: Model) -> Iterator[Sequence]:
    """The sequences of arrays, checked as those of files are.

    Args:
      x: see `in_memory.sequences`; numbers as in the files that the model was trained on.
      model: the model that the sequences are for.

    Raises:
      BadFile: a sequence that does not fit, called x[0], x[1], …
    """
    form = read_file.form(model.input)
    for i, values in enumerate(in_memory.sequences(x)):
        joints = arrays.joints(values, None, form, f"x[{i}]")
        sequence = _fitted(Sequence(f"x[{i}]", joints), model)
        if not i:  # one array, one unit
            _note(sequence, model)
        yield sequence


def _note(sequence: Sequence, model: Model) -> None:
    """Tells what is not used as it is, and whether sizes of bodies are implausible in metres."""
    for kind, count in sequence.findings.items():
        print(f"note: {sequence.name}: {findings.line(kind, count)}", file=sys.stderr)
    if model.input.channels != "xyz":
        return
    if doubt := arrays.doubt_metres(arrays.extent(sequence.joints)):
        print(f"note: {sequence.name}: {doubt}", file=sys.stderr)


def _fitted(sequence: Sequence, model: Model) -> Sequence:
    """The sequence, without empty slots if it has more than the model; `BadFile` if none fits."""
    max_frames, max_bodies, *expected = model.sequence_shape
    found = list(sequence.joints.shape[2:])
    if found != expected:
        raise BadFile(
            sequence.name,
            f"{found[0]} joints with {found[1]} channels",
            f"{expected[0]} ({model.input.layout}) with {expected[1]}, as the model was trained on",
        )
    used = sequence.joints[:max_frames]
    here = np.flatnonzero(normalise.found(used, model.input.channels).any(axis=(0, 2)))
    if not here.size:
        found = f"no body (only zeros) in the first {len(used)} frames"
        raise BadFile(sequence.name, found, "at least one body")
    if len(here) > max_bodies:
        raise BadFile(sequence.name, f"{len(here)} bodies", f"{max_bodies} at most")
    if here[-1] < max_bodies:
        return sequence
    return dataclasses.replace(sequence, joints=sequence.joints[:, here])
