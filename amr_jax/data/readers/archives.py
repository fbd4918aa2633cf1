"""Reads members of zip archives: verified, and in memory bounded by what was asked for."""

import collections
import contextlib
import functools
import lzma
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from amr_jax.errors import BadFile

# Limit for one raw file. The longest PKU-MMD video has about 10 MB.
MAX_BYTES = 64 * 2**20

# Limit for decompression of larger members. Skeletons compress to a half or a third, files that
# are mostly zeros to a tenth, a zip bomb to a thousandth.
MAX_RATIO = 100

_ENTRY = b"PK\x01\x02"  # signature of an entry in the directory of a zip archive
_INTACT, _AGAIN = "an intact archive", "Download the archive again."
_ENCRYPTED, _UTF8 = 1, 0x800  # bits of `ZipInfo.flag_bits`
_MAX_PARTS, _BLOCK = 100_000, 2**14  # of a .gz: limit of parts; bytes that are read at a time
_WINDOWS = 0  # of `ZipInfo.create_system`


@contextlib.contextmanager
def errors_as_bad_file(path: object, expected: str, hint: str | None = None) -> Iterator[None]:
    """Turns what `open` and `zipfile` raise on missing, damaged or exotic files into `BadFile`."""
    try:
        yield
    except BadFile:
        raise
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError,
    ) as error:  # fmt: skip
        reason = str(error)[:100] or type(error).__name__
        found = getattr(error, "strerror", None) or f"a damaged file ({reason})"
        raise BadFile(path, found, expected, hint=hint) from error


def read_members(
    file: BinaryIO | os.PathLike,
    path: object,
    expected: str,
    wanted: Callable[[list[str]], list[str]] = list,
    max_bytes: float = math.inf,
) -> dict[str, bytes]:
    """Reads members of a zip archive such as `.npz` and `.pth`, and verifies their checksums.

    The archive's directory is compared with the headers of all members, those that are not read
    included: otherwise a damaged name in it would hide a member.

    Args:
      file: the archive.
      path: how errors call it.
      expected: what it should be, for errors.
      wanted: selects the members to read from the names of all.
      max_bytes: limit for the members to read, together, decompressed.

    Returns:
      name -> content, in the order of `wanted`.

    Raises:
      BadFile: no zip archive, damaged, a name twice, or too large.
    """
    with errors_as_bad_file(path, expected), zipfile.ZipFile(file) as archive:
        _check_directory(archive, path)
        members = {info.filename: info for info in archive.infolist()}
        for info in members.values():
            archive.open(info).close()
        contents = {}
        for name in wanted(list(members)):
            contents[name] = _read_member(archive, members[name], path, max_bytes, f"{name} of ")
            max_bytes -= members[name].file_size
        return contents


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: object, max_bytes: float, label: str = ""
) -> bytes:
    """Decompresses a member after a look at its size; `zipfile` verifies its checksum."""
    if info.flag_bits & _ENCRYPTED:
        raise BadFile(path, "an encrypted member", "one that needs no password")
    if info.file_size > max_bytes:
        raise BadFile(path, f"{label}{info.file_size:,} bytes", f"at most {max_bytes:,}")
    if info.file_size > max(MAX_BYTES, MAX_RATIO * info.compress_size):
        raise BadFile(
            path,
            f"{label}{info.file_size:,} bytes packed into {info.compress_size:,}",
            f"at most {MAX_RATIO} to 1",
        )
    with archive.open(info) as file:
        return file.read(info.file_size + 1)


def names(path: str, read_later: Callable[[str], bool]) -> list[str]:
    """The names of an archive's members, without folders.

    Reading a member compares its name with the archive's directory. Members that are not going to
    be read are compared here, so that a damaged letter does not hide a member.

    Raises:
      BadFile: damaged.
    """
    archive = _open(path)
    for info in archive.infolist():
        if not read_later(info.filename):
            # RuntimeError: an encrypted or exotic member. It is not going to be read.
            with (
                errors_as_bad_file(f"{path}!{info.filename}", _INTACT, _AGAIN),
                contextlib.suppress(RuntimeError),
            ):
                archive.open(info).close()
    return [name for name in archive.namelist() if name and not name.endswith("/")]


