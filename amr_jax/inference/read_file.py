"""Reads one file of any format into the sequences that were captured, as `prepare` reads them."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from etils import epath

from amr_jax.data.readers import (
    arrays,
    files,
    findings,
    formats,
    keypoints,
    ntu,
    openpose,
    pku,
    pyskl,
    raw_sets,
)
from amr_jax.errors import BadFile
from amr_jax.inference.apply import Input
from amr_jax.inference.windows import Windows
from amr_jax.skeleton import layouts


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


def read(path: str, size: Input, options: Options | None = None) -> Iterable[Sequence | BadFile]:
    """The sequences of one file, or errors in their places, not checked against a model.

    Args:
      path: a file, or `archive.zip!member`; the end of its name decides the format.
      size: what a model knows of its input: layout, channels, scale.
      options: see `Options`; None: the defaults.

    Raises:
      BadFile: of no known format, of another layout, or damaged.
    """
    raw, of_kind, reader = _kind(path)
    if of_kind is not None and of_kind.name != size.layout:
        raise BadFile(
            path,
            f"the layout {of_kind.name} ({of_kind.num_joints} joints)",
            f"{size.layout}, which the model was trained on",
        )
    return reader(raw, size, options or Options())


def layout_of(path: str) -> layouts.Layout | None:
    """The layout that a file has by its name; None: one that its content does not tell.

    Raises:
      BadFile: a name of no known format.
    """
    return _kind(path)[1]


def on_disk(paths: Iterable[str], options: Options) -> Iterator[str]:
    """The files that reading opens: files themselves, archives of members, and label files."""
    for raw in map(files.of_path, paths):
        yield raw.container
        if options.labels:
            yield _labels(raw, options).container


def first_file(path: str) -> files.RawFile:
    """The file or member that a user names, or the first frame in a folder of OpenPose's."""
    raw = files.of_path(path)
    if not os.path.isdir(path):
        return raw
    return next(iter(_frames(raw).values()))[0]


def _kind(path: str) -> tuple[files.RawFile, layouts.Layout | None, Callable]:
    """The file, and its layout and reader by its name; of JSON, by its content."""
    raw = files.of_path(path)
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


def _sequence(name: object, read: Callable[[dict], np.ndarray]) -> Sequence:
    """The sequence that a function reads, which counts its findings in its argument."""
    counts: dict[str, int] = {}
    return Sequence(str(name), read(counts), counts)


def _ntu(raw: files.RawFile, size: Input, options: Options) -> Iterable[Sequence]:
    return [_sequence(raw, lambda counts: ntu.read_joints(raw, options.gaps, counts))]


def _of_set(
    of: raw_sets.RawSet, raw: files.RawFile, size: Input, options: Options
) -> Iterable[Sequence]:
    return [_sequence(raw, lambda counts: of.read(raw, counts))]


def form(size: Input, options: Options | None = None) -> arrays.Form:
    """What an array must hold; its file does not say what the numbers are."""
    source = f"The data that the model was trained on ({size.layout})"
    given = size.channels, size.scale, source, size.scores, "", size.layout, size.joints
    cut = options is not None and options.windows is not None
    return arrays.Form(len(size.joints), *given, keep_empty=cut)


def _array(raw: files.RawFile, size: Input, options: Options) -> Iterable[Sequence]:
    found = arrays.read(raw)
    return [_sequence(raw, lambda counts: arrays.joints(*found, form(size, options), raw, counts))]


def _pickle(raw: files.RawFile, size: Input, options: Options) -> Iterator[Sequence | BadFile]:
    annotations = pyskl.load(raw).annotations
    if not annotations:
        raise BadFile(raw, "no annotation", "at least one, the joints of a sequence")
    for annotation in annotations:
        try:
            name, counts = f"{raw}[{annotation.name}]", {}
            yield Sequence(name, pyskl.joints(annotation, form(size, options), counts), counts)
        except BadFile as error:
            yield error


def _key_points(raw: files.RawFile, size: Input, options: Options) -> Iterable[Sequence]:
    return [
        _of_clip(clip, f"{raw}[{clip.name}]" if clip.name else str(raw), size, options)
        for clip in formats.read(raw, size.channels).clips
    ]


def _of_clip(clip: keypoints.Clip, name: str, size: Input, options: Options) -> Sequence:
    """Of people whom a detector found, the model gets as many as it knows."""
    how, most = form(size, options), size.num_bodies
    return _sequence(name, lambda counts: keypoints.joints(clip, how, name, counts, most))


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
