"""Reads what `torch.save` writes, without PyTorch, and runs no code in it.

A checkpoint of a training script holds more than tensors: settings, paths, objects of any class. An
object whose class is unknown here becomes a `Foreign` (`torch_pickles`). So a checkpoint of PyTorch
Lightning is read whatever its hyperparameters are, and a file with code in it does nothing.

Two forms: since PyTorch 1.6 a zip archive of a pickle and of the numbers; before, five pickles and
the numbers in one file, without checksums. Tensors refer to storages, and storages to the numbers.
"""

import io
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from amr_jax.data.readers import pickles
from amr_jax.errors import BadFile
from amr_jax.inference.pytorch import torch_pickles
from amr_jax.inference.pytorch.torch_pickles import Foreign, Storage

# The first number in a file of the older form, as a pickle holds it.
MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")

EXPECTED = "what torch.save writes"
_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
    "QInt8Storage": np.dtype("i1"),
    "QUInt8Storage": np.dtype("u1"),
    "QInt32Storage": np.dtype("<i4"),
}
# Beyond the instructions of plain data: objects of classes, and references to storages.
_INSTRUCTIONS = pickles.INSTRUCTIONS | {
    "NEWOBJ", "NEWOBJ_EX", "BINPERSID", "POP", "POP_MARK",
}  # fmt: skip


def read_zip(members: Mapping[str, bytes], path: object) -> object:
    """The content of an archive as `torch.save` writes it since PyTorch 1.6.

    Args:
      members: name -> content, verified.
      path: how errors call the file.

    Returns:
      Dicts, lists and numbers, with `Tensor` and `Foreign` in them.

    Raises:
      BadFile: a program of TorchScript; damaged, or contradicts itself.
    """
    pickled = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    root = pickled[0].removesuffix("data.pkl")
    if len(pickled) > 1 or f"{root}constants.pkl" in members:
        raise BadFile(
            path,
            "a program of TorchScript",
            "the weights alone",
            hint="Save the weights with PyTorch: torch.save(torch.jit.load(FILE).state_dict(), …).",
        )
    start = f"{root}data/"
    contents = {n.removeprefix(start): data for n, data in members.items() if n.startswith(start)}
    reader = _Reader(path, contents)
    content = reader.load(members[pickled[0]])
    if members.get(f"{root}byteorder", b"little") == b"big":
        reader.swap_bytes()
    reader.check_sizes()
    return content


def read_old(data: bytes, path: object) -> object:
    """The content of a file as `torch.save` wrote it before PyTorch 1.6.

    Arguments, returns and errors as in `read_zip`; this form has no checksums.
    """
    reader, stream = _Reader(path, {}), io.BytesIO(data)
    facts = [reader.load_next(stream) for _ in range(3)]  # magic number, protocol, machine
    content, keys = reader.load_next(stream), reader.load_next(stream)
    if not isinstance(facts[2], dict) or not isinstance(keys, list):
        raise BadFile(path, "a damaged file (no list of storages)", EXPECTED)
    for key in keys:
        storage = reader.storages.get(key) if isinstance(key, str) else None
        size = int.from_bytes(stream.read(8), "little")
        if storage is None or size != storage.size or key in reader.contents:
            found = f"a damaged file (storage {pickles.shown(key)} of {size:,} numbers)"
            raise BadFile(path, found, EXPECTED)
        # Never more than there is: the next check compares the sizes.
        reader.contents[key] = stream.read(size * storage.dtype.itemsize)
    if stream.read(1):
        raise BadFile(path, "a damaged file (more after its end)", EXPECTED)
    if facts[2].get("little_endian") is False:
        reader.swap_bytes()
    reader.check_sizes()
    return content


class _Reader:
    """Reads the pickles of one file, which share their storages."""

    def __init__(self, path: object, contents: dict[str, bytes]):
        self.path, self.contents = path, contents
        self.storages: dict[str, Storage] = {}

    def load(self, data: bytes) -> object:
        """The content of a whole pickle."""
        stream = io.BytesIO(data)
        content = self.load_next(stream)
        if stream.read(1):
            raise BadFile(self.path, "a damaged pickle (data after its end)", EXPECTED)
        return content

    def load_next(self, stream: io.BytesIO) -> object:
        """The content of the pickle that begins here; leaves the stream at its end."""
        with pickles.errors_as_bad_file(self.path, EXPECTED):
            start = stream.tell()
            pickles.check_instructions(stream, len(stream.getbuffer()) - start, _INSTRUCTIONS)
            end = stream.tell()
            pickled = stream.getbuffer()[start:end]
            return torch_pickles.Unpickler(bytes(pickled), self.storage).load()

    def storage(self, saved: object) -> object:
        """The storage that a pickle refers to."""
        if type(saved) is not tuple or len(saved) < 5 or saved[0] != "storage":
            raise pickles.Refused(f"a reference to {pickles.shown(saved)}")
        kind, key, size = saved[1], saved[2], saved[4]
        name = kind.name.rpartition(".")[2] if isinstance(kind, Foreign) else ""
        is_view = saved[5:] not in ((), (None,))  # of PyTorch before 0.4
        if not isinstance(key, str) or type(size) is not int or size < 0 or is_view:
            raise pickles.Refused(f"a reference to the storage {pickles.shown(key)}")
        if name not in _DTYPES:
            return Foreign(f"torch.{name}")
        storage = Storage(key, _DTYPES[name], size, self.contents)
        known = self.storages.setdefault(key, storage)
        if (known.dtype, known.size) != (storage.dtype, storage.size):
            raise pickles.Refused(f"two descriptions of the storage {key!r}")
        return known

    def swap_bytes(self) -> None:
        """Turns numbers of a machine with the other order of bytes into ours."""
        for key, storage in self.storages.items():
            width, data = storage.dtype.itemsize, self.contents.get(key, b"")
            if len(data) % width == 0:
                self.contents[key] = np.frombuffer(data, f"u{width}").byteswap().tobytes()

    def check_sizes(self) -> None:
        """Raises `BadFile` unless every storage has the bytes that the pickle claims."""
        for key, storage in self.storages.items():
            found, claimed = len(self.contents.get(key, b"")), storage.size * storage.dtype.itemsize
            if found != claimed:
                raise BadFile(
                    self.path,
                    f"a damaged file ({found:,} bytes of numbers in the storage {key!r})",
                    f"{claimed:,}, as its pickle claims",
                    hint="The file was truncated or never completed.",
                )
