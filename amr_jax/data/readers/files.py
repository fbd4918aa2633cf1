"""Finds the raw files of a data set, in folders and inside zip archives, and reads them."""

import collections
import dataclasses
import functools
import lzma
import math
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

from amr_jax.errors import BadFile, UserError

# Limit for one raw file. The longest PKU-MMD video has about 10 MB.
MAX_BYTES = 64 * 2**20

# Limit for decompression of larger members. Skeletons compress to a half or a third, files that
# are mostly zeros to a tenth, a zip bomb to a thousandth.
MAX_RATIO = 100

_ENTRY = b"PK\x01\x02"  # signature of an entry in the directory of a zip archive
_ENCRYPTED = 1  # bit of `ZipInfo.flag_bits`

_PACKED = (".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
# Everything that `zipfile` raises on damaged, encrypted or exotic archives.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
    NotImplementedError, ValueError,
)  # fmt: skip


class NoBody(BadFile):
    """A file or sequence without any body. Preparation leaves it out; it is not a damaged file."""


@dataclasses.dataclass(frozen=True)
class RawFile:
    """One raw file: on disk, or a member of a zip archive. Small and picklable, for workers.

    Attributes:
      container: path of the file itself, or of the archive.
      member: name inside the archive; None for a file on disk.
    """

    container: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The base name, without folders."""
        return os.path.basename(self.member or self.container)

    def __str__(self) -> str:
        return self.container if self.member is None else f"{self.container}!{self.member}"

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """Reads the whole content; decompresses at most `max_bytes`, whatever a member claims.

        Raises:
          BadFile: larger than `max_bytes`, unreadable, encrypted or damaged; or its archive is
            damaged or missing.
        """
        data = self._read_disk(max_bytes) if self.member is None else self._read_zip(max_bytes)
        if len(data) > max_bytes:
            raise BadFile(self, f"more than {max_bytes:,} bytes", "a smaller file")
        return data

    def _read_disk(self, max_bytes: int) -> bytes:
        try:
            with open(self.container, "rb", buffering=0) as file:
                # read(max_bytes) would allocate that much memory before it reads.
                return file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
        except OSError as error:
            raise BadFile(self, error.strerror or str(error), "a readable file") from error

    def _read_zip(self, max_bytes: int) -> bytes:
        archive = _archive(self.container, os.getpid(), _modified(self.container))
        try:
            return _read_member(archive, archive.getinfo(self.member), self, max_bytes)
        except BadFile:
            raise
        except KeyError as error:
            raise BadFile(self, "no such member", "a member of the archive") from error
        except _ZIP_ERRORS as error:
            raise _damaged_member(self, error) from error


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A sequence that gets no record.

    Attributes:
      name: of the sequence.
      file: the file that contains it.
      why: the reason.
      bad: the error if this one sequence contradicts its file; the file's other sequences are good.
    """

    name: str
    file: str
    why: str
    bad: BadFile | None = None


def find(
    manual_dir: str | os.PathLike, suffix: str, what: str, unique: bool = True
) -> list[RawFile]:
    """Finds all raw files in a folder, in its sub-folders, and inside every zip archive there.

    Args:
      manual_dir: the folder that the user downloaded to, any level above the files; or one archive.
      suffix: how the files' names end, in upper or lower case, e.g. '.skeleton'.
      what: what the files are, for messages, e.g. 'skeletons of NTU RGB+D'.
      unique: keep one file per name, for an archive beside its unpacked files: a file on disk
        before a member of an archive, then the first path. False keeps all of them.

    Returns:
      The files in the order of their names.

    Raises:
      UserError: nothing found.
      BadFile: an archive is incomplete.
    """
    manual_dir = _existing(manual_dir, what)
    disk, archives = _walk(manual_dir)
    everything = [RawFile(path) for path in disk]
    for path in archives:
        everything += _list_members(path, suffix)
    everything = [raw for raw in everything if not _is_apple_double(raw.member or raw.container)]
    found = [raw for raw in everything if raw.name.lower().endswith(suffix.lower())]
    if not found:
        raise UserError(_nothing_found(manual_dir, suffix, what, everything, archives))
    found.sort(key=lambda raw: (raw.name, raw.member is not None, str(raw)))
    if unique:
        found = list({raw.name: raw for raw in reversed(found)}.values())[::-1]
    return found


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
    try:
        with zipfile.ZipFile(file) as archive:
            _check_directory(archive, path)
            members = {info.filename: info for info in archive.infolist()}
            for info in members.values():
                archive.open(info).close()
            contents = {}
            for name in wanted(list(members)):
                contents[name] = _read_member(
                    archive, members[name], path, max_bytes, name + " of "
                )
                max_bytes -= members[name].file_size
            return contents
    except BadFile:
        raise
    except _ZIP_ERRORS as error:
        reason = str(error)[:100] or type(error).__name__
        raise BadFile(path, f"a damaged file ({reason})", expected) from error


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


