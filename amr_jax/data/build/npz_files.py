"""A user's own data in `.npz` files, one per sequence, and a table of labels beside them."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from amr_jax.data.readers import arrays, files, labels
from amr_jax.data.readers.files import LeftOut
from amr_jax.errors import BadFile, UserError, readable


@dataclasses.dataclass(frozen=True)
class Task:
    """One `.npz` file, the name of its sequence, and its row in the table of labels, if any."""

    raw: files.RawFile
    name: str
    row: dict[str, str] | None
    table: str | None

    def __str__(self) -> str:
        return str(self.raw)


def read(task: Task, *, form: arrays.Form) -> dict:
    """The example of one `.npz` file, for `parsing.parse`."""
    if task.table is not None and task.row is None:
        raise BadFile(task.raw, "no row for it", f"one with the name {task.name!r} in {task.table}")
    example = arrays.read_example(task.raw, task.name, form, task.row)
    split = example.pop("split")
    return {**example, "splits": (split,) if split else ()}


def tasks(
    manual_dir: Path, sequences: Sequence[files.RawFile], table_file: files.RawFile | None
) -> tuple[list[Task], list[LeftOut]]:
    """One task for each file; and the rows of the table without a file.

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
    beside = name(table_file, manual_dir)[: -len(labels.LABELS_FILE)] if table_file else ""
    found: dict[str, Task] = {}
    for raw in sorted(sequences, key=lambda raw: name(raw, manual_dir)):
        of_file = name(raw, manual_dir)
        if not of_file.rpartition("/")[2]:
            raise BadFile(raw, "no name", "NAME.npz")
        key = labels.comparable(of_file)
        if key not in table:  # names below the table's folder
            key = key.removeprefix(labels.comparable(beside))
        if key in found:
            raise UserError(f"{found[key]} and {raw} have one row of labels, {key!r}; rename one.")
        found[key] = Task(raw, of_file, table.get(key), path)
    why = "a row of the table, but no file of that name"
    absent = [LeftOut(row, str(path), why) for row in sorted(table.keys() - found.keys())]
    return list(found.values()), absent


def name(raw: files.RawFile, manual_dir: Path) -> str:
    """The file's path below the folder, or in its archive, without `.npz` and `.gz`."""
    path = raw.path if raw.member else os.path.relpath(raw.path, readable(manual_dir))
    posix = Path(path).as_posix()
    return posix[: -len(".npz")] if posix.lower().endswith(".npz") else posix
