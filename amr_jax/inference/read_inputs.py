"""Reads files of all formats into sequences for a trained model, as `prepare` reads them."""

import dataclasses
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from etils import epath

from amr_jax.data.readers import (
    arrays,
    files,
    findings,
    formats,
    in_memory,
    keypoints,
    ntu,
    openpose,
    pku,
    pyskl,
    raw_sets,
)
from amr_jax.errors import BadFile
from amr_jax.inference.apply import Input, Model
from amr_jax.inference.windows import Windows
from amr_jax.ops import normalise
from amr_jax.skeleton import layouts

_MEMBER = re.compile(r"(.+\.zip)!(.+)", re.IGNORECASE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A sequence as captured, neither centred nor cut.

    Attributes:
      name: the file, or `archive.zip!member`; then `[FIRST-LAST]` frames for a part of a video, or
        `[NAME]` for one of many sequences in a file.
      joints: (T, M, V, C) float32; absent bodies are zeros. Somebody is in each frame.
      findings: what is not as in the file, see `readers.findings`.
      window: of a part of a sequence that `Windows` cut: the sequence's name, the first frame, one
        past the last.
    """

    name: str
    joints: np.ndarray
    findings: dict[str, int] = dataclasses.field(default_factory=dict)
    window: tuple[str, int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """How files are read.

    Attributes:
      labels: PKU-MMD, whose files are long videos: a label file, or a folder with a label file of
        the same name for each video. Each labelled instance is a sequence; without labels, the
        whole video is one.
      gaps: NTU RGB+D, see `ntu.denoise`; as the training data was prepared.
      windows: each window of a sequence is one; None: sequences are not cut. Frames that hold
        nobody count in files of arrays and key points; raw files of published sets lose them.
    """

    labels: str = ""
    gaps: str = "contiguous"
    windows: Windows | None = None


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
            for sequence in _read(path, model.input, options):
                if isinstance(sequence, Sequence):
                    if options.windows:
                        yield from (
                            _fitted(part, model)
                            for part in parts(sequence, options.windows, model.input.channels)
                        )
                        _note(sequence, model)
                        continue
                    sequence = _fitted(sequence, model)
                    _note(sequence, model)
                yield sequence
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
    form = _form(model.input)
    for i, values in enumerate(in_memory.sequences(x)):
        joints = arrays.joints(values, None, form, f"x[{i}]")
        sequence = _fitted(Sequence(f"x[{i}]", joints), model)
        if not i:  # one array, one unit
            _note(sequence, model)
        yield sequence


def as_captured(path: str, size: Input, options: Options | None = None) -> Iterable:
    """The sequences of one file, or errors in their places, not checked against a model."""
    return _read(path, size, options or Options())


def layout_of(path: str) -> layouts.Layout | None:
    """The layout that a file has by its name; None: one that its content does not tell.

    Raises:
      BadFile: a name of no known format.
    """
    return _kind(path)[1]


def on_disk(paths: Iterable[str], options: Options) -> Iterator[str]:
    """The files that `read` opens: files themselves, archives of members, and label files."""
    for raw in map(raw_file, paths):
        yield raw.container
        if options.labels:
            yield _labels(raw, options).container


def raw_file(path: str) -> files.RawFile:
    """The file or member that a user names."""
    archive = _MEMBER.fullmatch(path)
    return files.RawFile(*archive.groups()) if archive else files.RawFile(path)


def first_file(path: str) -> files.RawFile:
    """The file or member that a user names, or the first frame in a folder of OpenPose's."""
    raw = raw_file(path)
    if not os.path.isdir(path):
        return raw
    return next(iter(_frames(raw).values()))[0]


def _kind(path: str) -> tuple[files.RawFile, layouts.Layout | None, Callable]:
    """The file, and its layout and reader by its name; of JSON, by its content."""
    raw = raw_file(path)
    if os.path.isdir(path):
        return raw, None, _videos
    kind = Path(raw.name).suffix.lower()
    if kind not in (*raw_sets.ENDINGS, *_READERS):
        ending = f"a name that ends in {kind!r}" if kind else "a name without an ending"
        known = ", ".join((*raw_sets.ENDINGS, *_READERS))
        raise BadFile(path, ending, f"a file {known}, or archive.zip!member")
    of = raw_sets.of(raw)
    if of is None:
        return raw, None, _READERS.get(kind, _key_points)
    return raw, of.layout, _OF_SETS.get(of.dataset, functools.partial(_of_set, of))


def _read(path: str, size: Input, options: Options) -> Iterable[Sequence | BadFile]:
    raw, of_kind, reader = _kind(path)
    if of_kind is not None and of_kind.name != size.layout:
        raise BadFile(
            path,
            f"the layout {of_kind.name} ({of_kind.num_joints} joints)",
            f"{size.layout}, which the model was trained on",
        )
    return reader(raw, size, options)


def _ntu(raw: files.RawFile, size: Input, options: Options) -> Iterable[Sequence]:
    counts: dict[str, int] = {}
    return [Sequence(str(raw), ntu.read_joints(raw, options.gaps, counts), counts)]


def _of_set(
    of: raw_sets.RawSet, raw: files.RawFile, size: Input, options: Options
) -> Iterable[Sequence]:
    counts: dict[str, int] = {}
    return [Sequence(str(raw), of.read(raw, counts), counts)]


def _form(size: Input, options: Options | None = None) -> arrays.Form:
    """What an array must hold; its file does not say what the numbers are."""
    source = f"The data that the model was trained on ({size.layout})"
    given = size.channels, size.scale, source, size.scores, "", size.layout, size.joints
    cut = options is not None and options.windows is not None
    return arrays.Form(len(size.joints), *given, keep_empty=cut)


def _array(raw: files.RawFile, size: Input, options: Options) -> Iterable[Sequence]:
    joints, confidence = arrays.read(raw)
    counts: dict[str, int] = {}
    joints = arrays.joints(joints, confidence, _form(size, options), raw, counts)
    return [Sequence(str(raw), joints, counts)]


def _pickle(raw: files.RawFile, size: Input, options: Options) -> Iterator[Sequence | BadFile]:
    annotations = pyskl.load(raw).annotations
    if not annotations:
        raise BadFile(raw, "no annotation", "at least one, the joints of a sequence")
    for annotation in annotations:
        try:
            name, counts = f"{raw}[{annotation.name}]", {}
            yield Sequence(name, pyskl.joints(annotation, _form(size, options), counts), counts)
        except BadFile as error:
            yield error


def _key_points(raw: files.RawFile, size: Input, options: Options) -> Iterable[Sequence]:
    return [
        _of_clip(clip, f"{raw}[{clip.name}]" if clip.name else str(raw), size, options)
        for clip in formats.read(raw, size.channels).clips
    ]


def _of_clip(clip: keypoints.Clip, name: str, size: Input, options: Options) -> Sequence:
    """Of people whom a detector found, the model gets as many as it knows."""
    counts: dict[str, int] = {}
    form = _form(size, options)
    return Sequence(name, keypoints.joints(clip, form, name, counts, size.num_bodies), counts)


def _videos(raw: files.RawFile, size: Input, options: Options) -> Iterator[Sequence]:
    """The videos whose frames OpenPose wrote to a folder."""
    videos = _frames(raw)
    for video, frames in videos.items():
        name = f"{raw}[{video}]" if len(videos) > 1 else str(raw)
        yield _of_clip(openpose.read(frames, name, size.channels), name, size, options)


def _frames(folder: files.RawFile) -> dict[str, list[files.RawFile]]:
    """video -> the files of its frames."""
    videos: dict[str, list[files.RawFile]] = {}
    for path in sorted(os.listdir(folder.container)):
        if frame := openpose.frame_name(path):
            frames = videos.setdefault(frame[0], [])
            frames.append(files.RawFile(os.path.join(folder.container, path)))
    if not videos:
        expected = "frames as OpenPose writes them (*_000000000000_keypoints.json)"
        raise BadFile(folder, "a folder without any", f"{expected}; of other formats, name files")
    return videos


def _pku(raw: files.RawFile, size: Input, options: Options) -> Iterator[Sequence | BadFile]:
    if not options.labels:
        counts: dict[str, int] = {}
        video = pku.read_video(raw)
        if options.windows is None:
            video = findings.without_empty_frames(video, "xyz", counts)
        yield Sequence(str(raw), video, counts)
        return
    video = pku.Video(raw.name.removesuffix(".txt"), raw, _labels(raw, options))
    for instance in pku.sequences(video):
        if isinstance(instance, files.LeftOut):
            yield instance.bad or BadFile(
                raw, f"{instance.name}: {instance.why}", "an action with a body"
            )
        else:
            frames = f"{instance['start']}-{instance['end']}"
            found = instance.get("findings", {})
            yield Sequence(f"{raw}[{frames}]", instance["joints"], found)


def _labels(raw: files.RawFile, options: Options) -> files.RawFile:
    """The label file of a video."""
    labels = Path(epath.Path(options.labels).expanduser())
    if labels.is_dir():
        name = Path(raw.member or raw.container).name
        plain = labels / (name[: -len(".gz")] if name.lower().endswith(".gz") else name)
        packed = plain.with_name(f"{plain.name}.gz")
        labels = packed if packed.is_file() and not plain.is_file() else plain
    return files.RawFile(str(labels))


# Data sets whose files take `Options`.
_OF_SETS: dict[str, Callable] = {"ntu_rgbd60": _ntu, "pku_mmd1": _pku}
# End of a file name -> the reader, where the file does not tell the layout.
_READERS: dict[str, Callable] = {
    ".npy": _array,
    ".npz": _array,
    ".pkl": _pickle,
    ".pickle": _pickle,
    ".bvh": _key_points,
    ".csv": _key_points,
}


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
