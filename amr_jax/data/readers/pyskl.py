"""The exchange format of PYSKL and MMAction2: a whole data set in one pickle.

    {"split": {"xsub_train": [frame_dir, …], "xsub_val": […], …},
     "annotations": [{"frame_dir": name, "label": number, "keypoint": (M, T, V, C),
                      "keypoint_score": (M, T, V), "total_frames": T, …}, …]}

`keypoint_score` exists in 2-D only; other keys are ignored. As PYSKL does, `filename` replaces
`frame_dir` if the first annotation has it, and the names of a split may be in any container.

Older forms: MMAction2 0.x has one pickle per split, `train.pkl` and `val.pkl`, each a list of
annotations; its tools write one pickle per video, an annotation alone. No code in a pickle is run
(see `pickles`).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from amr_jax.data.readers import arrays, files, findings, pickles
from amr_jax.errors import BadFile

MAX_BYTES = 16 * 2**30  # limit for a pickle; the largest in use have a few GB


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One sequence of a pickle, before its content is checked.

    Attributes:
      file: path of the pickle.
      name: of the sequence, its `frame_dir`.
      splits: the names of all splits that contain it.
      content: its dict in the pickle.
    """

    file: str
    name: str
    splits: tuple[str, ...]
    content: dict

    def __str__(self) -> str:
        return f"{self.file}, {self.name}"


@dataclasses.dataclass(frozen=True)
class Content:
    """A whole pickle.

    Attributes:
      annotations: its sequences.
      splits: names of the splits.
      absent: names in splits that have no annotation.
    """

    annotations: list[Annotation]
    splits: list[str]
    absent: list[str]


def load(*raws: files.RawFile) -> Content:
    """Reads one pickle into memory, or the pickles of all splits or videos.

    Raises:
      BadFile: damaged, asks for more than data, of another form, or a sequence twice.
    """
    annotations: dict[str, tuple[files.RawFile, dict]] = {}
    members: dict[str, list[str]] = {}
    for raw in raws:
        lists, splits = _lists(pickles.load(raw.read(MAX_BYTES), raw), raw, len(raws) > 1)
        members |= splits
        for split, entries in lists.items():
            if split and split in members:
                raise BadFile(raw, f"the split {split!r} again", "one pickle for each split")
            named = _named(entries, raw)
            if both := sorted(annotations.keys() & named.keys()):
                found = f"the frame_dir {both[0]!r}, which is in {annotations[both[0]][0]} too"
                raise BadFile(raw, found, "every sequence once")
            annotations |= {name: (raw, entry) for name, entry in named.items()}
            if split:
                members[split] = list(named)
    of_name: dict[str, list[str]] = {}
    for split, names in members.items():
        for name in names:
            of_name.setdefault(name, []).append(split)
    found = [
        Annotation(str(raw), name, tuple(of_name.get(name, ())), entry)
        for name, (raw, entry) in annotations.items()
    ]
    return Content(found, list(members), sorted(of_name.keys() - annotations.keys()))


def _lists(
    content: object, raw: files.RawFile, several: bool
) -> tuple[dict[str, list], dict[str, list[str]]]:
    """({split: annotations in it; '': annotations that splits name}, {split: names})."""
    if isinstance(content, dict) and isinstance(content.get("annotations"), (list, tuple)):
        if several:
            raise BadFile(
                raw,
                "'annotations', and other pickles beside it",
                "one such pickle alone, or pickles that are lists of annotations, one per split",
            )
        return {"": content["annotations"]}, dict(_splits(content.get("split", {}), raw))
    if _is_list_of_dicts(content):
        return {raw.name.rpartition(".")[0] if several else "": content}, {}
    if isinstance(content, dict) and "keypoint" in content:
        return {"": [content]}, {}
    if (
        isinstance(content, dict)
        and content
        and all(
            isinstance(split, str) and split and _is_list_of_dicts(entries)
            for split, entries in content.items()
        )
    ):
        return content, {}
    found = f"the keys {_keys(content)}" if isinstance(content, dict) else "no dict"
    if isinstance(content, dict) and "annotations" in content:
        found = f"'annotations' that are {pickles.shown(content['annotations'])}"
    raise BadFile(
        raw,
        found,
        "a dict with 'annotations', a list, and 'split'",
        hint="Also read: a list of annotations in each of train.pkl and val.pkl.",
    )


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _named(entries: list | tuple, raw: files.RawFile) -> dict[str, dict]:
    """The annotations of a list by their names."""
    has_filename = bool(entries) and isinstance(entries[0], dict) and "filename" in entries[0]
    key, named = "filename" if has_filename else "frame_dir", {}
    for number, entry in enumerate(entries):
        name = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            raise BadFile(raw, f"no '{key}' in annotations[{number}]", "the sequence's name")
        if name in named:
            raise BadFile(raw, f"the {key} {name!r} twice", "every sequence once")
        named[name] = entry
    return named


