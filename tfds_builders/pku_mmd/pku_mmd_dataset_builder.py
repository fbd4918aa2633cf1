"""TFDS builder of PKU-MMD, phases I and II, cross-subject and cross-view."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import record_builder
from amr_jax.data.build.parsing import LeftOut
from amr_jax.data.readers import files, pku
from amr_jax.errors import UserError
from amr_jax.skeleton import action_names

PHASES = (1, 2)
_ARCHIVES = {1: "Skeleton.7z and Label_PKUMMD.7z", 2: "Skeleton_v2.7z and Label_PKUMMD_v2.7z"}
_SPLITS = {1: "cross-subject.txt, cross-view.txt", 2: "cross_subject_v2.txt, cross_view_v2.txt"}

# Both spellings, with or without the phase, occur in the wild.
_SPLIT_NAME = re.compile(r"cross[-_ ]?(sub|view)\w*?(?:[-_ ]?v(\d))?\.txt", re.IGNORECASE)
_VIDEO_NAME = re.compile(r"((\d+)|A\d+N\d+)-[LMR]\.txt")
_PHASE_2 = re.compile(r"v2|phase[ _-]?(2|ii)\b", re.IGNORECASE)


class Builder(record_builder.SkeletonBuilder):
    """PKU-MMD: 51 actions cut out of long videos of 3 Kinect v2 cameras, up to two bodies."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="v1_xsub", description="Phase I, cross-subject."),
        tfds.core.BuilderConfig(name="v1_xview", description="Phase I, cross-view."),
        tfds.core.BuilderConfig(name="v2_xsub", description="Phase II, cross-subject."),
        tfds.core.BuilderConfig(name="v2_xview", description="Phase II, cross-view."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "From the data set's page download "
        + "; ".join(f"for phase {'I' * p}: {_ARCHIVES[p]}, {_SPLITS[p]}" for p in PHASES)
        + ". Unpack the archives with `7z x`, each into a folder of its name, in manual_dir."
    )
    DESCRIPTION = (
        "PKU-MMD: the labelled actions of long videos, in camera coordinates at full length. Phase "
        "II has 41 of the 51 actions; the classes are the same in both."
    )
    HOMEPAGE = "https://struct002.github.io/PKUMMD/"
    CITATION = (
        "Liu, Hu, Li, Song, Liu: PKU-MMD: a large scale benchmark for continuous multi-modal human "
        "action understanding. 2017."
    )
    CLASS_NAMES = action_names.PKU_51
    MAX_BODIES = pku.NUM_BODIES
    NUM_JOINTS = pku.NUM_JOINTS
    INTEGERS = ("start", "end")
    TEXTS = ("name", "video")
    PUBLISHED: ClassVar = {
        "v1_xsub": {"train": 18_841, "test": 2_704},
        "v1_xview": {"train": None, "test": None},  # the sum is that of v1_xsub, about 21,545
        "v2_xsub": {"train": 5_332, "test": 1_613},
        "v2_xview": {"train": None, "test": None},
    }

    @classmethod
    def find(cls, manual_dir: Path) -> record_builder.RawSet:
        """Videos, labels and splits of the phases that are there, told apart by name and folder."""
        manual_dir = Path(manual_dir).expanduser().resolve()
        found = _sort_out(manual_dir)
        tasks, left_out, notes, train = [], [], [], {}
        for phase, raw in found.items():
            if not (raw.skeletons or raw.labels or raw.splits):
                notes.append(f"no file of phase {'I' * phase} is there; its protocols are left.")
                continue
            _check_complete(phase, raw, manual_dir)
            videos, incomplete = _pair(raw)
            tasks += [Task(phase, video) for video in videos]
            left_out += incomplete
            for protocol, file in sorted(raw.splits.items()):
                train[f"v{phase}_{protocol}"] = pku.read_split(file)
            for protocol in {"xsub", "xview"} - set(raw.splits):
                notes.append(f"no split file for v{phase}_{protocol}; it is left.")
        if not tasks:
            raise UserError(
                f"{manual_dir}: nothing there is of PKU-MMD; expected {_ARCHIVES[1]}, unpacked, "
                f"and {_SPLITS[1]} (phase I), or {_ARCHIVES[2]} and {_SPLITS[2]} (phase II)."
            )
        return record_builder.RawSet(
            tasks=tasks,
            read=read,
            split=functools.partial(split, train),
            protocols=tuple(name for name in cls.builder_configs if name in train),
            left_out=tuple(left_out),
            notes=tuple(notes),
        )


