"""Finds the raw files of a data set, in folders and inside zip archives, and reads them."""

import collections
import dataclasses
import os
import pathlib

from amr_jax.data.readers import archives
from amr_jax.data.readers.archives import MAX_BYTES
from amr_jax.errors import BadFile, UserError, readable

_PACKED = (".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst")  # not read in place
_GZ = ".gz"


class NoBody(BadFile):
    """A file or sequence without any body. Preparation leaves it out; it is not a damaged file."""


@dataclasses.dataclass(frozen=True)
class RawFile:
    """One raw file: on disk, or a member of a zip archive. Small and picklable, for workers.

    It may be compressed with gzip, and then ends in `.gz`.

    Attributes:
      container: path of the file itself, or of the archive.
      member: name inside the archive; None for a file on disk.
    """

    container: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The base name, without folders and `.gz`, as text that can be written."""
        return os.path.basename(self.path)

    @property
    def path(self) -> str:
        """The path on disk or in the archive, without `.gz`, as text that can be written."""
        path = readable(self.member or self.container)
        return path[: -len(_GZ)] if self._is_packed else path

    @property
    def _is_packed(self) -> bool:
        return (self.member or self.container).lower().endswith(_GZ)

    def __str__(self) -> str:
        parts = [self.container] if self.member is None else [self.container, self.member]
        return readable("!".join(parts))

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """Reads the whole content; decompresses at most `max_bytes`, whatever a member claims.

        Raises:
          BadFile: larger than `max_bytes`, unreadable, encrypted or damaged; or its archive is
            damaged or missing.
        """
        data = self._stored(max_bytes)
        return archives.gunzip(data, self, max_bytes) if self._is_packed else data

    def _stored(self, max_bytes: int) -> bytes:
        if self.member is not None:
            return archives.read(self.container, self.member, max_bytes)
        with (
            archives.errors_as_bad_file(self, "a readable file"),
            open(self.container, "rb", buffering=0) as file,
        ):
            # read(max_bytes) would allocate that much memory before it reads.
            data = file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
        if len(data) > max_bytes:
            raise BadFile(self, f"more than {max_bytes:,} bytes", "a smaller file")
        return data


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
    disk, zips = _walk(manual_dir)
    ending = suffix.lower()
    everything = [RawFile(path) for path in disk]
    for path in zips:
        names = archives.names(path, lambda name: bool(ending) and name.lower().endswith(ending))
        everything += [RawFile(path, name) for name in names]
    everything = [raw for raw in everything if not _is_apple_double(raw.member or raw.container)]
    found = [raw for raw in everything if raw.name.lower().endswith(ending)]
    if not found:
        raise UserError(_nothing_found(manual_dir, suffix, what, everything, len(zips)))
    _note_packed(everything)
    found.sort(key=lambda raw: (raw.name, raw.member is not None, str(raw)))
    if unique:
        found = list({raw.name: raw for raw in reversed(found)}.values())[::-1]
    return found


def _existing(manual_dir: str | os.PathLike, what: str) -> str:
    """The path as a string; it is a folder or a zip archive."""
    if not manual_dir or not os.fspath(manual_dir).strip():
        raise UserError(
            f"no --manual_dir given; expected the folder that holds the {what}, unpacked or as zip."
        )
    path = pathlib.Path(os.path.expanduser(manual_dir))
    if path.is_dir() or (path.is_file() and path.suffix.lower() == ".zip"):
        return str(path)
    if path.is_file():
        raise UserError(
            f"{path} is a file; expected a folder or a zip archive with the {what}. "
            + (how_to_unpack(str(path)) if path.suffix.lower() in _PACKED else "")
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
    disk, zips, visited = [], [], set()
    for folder, folders, names in os.walk(manual_dir, followlinks=True):
        if os.path.realpath(folder) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(folder))
        folders.sort()
        for name in sorted(names):
            is_zip = name.lower().endswith(".zip") and not name.startswith("._")
            (zips if is_zip else disk).append(os.path.join(folder, name))
    return disk, zips


def _is_apple_double(path: str) -> bool:
    """Whether macOS added the file: `__MACOSX/._name` for every `name` in an archive."""
    parts = pathlib.PurePosixPath(path).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _nothing_found(
    manual_dir: str, suffix: str, what: str, everything: list[RawFile], num_zips: int
) -> str:
    """The message of an empty search."""
    message = f"looked for the {what} (*{suffix}) in {manual_dir}, its sub-folders and "
    message += f"{num_zips} zip archive(s) there: "
    if not everything:
        return f"{message}the folder is empty. Download the data set there (docs/formats.md)."
    kinds = collections.Counter(os.path.splitext(raw.name)[1].lower() for raw in everything)
    seen = ", ".join(f"{count} {kind or 'without suffix'}" for kind, count in kinds.most_common(6))
    message += f"there is none among {len(everything)} file(s) ({seen}). "
    packed = [str(raw) for raw in everything if raw.name.lower().endswith(_PACKED)]
    if packed:
        return message + how_to_unpack(*packed[:3])
    return message + "Point --manual_dir at the folder with the files or any folder above it."


def _note_packed(everything: list[RawFile]) -> None:
    """Names archives beside the files that are not read, unless a folder holds their content."""
    packed = [raw for raw in everything if raw.name.lower().endswith(_PACKED)]
    unread = [str(raw) for raw in packed if not os.path.isdir(os.path.splitext(raw.path)[0])]
    if unread:
        more = f", and {len(unread) - 3} more" if len(unread) > 3 else ""
        print(f"note: {', '.join(unread[:3])}{more}: not read. {how_to_unpack(*unread[:3])}")


def how_to_unpack(*paths: str) -> str:
    """The hint for archives that are not read in place."""
    if paths[0].lower().endswith(".7z"):
        commands = " && ".join(f"7z x {path} -o{os.path.splitext(path)[0]}" for path in paths)
        return f"7z archives are not read in place: unpack with `{commands}` (package p7zip)."
    return f"Unpack it first (only .zip and .gz are read in place): {', '.join(paths)}."
