"""One raw file, on disk or in a zip archive, and what is left out of a data set."""

import dataclasses
import functools
import os
import re
import zlib

from amr_jax.data.readers import archives
from amr_jax.data.readers.archives import MAX_BYTES
from amr_jax.errors import BadFile, readable

ON_BAD_FILE = ("fail", "skip")

_GZ = ".gz"
_MEMBER = re.compile(r"(.+\.zip)!(.+)", re.IGNORECASE | re.DOTALL)


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

    @functools.cached_property
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

    def fingerprint(self, max_bytes: int = MAX_BYTES) -> tuple[int, int]:
        """(size, CRC-32) of the content; of a member, as the archive's directory has them."""
        if self.member is not None and not self._is_packed:
            return archives.fingerprint(self.container, self.member)
        data = self.read(max_bytes)
        return len(data), zlib.crc32(data)

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


def of_path(path: str) -> RawFile:
    """The file, or the member of an archive, that a user names: `archive.zip!member`."""
    archive = _MEMBER.fullmatch(path)
    return RawFile(*archive.groups()) if archive else RawFile(path)


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