def _list_members(path: str, suffix: str) -> list[RawFile]:
    """The members of an archive.

    Reading a member compares its name with the archive's directory. Members whose names do not end
    in `suffix` are compared here, so that a damaged letter does not lose a sequence.
    """
    archive = _archive(path, os.getpid(), _modified(path))
    for info in archive.infolist():
        if not suffix or not info.filename.lower().endswith(suffix.lower()):
            try:
                archive.open(info).close()
            except zipfile.BadZipFile as error:
                raise _damaged_member(RawFile(path, info.filename), error) from error
            except _ZIP_ERRORS:  # encrypted, or an unknown compression: it is not going to be read
                continue
    return [RawFile(path, name) for name in archive.namelist() if name and not name.endswith("/")]


def _damaged_member(raw: RawFile, error: Exception) -> BadFile:
    reason = str(error)[:100] or type(error).__name__
    return BadFile(
        raw,
        f"a damaged member ({reason})",
        "an intact one",
        hint="Download the archive again.",
    )


def _check_directory(archive: zipfile.ZipFile, path: object) -> None:
    """Refuses a directory that hides a member: by a name twice, or inside a comment."""
    counts = collections.Counter(name for name in archive.namelist() if not name.endswith("/"))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise BadFile(path, f"several members called {twice[0]!r}", "every member once")
    if any(_ENTRY in info.comment or _ENTRY in info.extra for info in archive.infolist()):
        found = "members within the comment of another one"
        raise BadFile(path, found, "an intact archive", hint="Download the archive again.")


def _existing(manual_dir: str | os.PathLike, what: str) -> str:
    """The path as a string; it is a folder or a zip archive."""
    if not manual_dir or not os.fspath(manual_dir).strip():
        raise UserError(
            f"no --manual_dir given; expected the folder that holds the {what}, unpacked or as zip."
        )
    path = pathlib.Path(manual_dir).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() == ".zip"):
        return str(path)
    if path.is_file():
        raise UserError(
            f"{path} is a file; expected a folder or a zip archive with the {what}. "
            + (_how_to_unpack(str(path)) if path.suffix.lower() in _PACKED else "")
        )
    there = next(parent for parent in path.absolute().parents if parent.exists())
    names = sorted(os.listdir(there))[:8] if there.is_dir() else []
    raise UserError(
        f"looked for the {what} in {path}, but there is no such folder. {there} exists and holds: "
        f"{', '.join(names) or 'nothing'}. Download the data set there, or correct --manual_dir."
    )


def _walk(manual_dir: str) -> tuple[list[str], list[str]]:
    """(files, zip archives) in a folder; follows links, but enters no folder twice."""
    if os.path.isfile(manual_dir):
        return [], [manual_dir]
    disk, archives, visited = [], [], set()
    for folder, folders, names in os.walk(manual_dir, followlinks=True):
        if os.path.realpath(folder) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(folder))
        folders.sort()
        for name in sorted(names):
            is_zip = name.lower().endswith(".zip") and not name.startswith("._")
            (archives if is_zip else disk).append(os.path.join(folder, name))
    return disk, archives


def _is_apple_double(path: str) -> bool:
    """Whether macOS added the file: `__MACOSX/._name` for every `name` in an archive."""
    parts = pathlib.PurePosixPath(path).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _nothing_found(
    manual_dir: str, suffix: str, what: str, everything: list[RawFile], archives: list[str]
) -> str:
    """The message of an empty search."""
    message = f"looked for the {what} (*{suffix}) in {manual_dir}, in its sub-folders"
    message += f" and in {len(archives)} zip archive(s) there" if archives else ""
    if not everything:
        return f"{message}: the folder is empty. Download the data set there (docs/formats.md)."
    kinds = collections.Counter(os.path.splitext(raw.name)[1].lower() for raw in everything)
    seen = ", ".join(f"{count} {kind or 'without suffix'}" for kind, count in kinds.most_common(6))
    message += f": there is none among {len(everything)} file(s) ({seen}). "
    packed = [str(raw) for raw in everything if raw.name.lower().endswith(_PACKED)]
    if packed:
        return message + _how_to_unpack(*packed[:3])
    return message + "Point --manual_dir at the folder with the files or any folder above it."


def _how_to_unpack(*paths: str) -> str:
    if paths[0].lower().endswith(".7z"):
        where = os.path.dirname(paths[0]) or "."
        commands = " && ".join(f"7z x {path} -o{where}" for path in paths)
        return f"7z archives are not read in place: unpack with `{commands}` (package p7zip)."
    return f"Unpack it first (only zip archives are read in place): {', '.join(paths)}."


def _modified(path: str) -> int:
    """When the archive was last written: a new file under the old name is opened again."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise BadFile(path, error.strerror or str(error), "a zip archive") from error


@functools.lru_cache(maxsize=8)
def _archive(path: str, pid: int, modified: int) -> zipfile.ZipFile:
    """An open archive, cached per process: a forked child must not share its parent's position."""
    del pid, modified  # keys of the cache
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadFile(
            path,
            f"no complete zip archive ({os.path.getsize(path):,} bytes on disk; {error})",
            "a complete one",
            hint="The download probably stopped half-way. Compare its size with the data set's "
            "page and download it again, or remove it if it is not part of the data.",
        ) from error
    _check_directory(archive, path)
    return archive
