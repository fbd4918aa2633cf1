"""Finds the raw files of a data set, in folders or straight inside zip archives, and reads them."""

import collections
import dataclasses
import functools
import lzma
import os
import pathlib
import zipfile
import zlib

from amr_jax.errors import BadFile, UserError

# No raw file of the data sets comes near: the longest PKU-MMD video has some 10 MB.
MAX_BYTES = 64 * 2**20

# Skeletons pack to a half or a third, mostly zeros to a tenth; a zip bomb to a thousandth.
MAX_RATIO = 100

_ENTRY = b"PK\x01\x02"  # how each entry of an archive's list of members begins

_PACKED = (".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
# What a damaged, encrypted or exotic member makes `zipfile` raise.
MEMBER_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError,
    NotImplementedError, ValueError,
)  # fmt: skip


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
        """The file's own name, without folders."""
        return os.path.basename(self.member or self.container)

    def __str__(self) -> str:
        return self.container if self.member is None else f"{self.container}!{self.member}"

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """The whole content.

        Raises:
          BadFile: larger than `max_bytes` (a member may claim what it likes, no more is unpacked),
            unreadable, encrypted, or damaged; or its archive is damaged or gone.
        """
        data = self._read_disk(max_bytes) if self.member is None else self._read_zip(max_bytes)
        if len(data) > max_bytes:
            raise BadFile(self, f"more than {max_bytes:,} bytes", "a raw file of the data set")
        return data

    def _read_disk(self, max_bytes: int) -> bytes:
        try:
            with open(self.container, "rb", buffering=0) as file:
                # Asked for the maximum, Python would first set as much memory aside.
                return file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
        except OSError as error:
            raise BadFile(self, error.strerror or str(error), "a readable file") from error

    def _read_zip(self, max_bytes: int) -> bytes:
        archive = _archive(self.container, os.getpid(), _changed(self.container))
        try:
            info = archive.getinfo(self.member)
            if info.flag_bits & 1:
                raise BadFile(self, "an encrypted member", "one that needs no password")
            if info.file_size > max_bytes:
                raise BadFile(self, f"{info.file_size:,} bytes", f"at most {max_bytes:,}")
            if info.file_size > max(MAX_BYTES, MAX_RATIO * info.compress_size):
                raise BadFile(
                    self,
                    f"{info.file_size:,} bytes packed into {info.compress_size:,}",
                    f"at most {MAX_RATIO} to 1, as in no archive that only unpacks to fill a disk",
                )
            with archive.open(info) as file:
                return file.read(info.file_size + 1)
        except BadFile:
            raise
        except KeyError as error:
            raise BadFile(self, "no such member", "one of those in the archive") from error
        except MEMBER_ERRORS as error:
            raise _damaged_member(self, error) from error


def find(
    manual_dir: str | os.PathLike, suffix: str, what: str, unique: bool = True
) -> list[RawFile]:
    """All raw files under a folder: in its sub-folders, and inside every zip archive there.

    Args:
      manual_dir: the folder that the user downloaded to, any level above the files; or one archive.
      suffix: how the files' names end, in upper or lower case, e.g. '.skeleton'.
      what: what they are, for the messages, e.g. 'skeletons of NTU RGB+D'.
      unique: take one file of each name, as where an archive lies beside its unpacked files: the
        one on disk before the one in an archive, then the first path. False gives all of them.

    Returns:
      in the order of their names, whatever the disk's order is.

    Raises:
      UserError: nothing there, or an archive that is not whole (BadFile); says what to do.
    """
    manual_dir = _existing(manual_dir, what)
    disk, archives = _walk(manual_dir)
    everything = [RawFile(path) for path in disk]
    for path in archives:
        everything += _listed(path, suffix)
    everything = [raw for raw in everything if not _is_apple_double(raw.member or raw.container)]
    found = [raw for raw in everything if raw.name.lower().endswith(suffix.lower())]
    if not found:
        raise UserError(_nothing(manual_dir, suffix, what, everything, archives))
    found.sort(key=lambda raw: (raw.name, raw.member is not None, str(raw)))
    if unique:
        found = list({raw.name: raw for raw in reversed(found)}.values())[::-1]
    return found


def _listed(path: str, suffix: str) -> list[RawFile]:
    """The members of an archive. Its list of them stands apart from them, and may be damaged.

    A member is held against the list when it is read. Those that perhaps nobody will read, going by
    their names, are here, lest a sequence goes missing for a wrong letter.
    """
    archive = _archive(path, os.getpid(), _changed(path))
    for info in archive.infolist():
        if not suffix or not info.filename.lower().endswith(suffix.lower()):
            try:
                archive.open(info).close()
            except zipfile.BadZipFile as error:
                raise _damaged_member(RawFile(path, info.filename), error) from error
            except MEMBER_ERRORS:  # encrypted, or packed in a way unknown here: nobody reads it
                continue
    return [RawFile(path, name) for name in archive.namelist() if name and not name.endswith("/")]


def _damaged_member(raw: RawFile, error: Exception) -> BadFile:
    reason = str(error)[:100] or type(error).__name__
    return BadFile(
        raw, f"a damaged member ({reason})", "one that unpacks", hint="Fetch the archive again."
    )


def _existing(manual_dir: str | os.PathLike, what: str) -> str:
    """The path as a string, if there is a folder or a zip archive."""
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
    """(files, zip archives) under a folder; links are followed, but no folder is entered twice."""
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
    """Whether macOS put it there: `__MACOSX/._name` beside every `name` that it packs."""
    parts = pathlib.PurePosixPath(path).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _nothing(
    manual_dir: str, suffix: str, what: str, everything: list[RawFile], archives: list[str]
) -> str:
    """The message of an empty search."""
    message = f"looked for the {what} (*{suffix}) in {manual_dir}, in its sub-folders"
    message += f" and in {len(archives)} zip archive(s) there" if archives else ""
    if not everything:
        return f"{message}: the folder is empty. Download the data set there (README, Data)."
    kinds = collections.Counter(os.path.splitext(raw.name)[1].lower() for raw in everything)
    seen = ", ".join(f"{count} {kind or 'without ending'}" for kind, count in kinds.most_common(6))
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


def _changed(path: str) -> int:
    """When the archive was last written: a new file under the old name is opened anew."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise BadFile(path, error.strerror or str(error), "a zip archive") from error


@functools.lru_cache(maxsize=8)
def _archive(path: str, pid: int, changed: int) -> zipfile.ZipFile:
    """An open archive, once per process: a forked child must not share its parent's position."""
    del pid, changed  # only tell archives apart in the cache
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadFile(
            path,
            f"no complete zip archive ({os.path.getsize(path):,} bytes on disk; {error})",
            "a whole one",
            hint="The download probably stopped half-way. Compare its size with the data set's "
            "page and fetch it again, or remove it if it is not part of the data.",
        ) from error
    check_list(archive, path)
    return archive


def check_list(archive: zipfile.ZipFile, path: object) -> None:
    """Whether the list of an archive's members hides one of them.

    Of two members of one name only one can be read; and a wrong length makes the rest of the list
    a member's comment.

    Raises:
      BadFile: it does.
    """
    counts = collections.Counter(name for name in archive.namelist() if not name.endswith("/"))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise BadFile(path, f"several members called {twice[0]!r}", "every member once")
    if any(_ENTRY in info.comment or _ENTRY in info.extra for info in archive.infolist()):
        found = "members within the comment of another one"
        raise BadFile(path, found, "a whole archive", hint="Fetch the archive again.")
