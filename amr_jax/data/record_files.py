"""Verifies the files of prepared records against their checksums.

`checksums.json` is written last and holds the size and the crc32 of every other file. Opening
records checks the sizes of all shards, the contents of the small files and the numbers of records.
Before a process reads, it checks the contents of the shards with its part of the split; if it
streams, of all shards. This takes a second per 2 GB, little compared with reading the records, and
no earlier check is remembered: data folders may be read-only, and disks may fail later.

Records without `checksums.json`, from before it was introduced, can still be opened. Their numbers
are checked, and ArrayRecord checks its own hashes when it reads: these detect damage in a shard,
but not that a shard was replaced by another.
"""

import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING

from etils import epath

from amr_jax.errors import BadFile, UserError

if TYPE_CHECKING:  # else late: configs import this module
    import tensorflow_datasets as tfds

CHECKSUMS_FILE = "checksums.json"
INFO_FILE = "dataset_info.json"

# `tfds build` writes left_out.json for people, outside of the records.
_NO_RECORDS = (CHECKSUMS_FILE, "left_out.json")

_DEPTH = 3  # below `data_dir`: data set, protocol, version
_THREADS = 8  # several files at a time read faster, from disks and from object storage
_BLOCK = 1 << 22


def folders(folder: epath.Path, depth: int = _DEPTH) -> Iterator[epath.Path]:
    """The folders of one version of records below a `data_dir`, incomplete ones included."""
    if any((folder / name).exists() for name in (INFO_FILE, CHECKSUMS_FILE)):
        yield folder
    elif depth and folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                yield from folders(path, depth - 1)


def write(folder: os.PathLike | str) -> None:
    """Writes `checksums.json` for all files in a folder of records."""
    folder = epath.Path(folder)
    names = sorted(
        path.name for path in folder.iterdir() if not path.is_dir() and path.name not in _NO_RECORDS
    )
    rows = {
        name: {"bytes": size, "crc32": crc32}
        for name, (size, crc32) in zip(names, _measured(folder, names), strict=True)
    }
    (folder / CHECKSUMS_FILE).write_text(json.dumps(rows, indent=1) + "\n")


def read(folder: epath.Path) -> dict[str, dict] | None:
    """{file: {'bytes', 'crc32'}}; None if the records have no `checksums.json`.

    Raises:
      BadFile: the file is damaged.
    """
    path = folder / CHECKSUMS_FILE
    if not path.exists():
        return None
    text = path.read_bytes().decode(errors="replace")
    try:
        rows = json.loads(text)
        return {name: {key: row[key] for key in ("bytes", "crc32")} for name, row in rows.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(
            path,
            repr(text[:80]),
            "names of files with their bytes and crc32",
            hint="Copy it again, or remove it: then the records cannot be verified.",
        ) from error


def faults(
    folder: epath.Path, of: Collection[str] | None = None, contents_of: Collection[str] = ()
) -> list[str]:
    """One line for each missing or changed file; [] if there are no checksums.

    Args:
      folder: one version of the records.
      of: names of the files to check, default all.
      contents_of: names of those whose contents are checked, not only their sizes.
    """
    rows = read(folder) or {}
    wanted = [name for name in rows if of is None or name in of]
    found = [name for name in wanted if (folder / name).exists()]
    lines = [f"{folder / name}: is missing" for name in wanted if name not in found]
    right_size = []
    for name in found:
        size, expected = (folder / name).stat().length, rows[name]["bytes"]
        if size == expected:
            right_size.append(name)
        else:
            lines.append(f"{folder / name}: found {size:,} bytes; expected {expected:,}")
    names = [name for name in right_size if name in contents_of]
    for name, (_, crc32) in zip(names, _measured(folder, names), strict=True):
        if crc32 != rows[name]["crc32"]:
            expected = rows[name]["crc32"]
            lines.append(f"{folder / name}: found other bytes (crc32 {crc32}; expected {expected})")
    return lines


def checksum(folder: epath.Path, of: Collection[str]) -> str:
    """One crc32 of the contents of some files; they are read only if there are no checksums."""
    rows = read(folder)
    if rows is None:
        measured = zip(of, _measured(folder, of), strict=True)
        rows = {name: {"bytes": size, "crc32": crc32} for name, (size, crc32) in measured}
    content = json.dumps([[name, rows.get(name)] for name in sorted(of)])
    return f"{zlib.crc32(content.encode()):08x}"


def wrong_counts(builder: "tfds.core.DatasetBuilder", splits: Iterable[str]) -> list[str]:
    """One line for each shard whose number of records differs from `dataset_info.json`."""
    from array_record.python import array_record_module

    lines = []
    for split in splits:
        info = builder.info.splits[split]
        for path, expected in zip(info.filepaths, info.shard_lengths, strict=True):
            try:
                reader = array_record_module.ArrayRecordReader(os.fspath(path))
                found = reader.num_records()
                reader.close()
            except (RuntimeError, ValueError, OSError) as error:
                lines.append(f"{path}: cannot be opened ({error})")
                continue
            if found != expected:
                lines.append(f"{path}: found {found:,} readable records; expected {expected:,}")
    return lines


def shards(builder: "tfds.core.DatasetBuilder", split: str) -> list[str]:
    """Names of the files of a split."""
    return [epath.Path(path).name for path in builder.info.splits[split].filepaths]


def damage(lines: list[str], again: str) -> UserError:
    """The error that names the damaged files, and the command `again` that prepares them again."""
    listed = "\n  ".join(lines[:20])
    more = f"\n  … and {len(lines) - 20} more" if len(lines) > 20 else ""
    return UserError(
        f"{len(lines)} damaged file(s) of records:\n  {listed}{more}\nCopy them again from where "
        f"they came from, or prepare them again: {again}"
    )


def _measured(folder: epath.Path, names: Collection[str]) -> list[tuple[int, str]]:
    """Size and crc32 of each file."""

    def measure(name: str) -> tuple[int, str]:
        size, crc32 = 0, 0
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK):
                size, crc32 = size + len(block), zlib.crc32(block, crc32)
        return size, f"{crc32:08x}"

    with futures.ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(measure, names))
