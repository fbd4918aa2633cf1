"""Finds the files of PKU-MMD in folders and archives, and sorts them by phase."""

import dataclasses
import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from amr_jax.data.build.builder import RawSet
from amr_jax.data.readers import files, pku
from amr_jax.data.readers.files import LeftOut
from amr_jax.data.readers.search import Search, how_to_unpack, raise_first, some
from amr_jax.errors import UserError

PHASES = (1, 2)
ARCHIVES = {1: "Skeleton.7z and Label_PKUMMD.7z", 2: "Skeleton_v2.7z and Label_PKUMMD_v2.7z"}
SPLIT_FILES = {
    1: "cross-subject.txt, cross-view.txt",
    2: "cross_subject_v2.txt, cross_view_v2.txt",
}

# Hyphens and underscores, with or without the phase: all of these spellings are in use.
_SPLIT_NAME = re.compile(r"cross[-_ ]?(sub|view)\w*?(?:[-_ ]?v(\d))?\.txt", re.IGNORECASE)
_VIDEO_NAME = re.compile(r"((\d+)|A\d+N\d+)-[LMR]\.txt", re.IGNORECASE)
_PHASE_2 = re.compile(r"v2|phase[ _-]?(2|ii)\b", re.IGNORECASE)


@dataclasses.dataclass
class _Phase:
    """The files of one phase: all copies, until `once` keeps one of each."""

    skeletons: list[files.RawFile] = dataclasses.field(default_factory=list)
    labels: list[files.RawFile] = dataclasses.field(default_factory=list)
    splits: list[files.RawFile] = dataclasses.field(default_factory=list)


def find(manual_dir: Path, protocols: Sequence[str]) -> RawSet:
    """Finds the videos, labels and splits of the phases that are there.

    Args:
      manual_dir: folder or archive.
      protocols: 'v<phase>_<xsub or xview>', all that exist.

    Raises:
      UserError: no phase, or an incomplete one.
      BadFile: two split files of one protocol differ.
    """
    manual_dir = Path(os.path.expanduser(manual_dir)).resolve()
    search = Search(manual_dir, "skeletons, labels and splits of PKU-MMD", ".txt")
    phases = _sort_by_phase(search, manual_dir)
    used = [raw for phase in phases.values() for kind in vars(phase).values() for raw in kind]
    videos: list[pku.Video] = []
    train: dict[str, frozenset[str]] = {}
    for phase, raw in phases.items():
        if not any(vars(raw).values()):
            search.notes.append(f"no file of phase {'I' * phase} is there; it is skipped.")
            continue
        _check_complete(phase, raw, manual_dir)
        videos += (here := _videos(phase, raw, search))
        splits = {_protocol(file): file for file in _splits(raw, search)}
        for protocol, file in sorted(splits.items()):
            name = f"v{phase}_{protocol}"
            train[name] = _training(name, file, {video.name for video in here}, search)
        for protocol in {"xsub", "xview"} - set(splits):
            search.notes.append(f"no split file for v{phase}_{protocol}; it is skipped.")
    if not videos:
        raise_first(search.left_out)
        raise UserError(
            f"{manual_dir}: found no file of PKU-MMD; expected {ARCHIVES[1]}, unpacked, "
            f"and {SPLIT_FILES[1]} (phase I), or {ARCHIVES[2]} and {SPLIT_FILES[2]} (phase II)."
        )
    search.tell_unread(used)
    return RawSet(
        tasks=videos,
        read=pku.sequences,
        split=functools.partial(split, train),
        protocols=tuple(name for name in protocols if name in train),
        left_out=search.left_out,
        notes=search.notes,
    )


def _videos(phase: int, raw: _Phase, search: Search) -> list[pku.Video]:
    """The videos that have a skeleton file and a label file; the others are left out."""
    skeletons = {_video(file): file for file in search.once(raw.skeletons, _video)}
    labels = {_video(file): file for file in search.once(raw.labels, _video)}
    refused = {sample.name for sample in search.left_out}
    halves = sorted((skeletons.keys() ^ labels.keys()) - refused)
    if halves:
        what = f"{len(halves):,} videos have no skeleton or no label file"
        search.notes.append(f"{what}: {some(halves)}.")
    for name in halves:
        file = skeletons.get(name) or labels[name]
        why = f"the video has no {'label' if name in skeletons else 'skeleton'} file"
        search.left_out.append(LeftOut(name, str(file), why))
    both = sorted(skeletons.keys() & labels.keys())
    return [pku.Video(name, skeletons[name], labels[name], phase) for name in both]