@dataclasses.dataclass(frozen=True)
class Task:
    """One video of one phase."""

    phase: int
    video: pku.Video

    @property
    def name(self) -> str:
        return self.video.name

    def __str__(self) -> str:
        return str(self.video)


def read(task: Task) -> list[dict | LeftOut]:
    """The examples of one video, as `parsing.parse` wants them."""
    return [
        LeftOut(sequence.name, str(task.video.label), sequence.why, sequence.bad)
        if isinstance(sequence, pku.Unusable)
        else {**sequence, "phase": task.phase}
        for sequence in pku.sequences(task.video)
    ]


def split(train: Mapping[str, frozenset[str]], protocol: str, fields: dict) -> str | None:
    """'train' or 'test' of an example; None where it is of the other phase."""
    if protocol[:2] != f"v{fields['phase']}":
        return None
    return "train" if fields["video"] in train[protocol] else "test"


@dataclasses.dataclass
class _Phase:
    """The files of one phase: by video, and by protocol ('xsub', 'xview')."""

    skeletons: dict[str, files.RawFile] = dataclasses.field(default_factory=dict)
    labels: dict[str, files.RawFile] = dataclasses.field(default_factory=dict)
    splits: dict[str, files.RawFile] = dataclasses.field(default_factory=dict)


def _sort_out(manual_dir: Path) -> dict[int, _Phase]:
    """All text files that look like PKU-MMD's; a video's two files bear the same name."""
    phases = {phase: _Phase() for phase in PHASES}
    what = "skeletons, labels and splits of PKU-MMD"
    for raw in files.find(manual_dir, ".txt", what=what, unique=False):
        folders = _folders(raw, manual_dir)
        in_phase_2 = any(_PHASE_2.search(folder) for folder in folders)
        if match := _SPLIT_NAME.fullmatch(raw.name):
            phase = int(match[2]) if match[2] else 1 + in_phase_2
            protocol = "xsub" if match[1].lower() == "sub" else "xview"
            if phase in phases:
                phases[phase].splits.setdefault(protocol, raw)
        elif match := _VIDEO_NAME.fullmatch(raw.name):
            phase = phases[1 + (in_phase_2 or match[2] is None)]
            target = phase.labels if _is_label(raw, folders) else phase.skeletons
            # The same file, unpacked and in an archive: the unpacked one comes first.
            target.setdefault(raw.name.removesuffix(".txt"), raw)
    return phases


def _folders(raw: files.RawFile, manual_dir: Path) -> Sequence[str]:
    """Names of the folders and archives around a file, from `manual_dir`'s own, outermost first."""
    inside = Path(raw.container).relative_to(manual_dir.parent)
    parts = [*inside.parts, *PurePosixPath(raw.member or "").parts]
    return parts[:-1]


def _is_label(raw: files.RawFile, folders: Sequence[str]) -> bool:
    """By the innermost folder that says so; otherwise by what the file looks like."""
    for folder in reversed(folders):
        if re.search("label|skel", folder, re.IGNORECASE):
            return "label" in folder.lower()
    return b"," in raw.read()[:1000]


def _check_complete(phase: int, raw: _Phase, manual_dir: Path) -> None:
    missing = [kind for kind in ("skeletons", "labels", "splits") if not getattr(raw, kind)]
    if not missing:
        return
    packed = sorted(path for path in manual_dir.rglob("*") if path.suffix.lower() == ".7z")
    unpack = "".join(
        f" Unpack `7z x {path} -o{path.with_suffix('')}` (7z archives are not read in place)."
        for path in packed
    )
    raise UserError(
        f"{manual_dir}: of PKU-MMD phase {'I' * phase} there are no {' and no '.join(missing)}; "
        f"expected {_ARCHIVES[phase]}, unpacked, and {_SPLITS[phase]}.{unpack}"
    )


def _pair(raw: _Phase) -> tuple[list[pku.Video], list[LeftOut]]:
    """The videos that have both files, in the order of their names, and those that lack one."""
    videos, left_out = [], []
    for name in sorted(raw.skeletons.keys() | raw.labels.keys()):
        skeleton, label = raw.skeletons.get(name), raw.labels.get(name)
        if skeleton and label:
            videos.append(pku.Video(name, skeleton, label))
        else:
            missing = "label file" if skeleton else "skeleton file"
            left_out.append(LeftOut(name, str(skeleton or label), f"the video has no {missing}"))
    return videos, left_out
