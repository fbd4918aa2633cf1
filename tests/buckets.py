"""An object store in memory, under `s3://` for all that goes through etils.epath."""

import os
from pathlib import Path

import fsspec
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem


class Bucket(MemoryFileSystem):
    """As object stores are: nothing can be appended to, and folders are what names begin with."""

    protocol = ("s3",)
    cachable = False

    def __init__(self):
        super().__init__(global_store=False)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(os.fspath(path).removeprefix("s3://"))

    def mkdir(self, path, create_parents=True, **kwargs):
        pass

    def makedirs(self, path, exist_ok=False):
        pass

    def _open(self, path, mode="rb", **kwargs):
        if "a" in mode or "+" in mode:
            raise NotImplementedError(f"{path}: mode {mode!r}")
        return super()._open(path, mode, **kwargs)

    def files(self, folder: str) -> set[str]:
        """Names of all files below `s3://FOLDER`."""
        return {name.removeprefix(f"/{folder}/") for name in self.find(folder)}


class _Events:
    """tensorboardX's own door to object stores: a factory of files for each scheme."""

    def __init__(self, bucket: Bucket):
        self._bucket = bucket

    def directory_check(self, path):
        pass

    def open(self, path):
        return _EventFile(self._bucket, path)


class _EventFile:
    def __init__(self, bucket: Bucket, path: str):
        self._bucket, self._path, self._content = bucket, path, b""

    def write(self, content: bytes):
        self._content += content

    def flush(self):
        self._bucket.pipe_file(self._path, self._content)

    close = flush


def make(monkeypatch, cache: Path) -> Bucket:
    """A new, empty one for the time of a test; copies on this machine go to `cache`."""
    from tensorboardX import record_writer

    bucket = Bucket()
    monkeypatch.setenv("EPATH_USE_TF", "false")
    monkeypatch.setenv("AMR_CACHE_DIR", str(cache))
    systems = {"s3": bucket, "file": fsspec.filesystem("file")}
    monkeypatch.setattr(epath.backend.fsspec_backend, "_get_filesystem", systems.get)
    monkeypatch.setitem(record_writer.REGISTERED_FACTORIES, "s3", _Events(bucket))
    return bucket


def upload(folder: Path, to: str) -> None:
    """Copies all files of a folder of this machine."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            (epath.Path(to) / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())
