"""Folders on a disk or in a bucket (`gs://`, `s3://`), through `etils.epath`.

Files in a bucket are written and replaced as a whole. Files that a library reads at random places
are copied to this machine first.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator

from etils import epath

from amr_jax.errors import UserError

# The folder for copies; default `amr_jax` in the user's folder of caches.
CACHE_VARIABLE = "AMR_CACHE_DIR"


def is_remote(path: os.PathLike | str) -> bool:
    """Whether `path` is in a bucket."""
    return "://" in os.fspath(path)


def absolute(path: os.PathLike | str) -> epath.Path:
    """The absolute path; paths of buckets are (epath's `absolute` would make them `./gs:/…`)."""
    path = epath.Path(path).expanduser()
    return path if is_remote(path) else path.absolute()


def refuse_input(path: os.PathLike | str, flag: str, inputs: Iterable[os.PathLike | str]) -> None:
    """Raises `UserError` if `path`, which `flag` names for an output, is one of `inputs`.

    It is one also by another name: through links or another spelling of its folder.
    """
    place = os.fspath(absolute(path))
    real, exists = os.path.realpath(place), os.path.exists(place)
    for source in map(os.fspath, inputs):
        same = real == os.path.realpath(source)
        if same or (exists and os.path.exists(source) and os.path.samefile(place, source)):
            raise UserError(
                f"{flag}={os.fspath(path)}: is one of the input files; nothing was changed. "
                "Expected another name, of a file that may be written."
            )


def on_disk(path: os.PathLike | str) -> epath.Path:
    """The file or flat folder itself, or a copy of it if it is in a bucket.

    The copy stays for later starts and other processes of this machine. Another copy is made when
    the file changes, or in a folder the names, the sizes or a `.json` file. Copies are in
    `~/.cache/amr_jax`, or in the folder that the variable `AMR_CACHE_DIR` names, and may be deleted
    when no run reads them.

    Raises:
      UserError: it cannot be read, or there is no space for it.
    """
    path = epath.Path(path).expanduser()
    if not is_remote(path):
        return path
    try:
        files = sorted(path.iterdir(), key=lambda file: file.name) if path.is_dir() else [path]
        place = cache() / _digest(path, files) / path.name
        if not place.exists():
            with _alone_in(place.parent):
                if not place.exists():  # no other process has copied it meanwhile
                    _copy(files, place, path.is_dir())
    except OSError as error:
        raise UserError(
            f"{path}: could not be copied to {cache()} ({error}). Make room there, or name "
            f"another folder: {CACHE_VARIABLE}=DIR."
        ) from error
    return place


def cache() -> epath.Path:
    """The folder of copies; it may be absent."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return epath.Path(os.environ.get(CACHE_VARIABLE) or f"{home}/amr_jax").expanduser()


def _digest(path: epath.Path, files: list[epath.Path]) -> str:
    digest = hashlib.sha256(os.fspath(path).encode())
    for file in files:
        digest.update(f"\n{file.name} {file.stat().length}\n".encode())
        # The small files of records describe the large ones. A single file is read twice.
        if file.suffix == ".json" or file == path:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _alone_in(folder: epath.Path) -> Iterator[None]:
    """Admits one process of this machine at a time; a kill releases it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


def _copy(files: list[epath.Path], place: epath.Path, is_folder: bool) -> None:
    """Copies all files or none. If machines share the folder, the first one's copy stays."""
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
