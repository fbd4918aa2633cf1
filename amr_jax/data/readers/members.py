"""The members of a zip archive such as `.npz` and `.pth` are, verified as they are read."""

import math
import os
import zipfile
from collections.abc import Callable, Iterable
from typing import BinaryIO

from amr_jax.data.readers import files
from amr_jax.errors import BadFile


def read(
    file: BinaryIO | os.PathLike,
    path: object,
    expected: str,
    wanted: Callable[[list[str]], list[str]] = list,
    max_bytes: float = math.inf,
) -> dict[str, bytes]:
    """Members by name, in the order of `wanted`. Nothing is unpacked before its size is known.

    The archive's list of its members is held against the members, those that are not read included:
    a wrong letter in a name must not hide one. Each is held against its checksum.

    Args:
      file: where it is.
      path: what to call it in an error.
      expected: what it should have been, for an error.
      wanted: of all names those that are read, e.g. all.
      max_bytes: that all of these together may have.

    Raises:
      BadFile: no zip archive, damaged, a name twice, or too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            files.check_list(archive, path)
            members = {info.filename: info for info in archive.infolist()}
            for info in members.values():
                archive.open(info).close()
            chosen = {name: members[name] for name in wanted(list(members))}
            _check_sizes(chosen.values(), path, max_bytes)
            return {name: _content(archive, info) for name, info in chosen.items()}
    except BadFile:
        raise
    except files.MEMBER_ERRORS as error:
        reason = str(error)[:100] or type(error).__name__
        raise BadFile(path, f"a damaged file ({reason})", expected) from error


def _check_sizes(members: Iterable[zipfile.ZipInfo], path: object, max_bytes: float) -> None:
    total = 0
    for info in members:
        total += info.file_size
        if total > max_bytes:
            found = f"{info.filename} of {info.file_size:,} bytes"
            raise BadFile(path, found, f"at most {max_bytes:,} in all")
        if info.file_size > max(files.MAX_BYTES, files.MAX_RATIO * info.compress_size):
            raise BadFile(
                path,
                f"{info.filename} of {info.file_size:,} bytes packed into {info.compress_size:,}",
                f"at most {files.MAX_RATIO} to 1",
            )


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:  # unpacks no more than is asked for
        return file.read(info.file_size + 1)
