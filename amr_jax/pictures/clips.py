"""Clips to draw: of raw files, arrays and records, with what their numbers mean."""

import dataclasses
from collections.abc import Iterator, Sequence

import ml_collections
import numpy as np

from amr_jax.data import contents, datasets
from amr_jax.data.readers import arrays, files, formats, in_memory, layout_file, pyskl
from amr_jax.errors import BadFile, UserError
from amr_jax.inference import read_file
from amr_jax.inference.apply import Input
from amr_jax.skeleton.layouts import LAYOUTS, Layout

_EVERYBODY = 99  # more than any file holds


@dataclasses.dataclass(frozen=True)
class Clip:
    """One sequence, as captured.

    Attributes:
      name: the file, or the record; see `read_file.Sequence`.
      joints: (T, M, V, C) float32; absent bodies are zeros.
      layout: the joints.
      channels: one of `layouts.CHANNELS`.
    """

    name: str
    joints: np.ndarray
    layout: Layout
    channels: str


def of_files(
    paths: Sequence[str], layout: str | None = None, channels: str | None = None
) -> Iterator[Clip]:
    """The sequences of files that `amr-jax predict` reads, in order.

    Args:
      paths: files, or `archive.zip!member`.
      layout: arrays and pickles: a name of `LAYOUTS`, or a .json; None: the only layout of that
        many joints.
      channels: likewise; None: by layout and shape.

    Raises:
      BadFile: a file that cannot be read, or whose joints have no known layout.
    """
    own = layout_file.find(layout) if layout else None
    for path in paths:
        kind, numbers = read_file.layout_of(path), "xyz"
        if kind is None and path.lower().endswith((".npy", ".npz", ".pkl", ".pickle")):
            yield from _of_arrays(path, own, channels)
            continue
        if kind is None:  # key points, in a format that tells the layout of most
            told = formats.told(read_file.first_file(path), channels or "")
            kind, numbers = own or layout_file.find(told["layout"]), told["channels"]
        elif own is not None and own != kind:
            raise BadFile(path, f"the layout {kind.name}", f"--layout={layout}, or none given")
        size = Input(kind.name, kind.joints, kind.parents, numbers, None, 0, _EVERYBODY, 1.0)
        for sequence in read_file.read(path, size):
            if isinstance(sequence, BadFile):
                raise sequence
            yield Clip(sequence.name, sequence.joints, kind, numbers)


def of_memory(x: object, layout: str | None = None, channels: str | None = None) -> list[Clip]:
    """The sequences of arrays, see `in_memory.sequences`; further arguments as in `of_files`."""
    own, clips = layout_file.find(layout) if layout else None, []
    for i, values in enumerate(in_memory.sequences(x)):
        kind, form, meant = _meaning(f"x[{i}]", values.shape, False, own, channels)
        form = dataclasses.replace(form, told_by="layout= and channels=")
        clips.append(Clip(f"x[{i}]", arrays.joints(values, None, form, f"x[{i}]"), kind, meant))
    return clips


def _of_arrays(path: str, layout: Layout | None, channels: str | None) -> Iterator[Clip]:
    raw = files.of_path(path)
    if raw.name.lower().endswith((".npy", ".npz")):
        values, confidence = arrays.read(raw)
        shape = arrays.shape_of(values)
        what = _meaning(raw, shape, confidence is not None, layout, channels)
        yield Clip(str(raw), arrays.joints(values, confidence, what[1], raw), what[0], what[2])
        return
    for one in pyskl.load(raw).annotations:
        values, scores = (one.content.get(key) for key in ("keypoint", "keypoint_score"))
        name, shape = f"{raw}[{one.name}]", np.shape(values)
        what = _meaning(name, shape, scores is not None, layout, channels)
        yield Clip(name, pyskl.joints(one, what[1]), what[0], what[2])


def _meaning(
    path: files.RawFile | str,
    shape: tuple[int, ...],
    scored: bool,
    layout: Layout | None,
    channels: str | None,
) -> tuple[Layout, arrays.Form, str]:
    """Layout, form and channels of joints of this shape, as far as they were not given."""
    found, expected = f"joints of shape {shape}", "(frames, bodies, joints, channels)"
    landmarks = shape[-2:] in ((33, 4), (33, 5))  # MediaPipe's, with visibility
    if len(shape) < 3 or not (2 <= shape[-1] <= 3 or landmarks):
        raise BadFile(path, found, f"{expected} with two or three channels")
    name, guess = contents.meaning(shape, scored, layout.name if layout else "")
    if layout is None and not name:
        names = ", ".join(LAYOUTS)
        hint = f"Tell which joints they are: --layout= one of {names}, or your own .json."
        raise BadFile(path, found, "joints of one known layout", hint=hint)
    layout, channels = layout or LAYOUTS[name], channels or guess
    return layout, arrays.Form(layout.num_joints, channels, layout=layout.name), channels


def of_record(data_dir: str, dataset: str, split: str, index: int) -> Clip:
    """A sequence of prepared records, as it was captured.

    Args:
      data_dir, dataset, split: as in configs of evaluations.
      index: of the sequence in the split, from 0.

    Raises:
      UserError: no such records or sequence.
    """
    row = datasets.get(dataset)
    section = {"centre": False, "max_frames": row.max_frames, "body_frame": "none"}
    source = row.open_split(data_dir, split, ml_collections.ConfigDict(section))
    if not 0 <= index < len(source):
        raise UserError(
            f"--index={index}: {dataset} {split} has {len(source):,} sequences, from 0."
        )
    (example,) = source.examples(np.array([index]))
    label = source.class_names[example["label"]]
    joints = example["joints"]
    return Clip(f"{example['name']}, {label}", joints, row.layout, row.channels)