def fingerprint(path: str, member: str) -> tuple[int, int]:
    """(size, CRC-32) of a member as the archive's directory has them; reading verifies both."""
    info = _open(path).getinfo(member)
    return info.file_size, info.CRC


def read(path: str, member: str, max_bytes: int) -> bytes:
    """Reads one member of an archive, which stays open.

    Raises:
      BadFile: no such member, encrypted, damaged, or larger than `max_bytes`.
    """
    where, archive = f"{path}!{member}", _open(path)
    with errors_as_bad_file(where, _INTACT, _AGAIN):
        try:
            info = archive.getinfo(member)
        except KeyError as error:
            raise BadFile(where, "no such member", "a member of the archive") from error
        return _read_member(archive, info, where, max_bytes)


def gunzip(data: bytes, path: object, max_bytes: int) -> bytes:
    """Decompresses a `.gz`; its checksums are verified.

    Raises:
      BadFile: damaged, incomplete, or larger than `max_bytes` or than `MAX_RATIO` allows.
    """
    limit = min(max_bytes, max(MAX_BYTES, MAX_RATIO * len(data)))
    content, size, at = [], 0, 0
    with errors_as_bad_file(path, "a complete .gz file"):
        for _ in range(_MAX_PARTS):
            part = zlib.decompressobj(wbits=31)
            while not part.eof:
                if at == len(data):
                    raise EOFError("it ends early")
                block = data[at : at + _BLOCK]
                content.append(part.decompress(block, limit + 1 - size))
                at, size = at + len(block), size + len(content[-1])
                if size > limit:
                    raise BadFile(path, f"more than {limit:,} bytes in a .gz file", "a smaller one")
            at -= len(part.unused_data)
            if data[at : at + 1] in (b"", b"\0"):  # its end, which some programs pad with zeros
                if data[at:].strip(b"\0"):
                    raise EOFError("other data are behind its end")
                return b"".join(content)
        raise EOFError(f"it has more than {_MAX_PARTS:,} parts")


def _open(path: str) -> zipfile.ZipFile:
    """The archive, from a cache unless it was written since."""
    with errors_as_bad_file(
        path,
        "a complete zip archive",
        "The download probably stopped half-way: download it again, or remove it if it is not part "
        "of the data.",
    ):
        return _opened(path, os.getpid(), os.stat(path).st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _opened(path: str, pid: int, modified: int) -> zipfile.ZipFile:
    """An open archive, cached per process: a forked child must not share its parent's position."""
    del pid, modified  # keys of the cache
    archive = zipfile.ZipFile(path)
    _decode_names(archive)
    _check_directory(archive, path)
    return archive


def _decode_names(archive: zipfile.ZipFile) -> None:
    """Mends names as other programs write them.

    Names are decoded as UTF-8 where they are, although the archive does not say so (macOS);
    otherwise they stay as the zip format has it, in the code page 437. Older programs on Windows
    write backslashes for slashes.
    """
    for info in archive.infolist():
        name = info.filename
        if not info.flag_bits & _UTF8 and not name.isascii():
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode()
        elif info.create_system == _WINDOWS:
            name = name.replace("\\", "/")
        if name not in archive.NameToInfo:
            info.filename = name
            archive.NameToInfo[name] = info


def _check_directory(archive: zipfile.ZipFile, path: object) -> None:
    """Refuses a directory that hides a member: by a name twice, or inside a comment."""
    counts = collections.Counter(name for name in archive.namelist() if not name.endswith("/"))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise BadFile(path, f"several members called {twice[0]!r}", "every member once")
    if any(_ENTRY in info.comment or _ENTRY in info.extra for info in archive.infolist()):
        raise BadFile(path, "members within the comment of another one", _INTACT, hint=_AGAIN)
