"""A user's own data in files of sequences, and a table of labels beside them."""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from amr_jax.data.readers import arrays, files, findings, formats, keypoints, labels, openpose
from amr_jax.data.readers.files import LeftOut
from amr_jax.errors import BadFile, UserError, readable

ARRAYS = (".npz", ".npy")
PICKLES = (".pkl", ".pickle")
_ENDING = re.compile(r"\.(npz|npy|json|bvh|csv)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Task:
    """One file, or the files of all frames of a video (OpenPose).

    Attributes:
      raw: the file; of a video, that of the first frame.
      name: of its sequence; several sequences of a file are called `name/sequence`.
      key: the name in the table of labels, if it has a row there.
      rows: the rows of the table for this file, by their keys.
      table: path of the table, if any.
      frames: the files of all frames; () for other formats.
    """

    raw: files.RawFile
    name: str
    key: str
    rows: dict[str, dict[str, str]]
    table: str | None
    frames: tuple[files.RawFile, ...] = ()

    def __str__(self) -> str:
        return os.path.dirname(str(self.raw)) if self.frames else str(self.raw)

    def row(self, sequence: str = "") -> dict[str, str]:
        """The row of the table for one sequence of the file; {} without a table."""
        key = f"{self.key}/{labels.comparable(sequence)}" if sequence else self.key
        if self.table is not None and key not in self.rows:
            name = f"{self.name}/{sequence}" if sequence else self.name
            raise BadFile(self, "no row for it", f"one with the name {name!r} in {self.table}")
        return self.rows.get(key, {})


def is_alone(path: Path) -> bool:
    """Whether it is one file of sequences, in place of a folder of them."""
    endings = (*PICKLES, *ARRAYS, *formats.ENDINGS)
    return files.RawFile(str(path)).name.lower().endswith(endings) and path.is_file()


def of_sequences(everything: Sequence[files.RawFile]) -> list[files.RawFile]:
    """The files of sequences: `.npz`; without these and pickles, those of all other formats."""

    def ending(*endings: str) -> list[files.RawFile]:
        return [raw for raw in everything if raw.name.lower().endswith(endings)]

    found = ending(".npz") or ([] if ending(*PICKLES) else ending(".npy", *formats.ENDINGS))
    return [raw for raw in found if raw.name.lower() != labels.LABELS_FILE]


def read(task: Task, *, form: arrays.Form, people: int | None = None) -> dict | list[dict]:
    """The example of a file, or those of a file with several, for `parsing.parse`.

    Args:
      task: from `tasks`.
      form, people: see `keypoints.joints`.
    """
    if task.raw.name.lower().endswith(ARRAYS):
        found = [arrays.read_example(task.raw, task.name, form, task.row())]
    else:
        clips = (
            [openpose.read(task.frames, task, form.channels)]
            if task.frames
            else formats.read(task.raw, form.channels).clips
        )
        found = [_example(clip, task, form, people) for clip in clips]
    for example in found:
        split = example.pop("split")
        example["splits"] = (split,) if split else ()
        example["file"] = task.name
    return found[0] if len(found) == 1 else found


def _example(clip: keypoints.Clip, task: Task, form: arrays.Form, people: int | None) -> dict:
    row = task.row(clip.name)
    name, path = (f"{one}/{clip.name}" if clip.name else one for one in (task.name, task))
    counts: dict[str, int] = {}
    joints = keypoints.joints(clip, form, path, counts, people)
    texts = dict.fromkeys(arrays.TEXTS, "") | clip.texts | row
    return {"joints": joints, "name": name, **texts, **findings.told(counts)}


def tasks(
    manual_dir: Path, sequences: Sequence[files.RawFile], table_file: files.RawFile | None
) -> tuple[list[Task], list[LeftOut]]:
    """One task for each file or video; and the rows of the table without a file.

    Args:
      manual_dir: the folder or archive that the names are relative to.
      sequences: the files, each sequence once.
      table_file: the table of labels, if any.

    Raises:
      UserError: two files for one row.
      BadFile: the table is none, or a file has no name.
    """
    table = labels.read_labels(table_file) if table_file else {}
    path = str(table_file) if table_file else None
    beside = name(table_file, manual_dir).rpartition("/")[0] if table_file else ""
    rows_below: dict[str, dict[str, dict[str, str]]] = {}
    for row in table:
        parts = row.split("/")
        for end in range(1, len(parts) + 1):
            rows_below.setdefault("/".join(parts[:end]), {})[row] = table[row]
    found: dict[str, Task] = {}
    for of_file, raws in sorted(_named(sequences, manual_dir).items()):
        if not of_file.rpartition("/")[2]:
            raise BadFile(raws[0], "no name", "NAME.npz")
        key = labels.comparable(of_file)
        if key not in rows_below and beside:  # names below the table's folder
            key = key.removeprefix(labels.comparable(beside) + "/")
        if key in found:
            raise UserError(
                f"{found[key]} and {raws[0]} have one row of labels, {key!r}; rename one."
            )
        frames = tuple(raws) if openpose.frame_name(raws[0].name) else ()
        found[key] = Task(raws[0], of_file, key, rows_below.get(key, {}), path, frames)
    read_rows = {row for task in found.values() for row in task.rows}
    why = "a row of the table, but no file of that name"
    absent = [LeftOut(row, str(path), why) for row in sorted(table.keys() - read_rows)]
    return list(found.values()), absent


def _named(sequences: Iterable[files.RawFile], manual_dir: Path) -> dict[str, list[files.RawFile]]:
    """Name -> its file, or the frames of its video.

    A video is called as its folder, or `folder/video` where a folder has frames of several.
    """
    found: dict[str, list[files.RawFile]] = {}
    videos: dict[str, dict[str, list[files.RawFile]]] = {}
    for raw in sequences:
        of_file = name(raw, manual_dir)
        if frame := openpose.frame_name(raw.name):
            of_folder = videos.setdefault(of_file.rpartition("/")[0], {})
            of_folder.setdefault(frame[0], []).append(raw)
        else:
            found.setdefault(of_file, []).append(raw)
    for folder, of_video in videos.items():
        for video, raws in of_video.items():
            alone = folder and len(of_video) == 1
            of_frames = folder if alone else f"{folder}/{video}".strip("/")
            if of_frames in found:
                raise UserError(f"{found[of_frames][0]} is called as the folder of {raws[0]} is.")
            found[of_frames] = raws
    return found


def name(raw: files.RawFile, manual_dir: Path) -> str:
    """The file's path below the folder, or in its archive, without its ending and `.gz`."""
    path = raw.path if raw.member else os.path.relpath(raw.path, readable(manual_dir))
    return _ENDING.sub("", Path(path).as_posix())
