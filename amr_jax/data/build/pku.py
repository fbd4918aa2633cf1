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
from amr_jax.errors import UserError

PHASES = (1, 2)
ARCHIVES = {1: "Skeleton.7z and Label_PKUMMD.7z", 2: "Skeleton_v2.7z and Label_PKUMMD_v2.7z"}
SPLIT_FILES = {
    1: "cross-subject.txt, cross-view.txt",
    2: "cross_subject_v2.txt, cross_view_v2.txt",
}

# Hyphens and underscores, with or without the phase: all of these spellings are in use.
_SPLIT_NAME = re.compile(r"cross[-_ ]?(sub|view)\w*?(?:[-_ ]?v(\d))?\.txt", re.IGNORECASE)
_VIDEO_NAME = re.compile(r"((\d+)|A\d+N\d+)-[LMR]\.txt")
_PHASE_2 = re.compile(r"v2|phase[ _-]?(2|ii)\b", re.IGNORECASE)


@dataclasses.dataclass
class _Phase:
    """The files of one phase, by video and by protocol ('xsub', 'xview')."""

    skeletons: dict[str, files.RawFile] = dataclasses.field(default_factory=dict)
    labels: dict[str, files.RawFile] = dataclasses.field(default_factory=dict)
    splits: dict[str, files.RawFile] = dataclasses.field(default_factory=dict)


def find(manual_dir: Path, protocols: Sequence[str]) -> RawSet:
    """Finds the videos, labels and splits of the phases that are there.

    Args:
      manual_dir: folder or archive.
      protocols: 'v<phase>_<xsub or xview>', all that exist.

    Raises:
      UserError: no phase, or an incomplete one.
    """
    manual_dir = Path(os.path.expanduser(manual_dir)).resolve()
    videos, left_out, notes, train = [], [], [], {}
    for phase, raw in _sort_by_phase(manual_dir).items():
        if not (raw.skeletons or raw.labels or raw.splits):
            notes.append(f"no file of phase {'I' * phase} is there; its protocols are skipped.")
            continue
        _check_complete(phase, raw, manual_dir)
        for name in sorted(raw.skeletons.keys() | raw.labels.keys()):
            skeleton, label = raw.skeletons.get(name), raw.labels.get(name)
            if skeleton and label:
                videos.append(pku.Video(name, skeleton, label, phase))
            else:
                why = f"the video has no {'label' if skeleton else 'skeleton'} file"
                left_out.append(LeftOut(name, str(skeleton or label), why))
        for protocol, file in sorted(raw.splits.items()):
            train[f"v{phase}_{protocol}"] = frozenset(pku.read_split(file).training)
        for protocol in {"xsub", "xview"} - set(raw.splits):
            notes.append(f"no split file for v{phase}_{protocol}; it is skipped.")
    if not videos:
        raise UserError(
            f"{manual_dir}: found no file of PKU-MMD; expected {ARCHIVES[1]}, unpacked, "
            f"and {SPLIT_FILES[1]} (phase I), or {ARCHIVES[2]} and {SPLIT_FILES[2]} (phase II)."
        )
    return RawSet(
        tasks=videos,
        read=pku.sequences,
        split=functools.partial(split, train),
        protocols=tuple(name for name in protocols if name in train),
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def split(train: Mapping[str, frozenset[str]], protocol: str, fields: dict) -> str | None:
    """'train' or 'test' for an example; None if it is of the other phase."""
    if protocol[:2] != f"v{fields['phase']}":
        return None
    return "train" if fields["video"] in train[protocol] else "test"


def _sort_by_phase(manual_dir: Path) -> dict[int, _Phase]:
    """All text files of PKU-MMD, by their names and the names of their folders."""
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
            # `files.find` lists an unpacked file before the same file in an archive.
            target.setdefault(raw.name.removesuffix(".txt"), raw)
    return phases


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
    unpack = f" {files.how_to_unpack(*packed)}" if packed else ""
    raise UserError(
        f"{manual_dir}: found no {' and no '.join(missing)} of PKU-MMD phase {'I' * phase}; "
        f"expected {ARCHIVES[phase]}, unpacked, and {SPLIT_FILES[phase]}.{unpack}"
    )
