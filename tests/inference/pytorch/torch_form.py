"""Writes files as `torch.save` does, without PyTorch: the zip archive, and the older form.

Arrays become tensors. Objects of other classes are pickled as they are.
"""

import io
import pickle
import zipfile

import ml_dtypes
import numpy as np

_STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
    "int8": "CharStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
}


class Name:
    """A global of PyTorch: module and name. Callable, as what it stands for."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError


class _Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class _Pickler(pickle._Pickler):
    """Writes arrays as tensors, each with a storage of its own or that of the array it views."""

    def __init__(self, file, zipped):
        super().__init__(file, protocol=2)
        self.storages, self.more = {}, () if zipped else (None,)

    def persistent_id(self, obj):
        if isinstance(obj, _Storage):
            kind = Name("torch", _STORAGES[obj.array.dtype.name])
            return ("storage", kind, obj.key, "cpu", obj.array.size, *self.more)
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, np.ndarray):
            self._save_tensor(obj)
        else:
            super().save(obj, save_persistent_id)

    def _save_tensor(self, array):
        whole = array if not isinstance(array.base, np.ndarray) else array.base
        storage = self.storages.setdefault(id(whole), _Storage(str(len(self.storages)), whole))
        width = array.dtype.itemsize
        offset = (array.ctypes.data - whole.ctypes.data) // width
        strides = tuple(step // width for step in array.strides)
        rebuild = Name("torch._utils", "_rebuild_tensor_v2")
        self.save_reduce(rebuild, (storage, offset, array.shape, strides, False, {}))


def _pickled(content, zipped):
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, zipped)
    pickler.dump(content)
    return buffer.getvalue(), list(pickler.storages.values())


def saved(content, zipped=True, extra=(), big_endian=False):
    """The bytes of a file with this content.

    Args:
      content: dicts, lists, numbers, objects, and arrays for tensors.
      zipped: the form since PyTorch 1.6; else the one before.
      extra: further members of the archive, (name, bytes).
      big_endian: as a machine with the other order of bytes writes numbers.
    """
    program, storages = _pickled(content, zipped)
    numbers = {s.key: (s.array.byteswap() if big_endian else s.array).tobytes() for s in storages}
    buffer = io.BytesIO()
    if zipped:
        with zipfile.ZipFile(buffer, "w") as archive:
            order = b"big" if big_endian else b"little"
            members = [("data.pkl", program), ("byteorder", order), ("version", b"3\n"), *extra]
            members += [(f"data/{key}", data) for key, data in numbers.items()]
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
        return buffer.getvalue()
    machine = {"protocol_version": 1001, "little_endian": not big_endian, "type_sizes": {"int": 4}}
    for part in (0x1950A86A20F9469CFC6C, 1001, machine):
        buffer.write(pickle.dumps(part, protocol=2))
    buffer.write(program + pickle.dumps([s.key for s in storages], protocol=2))
    for storage in storages:
        buffer.write(storage.array.size.to_bytes(8, "little") + numbers[storage.key])
    return buffer.getvalue()


def parameter(array):
    """A torch.nn.Parameter, as an object that pickles like one."""
    return _Reduced(Name("torch._utils", "_rebuild_parameter"), (array, True, {}))


class _Reduced:
    def __init__(self, function, args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def bfloat16(array):
    """The array in bfloat16."""
    return array.astype(ml_dtypes.bfloat16)
