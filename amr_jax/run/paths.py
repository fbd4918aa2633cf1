"""Folders on a disk or in a bucket (`gs://`, `s3://`), and what has to differ between the two.

Both go through `etils.epath`. In a bucket files are written and replaced whole; what is read at
random places, by libraries that know the disk alone, is copied to this machine first.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator

from etils import epath

from amr_jax.errors import UserError

# The folder of copies, if not `amr_jax` in the user's folder of caches.
CACHE_VARIABLE = "AMR_CACHE_DIR"


def is_remote(path: os.PathLike | str) -> bool:
    """Whether `path` is in a bucket."""
    return "://" in os.fspath(path)


def absolute(path: os.PathLike | str) -> epath.Path:
    """The whole path; that of a bucket is one (epath's own `absolute` makes it `./gs:/…`)."""
    path = epath.Path(path).expanduser()
    return path if is_remote(path) else path.absolute()


def on_disk(path: os.PathLike | str) -> epath.Path:
    """The file or flat folder itself, or a copy of what is in a bucket.

    The copy is kept, for later starts and for other processes of this machine, and belongs to the
    content of the file, or of a folder's small ones (`.json`) and the names and sizes of all: where
    those change, another copy is made. The variable `AMR_CACHE_DIR` names another place than
    `~/.cache/amr_jax`; what lies there may be deleted whenever no run reads it.

    Raises:
      UserError: it cannot be read, or there is no room.
    """
    path = epath.Path(path).expanduser()
    if not is_remote(path):
        return path
    try:
        files = sorted(path.iterdir(), key=lambda file: file.name) if path.is_dir() else [path]
        place = _cache() / _digest(path, files) / path.name
        if not place.exists():
            with _alone_in(place.parent):
                if not place.exists():  # another process may have copied it meanwhile
                    _copy(files, place, path.is_dir())
    except OSError as error:
        raise UserError(
            f"{path}: could not be copied to {_cache()} ({error}). Make room there, or name "
            f"another folder: {CACHE_VARIABLE}=DIR."
        ) from error
    return place


def _cache() -> epath.Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return epath.Path(os.environ.get(CACHE_VARIABLE) or f"{home}/amr_jax").expanduser()


def _digest(path: epath.Path, files: list[epath.Path]) -> str:
    digest = hashlib.sha256(os.fspath(path).encode())
    for file in files:
        digest.update(f"\n{file.name} {file.stat().length}\n".encode())
        # Of records the small files say what the large ones hold; a file alone is read twice.
        if file.suffix == ".json" or file == path:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _alone_in(folder: epath.Path) -> Iterator[None]:
    """One process of this machine at a time; the system frees what a killed one has held."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


def _copy(files: list[epath.Path], place: epath.Path, is_folder: bool) -> None:
    """Whole or not at all; where machines share the folder, one of them is the first."""
    with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
        copy = epath.Path(temporary) / place.name
        if is_folder:
            copy.mkdir()
        for file in files:
            file.copy(copy / file.name if is_folder else copy)
        try:
            copy.rename(place)
        except OSError:
            if not place.exists():
                raise
