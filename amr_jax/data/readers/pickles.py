"""Reads plain data and NumPy arrays from a pickle, and runs no code in it.

A pickle is a program that may import and call anything. This reader accepts only instructions that
build None, numbers, texts, bytes, tuples, lists, dicts and sets. For the few names that NumPy
writes into pickles it substitutes functions of its own, which check sizes before they build an
array.

It reads protocols 2 to 5, of Python 2 and 3, and arrays written by NumPy 1 and 2.
"""

import contextlib
import io
import math
import pickle
import pickletools
import re
from collections.abc import Collection, Iterator
from typing import BinaryIO

import numpy as np

from amr_jax.errors import BadFile

# Each instruction may cost some hundred bytes of memory. Exchange files hold few instructions and
# large arrays: a file may have this many, or one per so many of its bytes.
MAX_INSTRUCTIONS = 2_000_000
_BYTES_PER_INSTRUCTION = 16

_PROTOCOL = b"\x80"  # first byte since protocol 2
_EXPECTED = "plain data and numpy arrays"
_HINT = (
    "None of it was run. If you trust the file, load it where its code is installed, and save "
    "its content as dicts, lists and numpy arrays of numbers."
)
INSTRUCTIONS = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "SHORT_BINSTRING", "BINSTRING",  # of Python 2: texts, and the content of arrays
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
))  # fmt: skip
_DTYPE = re.compile(r"[biuf][1248]|U[1-9]\d{0,4}|O8")  # numbers; texts, O8: of any length
# What `pickle`, `pickletools` and NumPy raise on instructions that are cut off or make no sense.
_DAMAGED = (
    pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    EOFError, BufferError, RecursionError,
)  # fmt: skip


class Refused(Exception):
    """The pickle asks for something other than what its reader accepts."""


def load(data: bytes, path: object) -> object:
    """Returns the content of a pickle.

    Args:
      data: the whole file.
      path: how errors call the file.

    Raises:
      BadFile: truncated, damaged, or asks for anything but plain data and arrays of numbers.
    """
    if data and data[:1] != _PROTOCOL:
        raise BadFile(
            path,
            f"a file that begins with {data[:8]!r}",
            "a pickle of protocol 2 to 5",
            hint="Decompress it if it is compressed; load and save an older pickle again: "
            "pickle.dump(content, file, protocol=4).",
        )
    stream = io.BytesIO(data)
    with errors_as_bad_file(path, _EXPECTED, _HINT):
        check_instructions(stream, len(data), INSTRUCTIONS)
        if stream.read(1):
            raise Refused("data after its end")
        return Unpickler(data).load()


@contextlib.contextmanager
def errors_as_bad_file(path: object, expected: str, hint: str | None = None) -> Iterator[None]:
    """Turns `Refused`, and what reading a damaged pickle raises, into `BadFile`."""
    try:
        yield
    except Refused as error:
        raise BadFile(path, f"a pickle with {error}", expected, hint=hint) from error
    except BadFile:
        raise
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadFile(path, f"a damaged pickle ({reason})", "a complete one") from error


def shown(value: object) -> str:
    """Formats a value from a pickle for an error, in a few characters.

    Values that may be long or nested are named by their type: a list may contain itself, and a
    number may have more digits than Python prints.
    """
    if isinstance(value, str):
        return repr(value[:40])
    items = value if type(value) is tuple and len(value) < 8 else (value,)
    short = all(type(x) in (bool, float) or (type(x) is int and abs(x) < 10**18) for x in items)
    return str(value) if short else f"a {type(value).__name__}"