def _splits(raw: _Phase, search: Search) -> list[files.RawFile]:
    """One split file per protocol; two that differ are an error, also where files may be bad."""
    before = len(search.left_out)
    found = search.once(raw.splits, _protocol)
    raise_first(search.left_out[before:])
    return found


def _training(
    protocol: str, file: files.RawFile, videos: set[str], search: Search
) -> frozenset[str]:
    """The training videos of a protocol; tells names without a video, and videos in no list."""
    names = pku.read_split(file)
    known = videos | {sample.name for sample in search.left_out}
    named = names.training.keys() | names.others.keys()
    if absent := sorted(named - videos):
        what = f"{len(absent):,} videos that {file.name} names are not here"
        search.notes.append(f"{protocol}: {what}: {some(absent)}.")
    why = f"named in {file.name}, but there is no such video"
    search.left_out += [LeftOut(name, str(file), why) for name in sorted(named - known)]
    if names.others and (neither := sorted(videos - named)):
        what = f"{len(neither):,} videos are in no list of {file.name}, and become test videos"
        search.notes.append(f"{protocol}: {what}, as in published code: {some(neither)}.")
    return frozenset(names.training)


def split(train: Mapping[str, frozenset[str]], protocol: str, fields: dict) -> str | None:
    """'train' or 'test' for an example; None if it is of the other phase."""
    if protocol[:2] != f"v{fields['phase']}":
        return None
    return "train" if fields["video"] in train[protocol] else "test"


def _sort_by_phase(search: Search, manual_dir: Path) -> dict[int, _Phase]:
    """All text files of PKU-MMD, by their names and the names of their folders."""
    phases = {phase: _Phase() for phase in PHASES}
    for raw in search.files:
        folders = _folders(raw, manual_dir)
        in_phase_2 = any(_PHASE_2.search(folder) for folder in folders)
        if match := _SPLIT_NAME.fullmatch(raw.name):
            phase = int(match[2]) if match[2] else 1 + in_phase_2
            if phase in phases:
                phases[phase].splits.append(raw)
        elif match := _VIDEO_NAME.fullmatch(raw.name):
            phase = phases[1 + (in_phase_2 or match[2] is None)]
            (phase.labels if _is_label(raw, folders) else phase.skeletons).append(raw)
    return phases


def _protocol(raw: files.RawFile) -> str:
    return "xsub" if _SPLIT_NAME.fullmatch(raw.name)[1].lower() == "sub" else "xview"


def _video(raw: files.RawFile) -> str:
    return raw.name[: -len(".txt")].upper()


def _folders(raw: files.RawFile, manual_dir: Path) -> Sequence[str]:
    """Names of the folders and archives around a file, from `manual_dir` inwards."""
    inside = Path(raw.container).relative_to(manual_dir.parent)
    return [*inside.parts, *PurePosixPath(raw.member or "").parts][:-1]


def _is_label(raw: files.RawFile, folders: Sequence[str]) -> bool:
    """Decides by the innermost folder whose name shows it, else by the content."""
    for folder in reversed(folders):
        if re.search("label|skel", folder, re.IGNORECASE):
            return "label" in folder.lower()
    return b"," in raw.read()[:1000]


def _check_complete(phase: int, raw: _Phase, manual_dir: Path) -> None:
    missing = [kind for kind in ("skeletons", "labels", "splits") if not getattr(raw, kind)]
    if not missing:
        return
    packed = sorted(str(path) for path in manual_dir.rglob("*") if path.suffix.lower() == ".7z")
    unpack = f" {how_to_unpack(*packed)}" if packed else ""
    raise UserError(
        f"{manual_dir}: found no {' and no '.join(missing)} of PKU-MMD phase {'I' * phase}; "
        f"expected {ARCHIVES[phase]}, unpacked, and {SPLIT_FILES[phase]}.{unpack}"
    )
