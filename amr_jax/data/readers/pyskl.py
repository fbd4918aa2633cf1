"""The exchange format of PYSKL: a whole data set in one pickle.

    {"split": {"xsub_train": [frame_dir, …], "xsub_val": […], …},
     "annotations": [{"frame_dir": name, "label": number, "keypoint": (M, T, V, C),
                      "keypoint_score": (M, T, V), "total_frames": T, …}, …]}

`keypoint_score` exists in 2-D only; other keys are ignored. No code in the pickle is run (see
`pickles`).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from amr_jax.data.readers import arrays, files, pickles
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


def load(raw: files.RawFile) -> Content:
    """Reads a whole pickle into memory.

    Raises:
      BadFile: damaged, asks for more than data, of another form, or a sequence twice.
    """
    content = pickles.load(raw.read(MAX_BYTES), raw)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        found = f"the keys {_keys(content)}" if isinstance(content, dict) else "no dict"
        raise BadFile(raw, found, "a dict with 'annotations', a list, and 'split'")
    members = dict(_splits(content.get("split", {}), raw))
    of_name: dict[str, list[str]] = {}
    for split, names in members.items():
        for name in names:
            of_name.setdefault(name, []).append(split)
    annotations: dict[str, Annotation] = {}
    for number, entry in enumerate(content["annotations"]):
        name = entry.get("frame_dir") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            raise BadFile(raw, f"no 'frame_dir' in annotations[{number}]", "the sequence's name")
        if name in annotations:
            raise BadFile(raw, f"the frame_dir {name!r} twice", "every sequence once")
        annotations[name] = Annotation(str(raw), name, tuple(of_name.get(name, ())), entry)
    absent = sorted(of_name.keys() - annotations.keys())
    return Content(list(annotations.values()), list(members), absent)


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
        **({"findings": counts} if counts else {}),
    }


def joints(
    annotation: Annotation, form: arrays.Form, counts: dict[str, int] | None = None
) -> np.ndarray:
    """Reads the joints of a sequence, (T, M, V, C) float32; see `read` and `arrays.joints`."""
    content = annotation.content
    values, score = content.get("keypoint"), content.get("keypoint_score")
    for key, value in (("keypoint", values), ("keypoint_score", score)):
        wanted = {"keypoint": 4, "keypoint_score": 3}[key]
        absent = value is None and key == "keypoint_score"
        if not absent and (not isinstance(value, np.ndarray) or value.ndim != wanted):
            shape = getattr(value, "shape", None)
            found = f"'{key}' of shape {shape}" if shape else f"no array '{key}'"
            raise BadFile(annotation, found, "an array (bodies, frames, joints, …)")
    frames = content.get("total_frames", values.shape[1])
    if type(frames) is not int or frames != values.shape[1]:
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
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            found = f"split {pickles.shown(split)}, which is no list of names"
            raise BadFile(raw, found, "{name: [frame_dir]}")
        if not isinstance(split, str):
            raise BadFile(raw, f"a split called {pickles.shown(split)}", "a text as its name")
        if len(set(names)) < len(names):
            raise BadFile(raw, f"split {split!r} with a name twice", "every name once")
        yield split, names


def _label(label: object, annotation: Annotation) -> str:
    if label is None:
        return ""
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < 2**31:
        raise BadFile(annotation, f"the label {pickles.shown(label)}", "a whole number from 0")
    return str(label)


def _keys(content: dict) -> str:
    return ", ".join(map(pickles.shown, list(content)[:8])) or "none"