def check_instructions(stream: BinaryIO, size: int, allowed: Collection[str]) -> None:
    """Scans the pickle at the stream's position before it is run; leaves the stream at its end.

    Only known instructions, and not too many of them. `pickletools` compares the length of every
    text and bytes with the data, so nothing is allocated for a length that is only claimed.

    Args:
      stream: the file.
      size: bytes of the pickle, or a bound.
      allowed: names of instructions.

    Raises:
      Refused: another instruction, or too many.
    """
    most = max(MAX_INSTRUCTIONS, size // _BYTES_PER_INSTRUCTION)
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if number >= most:
            raise Refused(f"more than {most:,} instructions")
        if opcode.name not in allowed:
            raise Refused(f"the instruction {opcode.name}")
        if isinstance(argument, str):
            argument.encode()  # pickles may hold half a surrogate pair, which nothing can print


class Unpickler(pickle._Unpickler):
    """Python's unpickler with names, states and keys of dicts restricted.

    This is the version in Python, because the C version has no hook for the keys of dicts: a key
    that occurs twice would lose a value, and hashing a deeply nested one crashes the process. The C
    version also allocates gigabytes for a large memo index. Copies of data are counted: a pickle
    may copy the same bytes many times.
    """

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data))
        self._bytes_left = 2 * len(data)  # protocol 2 copies its data twice
        # In the place of the names that NumPy and protocol 2 write.
        self._names = {
            "numpy.ndarray": "numpy.ndarray",  # only an argument: nothing to call
            "numpy.dtype": _dtype,
            "numpy._core.multiarray._reconstruct": lambda *_: np.ndarray((0,), np.int8),
            "numpy._core.multiarray.scalar": self._scalar,
            "numpy._core.numeric._frombuffer": _array_from_bytes,
            "_codecs.encode": self._bytes_from_text,
            "builtins.bytes": lambda: b"",
            "collections.OrderedDict": lambda: {},
            "collections.defaultdict": lambda *_: {},
            "builtins.list": "builtins.list",  # only an argument of defaultdict
            "builtins.set": _set_of,
            "builtins.frozenset": _set_of,
        }

    def find_class(self, module: str, name: str) -> object:
        # NumPy 1 has the package numpy.core, and Python 2 the module __builtin__.
        full = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
        found = self._names.get(full.replace("__builtin__.", "builtins."))
        if found is None:
            raise Refused(f"the name {full[:80]}")
        return found

    def _count_copy(self, num_bytes: int) -> None:
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            raise Refused("arrays larger than the file")

    def _scalar(self, dtype: np.dtype, data: bytes) -> object:
        """A NumPy scalar as a Python number or text."""
        data = _without_text(data)
        _check_array(data, dtype, ())
        self._count_copy(len(data))
        value = np.frombuffer(data, dtype)[0].item()
        if isinstance(value, str):
            value.encode()  # refuses half a surrogate pair
        return value

    def _bytes_from_text(self, text: str, encoding: str) -> bytes:
        """What protocol 2 writes for bytes."""
        if encoding != "latin1" or not isinstance(text, str):
            raise Refused(f"a text in {shown(encoding)}")
        self._count_copy(len(text))
        return text.encode("latin1")

    def load_build(self) -> None:
        """Sets the state of an array or a dtype."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, np.dtype):
            # Only the byte order is used from the state in the file.
            order = state[1] if state[1] in ("<", ">") else "="
            target.__setstate__(target.newbyteorder(order).__reduce__()[2])
        elif isinstance(target, np.ndarray) and target.size == 0:
            _, shape, dtype, is_fortran, data = state
            data = _without_text(data)
            _check_array(data, dtype, shape)
            self._count_copy(len(data))
            content = data if dtype.hasobject else bytes(data)
            target.__setstate__((1, shape, dtype, bool(is_fortran), content))
        else:
            raise Refused(f"a state for {shown(target)}")

    def _decode_string(self, value: bytes) -> str | bytes:
        """A string of Python 2, which has one type for texts and bytes."""
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
        return value

    def load_additems(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        if type(target) is not set or not target.isdisjoint(_set_of(items)):
            raise Refused(f"these items for {shown(target)}")
        target.update(items)

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # this replaces `self.append`
        self.append(_set_of(items))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_item(self.stack[-1], key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.set_item(self.stack[-1], key, value)

    def set_item(self, target: object, key: object, value: object) -> None:
        """Adds an item to a dict."""
        if type(target) is not dict or not isinstance(key, (str, int, float)):
            raise Refused(f"{shown(key)} as a key of {shown(target)}")
        if key in target:
            raise Refused(f"the key {shown(key)} twice")
        target[key] = value

    def load_stop(self) -> None:
        if self.metastack or len(self.stack) != 1:
            raise Refused("more values than its content")
        super().load_stop()

    dispatch = {  # noqa: RUF012 - as in the base class
        **pickle._Unpickler.dispatch,
        pickle.ADDITEMS[0]: load_additems,
        pickle.BUILD[0]: load_build,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.STOP[0]: load_stop,
    }


def _dtype(code: str, *_: object) -> np.dtype:
    """A dtype of numbers or text, a copy of its own: its byte order follows as its state."""
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise Refused(f"an array of dtype {shown(code)}")
    return np.dtype(code, copy=True)


def _without_text(data: object) -> object:
    """The content of an array; `_decode_string` takes some of Python 2 for texts."""
    return data.encode() if isinstance(data, str) else data


def _set_of(items: list | tuple = ()) -> set:
    """A set of plain values: hashing a deeply nested one would crash the process."""
    if type(items) not in (list, tuple) or any(type(x) not in (str, int, float) for x in items):
        raise Refused(f"a set of {shown(items)}")
    if len(made := set(items)) < len(items):
        raise Refused("a value twice in a set")
    return made


def _array_from_bytes(
    data: bytes, dtype: np.dtype, shape: tuple, order: str, axes: tuple | None = None
) -> np.ndarray:
    _check_array(data, dtype, shape)
    if order == "K" and axes is not None:  # NumPy 2.3: axes in the order of the memory
        return np.frombuffer(data, dtype).reshape(shape).transpose(axes)
    if order not in ("C", "F"):
        raise Refused(f"an array of order {shown(order)}")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _check_array(data: bytes | bytearray | list, dtype: np.dtype, shape: tuple) -> None:
    """Compares the size that an array claims with its data."""
    of_objects = isinstance(dtype, np.dtype) and dtype.hasobject
    if of_objects and not (type(data) is list and all(type(item) is str for item in data)):
        raise Refused("an array of Python objects that are no texts")
    if not isinstance(dtype, np.dtype) or not (of_objects or isinstance(data, (bytes, bytearray))):
        raise Refused(f"an array of {shown(data)}, dtype {shown(dtype)}")
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise Refused(f"an array of shape {shown(shape)}")
    claimed = math.prod(shape) * (1 if of_objects else dtype.itemsize)
    if claimed != len(data):
        raise Refused(
            f"an array that claims {shown(shape)} elements of {dtype}, {shown(claimed)} bytes, "
            f"and has {len(data)}"
        )