def read(annotation: Annotation, form: arrays.Form) -> dict:
    """Reads one sequence.

    Args:
      annotation: from `load`.
      form: what its joints must be.

    Returns:
      joints (T, M, V, C) float32; name; label as text, '' if unknown; subject ''; splits; and
      `findings`, if there are any.

    Raises:
      BadFile: no joints, joints of another form, or a label that is no number.
      NoBody: no body in it.
    """
    counts: dict[str, int] = {}
    return {
        "joints": joints(annotation, form, counts),
        "name": annotation.name,
        "label": _label(annotation.content.get("label"), annotation),
        "subject": "",
        "splits": annotation.splits,
        **findings.told(counts),
    }


def joints(
    annotation: Annotation, form: arrays.Form, counts: dict[str, int] | None = None
) -> np.ndarray:
    """Reads the joints of a sequence, (T, M, V, C) float32; see `read` and `arrays.joints`."""
    content = annotation.content
    values, score = content.get("keypoint"), content.get("keypoint_score")
    if getattr(values, "ndim", None) == 3 and getattr(score, "ndim", 2) == 2:  # one body
        values, score = values[None], None if score is None else score[None]
    one_body = getattr(values, "ndim", None) == 4 and len(values) == 1
    if one_body and getattr(score, "shape", None) == values.shape[1:3]:
        score = score[None]
    for key, value in (("keypoint", values), ("keypoint_score", score)):
        wanted = {"keypoint": 4, "keypoint_score": 3}[key]
        absent = value is None and key == "keypoint_score"
        if not absent and (not isinstance(value, np.ndarray) or value.ndim != wanted):
            shape = getattr(value, "shape", None)
            found = f"'{key}' of shape {shape}" if shape else f"no array '{key}'"
            raise BadFile(annotation, found, "an array (bodies, frames, joints, …)")
    frames = content.get("total_frames", values.shape[1])
    if type(frames) not in (int, float) or frames != values.shape[1]:
        raise BadFile(
            annotation,
            f"{values.shape[1]} frames in 'keypoint'",
            f"total_frames, {pickles.shown(frames)}",
        )
    score = None if score is None else score.swapaxes(0, 1)
    return arrays.joints(values.swapaxes(0, 1), score, form, annotation, counts)


def _splits(value: object, raw: files.RawFile) -> Iterator[tuple[str, list[str]]]:
    if not isinstance(value, dict):
        raise BadFile(raw, f"a {type(value).__name__} under 'split'", "a dict, {name: [frame_dir]}")
    for split, names in value.items():
        if isinstance(names, np.ndarray):
            names = names.ravel().tolist()
        if not isinstance(names, (list, tuple, set, frozenset, dict)) or not all(
            isinstance(name, str) for name in names
        ):
            found = f"split {pickles.shown(split)}, which is no list of names"
            raise BadFile(raw, found, "{name: [frame_dir]}")
        if not isinstance(split, str):
            raise BadFile(raw, f"a split called {pickles.shown(split)}", "a text as its name")
        if len(set(names)) < len(names):
            raise BadFile(raw, f"split {split!r} with a name twice", "every name once")
        yield split, list(names)


def _label(label: object, annotation: Annotation) -> str:
    """A number from 0 or a name, as text; '' for None, -1 and NaN."""
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.item()
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if label is None or (isinstance(label, (int, float)) and (label == -1 or label != label)):
        return ""
    if isinstance(label, str):
        return label.strip()
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < 2**31:
        raise BadFile(
            annotation, f"the label {pickles.shown(label)}", "a whole number from 0, or a name"
        )
    return str(label)


def _keys(content: dict) -> str:
    return ", ".join(map(pickles.shown, list(content)[:8])) or "none"
