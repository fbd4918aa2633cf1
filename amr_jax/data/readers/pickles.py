"""Reads plain data and numpy arrays out of a pickle, and can do nothing else.

A pickle is a program for a small machine that may import and call whatever it names; `pickle.load`
runs it. The machine here knows the instructions that make None, numbers, texts, bytes, tuples,
lists and dicts. It never imports and never calls by name: of the names that numpy writes, it knows
what data they stand for, and makes that itself. Whatever else a file asks for is an error. An
array's size is checked against the bytes that are there before anything is made of it.

Pickles of protocols 2 to 5, arrays as numpy 1 and 2 write them.
"""

import enum
import io
import math
import pickletools
import re
import struct
from collections.abc import Callable

import numpy as np

from amr_jax.errors import BadFile

# Each may cost some hundred bytes of memory. In exchange files they are few, and arrays are large;
# a file may have this many, or one in so many of its bytes.
MAX_INSTRUCTIONS = 2_000_000
_BYTES_PER_INSTRUCTION = 16

_PROTOCOL = b"\x80"  # the first instruction, since protocol 2
_EXPECTED = "plain data and numpy arrays"
_HINT = (
    "Nothing of it was run. If you trust the file, load it where its code is installed, and save "
    "its content as dicts, lists and numpy arrays of numbers."
)
_DTYPE = re.compile(r"[biuf][1248]|U[1-9]\d{0,4}")  # numbers; texts of fixed length
# What pickletools, struct and the machine raise on instructions that are cut off or make no sense.
_DAMAGED = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
    struct.error,
)  # fmt: skip


def shown(value: object) -> str:
    """A value out of a pickle, for an error: short, whatever it is and however it is nested.

    Texts and numbers alone are rendered. A list of itself many times over would fill the memory, a
    deep one end in a recursion, a number of thousands of digits in an error of Python's own.
    """
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, (bool, float)):
        return str(value)
    if isinstance(value, int) and abs(value) < 10**18:
        return f"{value:,}"
    if type(value) is tuple and len(value) < 8 and all(type(x) is int for x in value):
        return f"({', '.join(map(shown, value))})"
    return f"a {type(value).__name__}"


class _Refused(Exception):
    """A pickle that asks for something else than data."""


def load(data: bytes, path: object) -> object:
    """The content of a pickle.

    Args:
      data: the whole file.
      path: what to call the file in an error.

    Returns:
      Plain data; arrays are read-only views of `data` or of copies of its parts.

    Raises:
      BadFile: truncated, damaged, or asks for anything but plain data and arrays of numbers.
    """
    if data and data[:1] != _PROTOCOL:
        raise BadFile(
            path,
            f"a file that begins with {data[:8]!r}",
            "a pickle of protocol 2 to 5",
            hint="Unpack it, if it is compressed; an older pickle, load and save again: "
            "pickle.dump(content, file, protocol=4).",
        )
    machine, stream = _Machine(), io.BytesIO(data)
    most = max(MAX_INSTRUCTIONS, len(data) // _BYTES_PER_INSTRUCTION)
    try:
        for number, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
            if number >= most:
                raise _Refused(f"more than {most:,} instructions")
            instruction = _INSTRUCTIONS.get(opcode.name)
            if instruction is None:
                raise _Refused(f"the instruction {opcode.name}")
            instruction(machine, arg)
        # Python's own reader does not mind; but what no longer hangs together would go unnoticed.
        if machine.below or len(machine.stack) != 1 or stream.read(1):
            raise _Refused("more in it than its content")
        return _made(machine.pop())
    except _Refused as error:
        raise BadFile(path, f"a pickle with {error}", _EXPECTED, hint=_HINT) from error
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadFile(path, f"a damaged pickle ({reason})", "a complete one") from error


class _Name(enum.Enum):
    """What a name in a pickle stands for."""

    NDARRAY = enum.auto()
    RECONSTRUCT = enum.auto()  # an array, its state to follow
    FROM_BUFFER = enum.auto()  # an array from its bytes
    DTYPE = enum.auto()  # its byte order to follow
    SCALAR = enum.auto()
    BYTES = enum.auto()
    LATIN1 = enum.auto()  # bytes, written as a text
    ORDERED_DICT = enum.auto()


_NAMES = {
    "numpy ndarray": _Name.NDARRAY,
    "numpy dtype": _Name.DTYPE,
    "numpy.core.multiarray _reconstruct": _Name.RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _Name.RECONSTRUCT,
    "numpy.core.multiarray scalar": _Name.SCALAR,
    "numpy._core.multiarray scalar": _Name.SCALAR,
    "numpy.core.numeric _frombuffer": _Name.FROM_BUFFER,
    "numpy._core.numeric _frombuffer": _Name.FROM_BUFFER,
    "_codecs encode": _Name.LATIN1,
    "__builtin__ bytes": _Name.BYTES,
    "builtins bytes": _Name.BYTES,
    "collections OrderedDict": _Name.ORDERED_DICT,
}


class _Dtype:
    """A dtype in the making: its kind and size first, its byte order when its state is set."""

    def __init__(self, code: str):
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            objects = isinstance(code, str) and code in ("O", "O8")
            raise _Refused(f"an array of {'objects' if objects else f'dtype {shown(code)}'}")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array in the making: empty until its state is set."""

    value: np.ndarray | None = None

    def set_state(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: bytes, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
    """The array of these bytes, without copying them."""
    if not isinstance(data, (bytes, bytearray)):
        raise _Refused("an array that is not made of bytes (an array of objects)")
    if not all(type(size) is int and size >= 0 for size in shape) or order not in ("C", "F"):
        raise _Refused(f"an array of shape {shown(shape)}, order {shown(order)}")
    claimed = math.prod(shape) * dtype.dtype.itemsize
    if claimed != len(data):
        raise _Refused(
            f"an array that claims {shown(shape)} elements of {dtype.dtype}, {shown(claimed)} "
            f"bytes, and has {len(data):,}"
        )
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def _from_buffer(data, dtype, shape, order, axes=None) -> np.ndarray:
    if order == "K" and axes is not None:
        # Axes in the order of the memory, as newer numpy writes an array of any such order.
        return _array(data, dtype, shape, "C").transpose(axes)
    return _array(data, dtype, shape, order)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _Refused(f"a text in {shown(encoding)}")
    return text.encode("latin1")


def _made(value: object) -> object:
    """The array itself, of one that was in the making."""
    return value.value if isinstance(value, _Array) and value.value is not None else value


_CALLS: dict[_Name, Callable] = {
    _Name.RECONSTRUCT: lambda *_: _Array(),
    _Name.FROM_BUFFER: _from_buffer,
    _Name.DTYPE: lambda code, *_: _Dtype(code),
    _Name.SCALAR: lambda dtype, data: _whole(_array(data, dtype, (), "C").item()),
    _Name.BYTES: lambda: b"",
    _Name.LATIN1: _latin1,
    _Name.ORDERED_DICT: lambda: {},
}


class _Machine:
    """The stack, the stacks below its marks, and the memo."""

    def __init__(self):
        self.stack: list = []
        self.below: list[list] = []
        self.memo: dict[int, object] = {}

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        return self.stack.pop()

    def pop_to_mark(self) -> list:
        items, self.stack = self.stack, self.below.pop()
        return [_made(item) for item in items]

    def mark(self, _) -> None:
        self.below.append(self.stack)
        self.stack = []

    def tuple_of(self, count: int) -> None:
        items = [_made(self.pop()) for _ in range(count)]
        self.push(tuple(reversed(items)))

    def remember(self, number: int | None) -> None:
        self.memo[len(self.memo) if number is None else number] = self.stack[-1]

    def recall(self, number: int) -> None:
        self.push(_made(self.memo[number]))

    def name(self, name: str) -> None:
        if name not in _NAMES:
            raise _Refused(f"the name {name[:80].replace(' ', '.')}")
        self.push(_NAMES[name])

    def name_from_stack(self, _) -> None:
        attribute, module = self.pop(), self.pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise _Refused("a name that is no text")
        self.name(f"{module} {attribute}")

    def call(self, _) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, _Name) or name not in _CALLS:
            raise _Refused("a call of something that is no name")
        self.push(_CALLS[name](*arguments))

    def set_state(self, _) -> None:
        state, target = self.pop(), self.stack[-1]
        if not isinstance(target, (_Array, _Dtype)):
            raise _Refused(f"a state for a {type(target).__name__}")
        target.set_state(state)
        self.stack[-1] = _made(target)

    def append(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise _Refused("an element for what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list) -> None:
        if type(self.stack[-1]) is not dict:
            raise _Refused("an item for what is no dict")
        if not all(isinstance(key, (str, int, float)) for key in items[::2]):
            # Others would have to be hashed, and a deeply nested one then ends the process.
            raise _Refused("a key that is neither a text nor a number")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key in self.stack[-1]:  # one of the two values would be lost
                raise _Refused(f"the key {shown(key)} twice")
            self.stack[-1][key] = value


def _value(machine: _Machine, arg: object) -> None:
    machine.push(_whole(arg))


def _whole(value: object) -> object:
    """The value; of a text, `UnicodeError` if it has half a character, which nothing can print."""
    if isinstance(value, str):
        value.encode()
    return value


def _ignore(machine: _Machine, arg: object) -> None:
    del machine, arg


def _take(machine: _Machine, count: int) -> list:
    items = [_made(machine.pop()) for _ in range(count)]
    return items[::-1]


_INSTRUCTIONS: dict[str, Callable[[_Machine, object], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _ignore),
    **dict.fromkeys(
        (
            "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
            "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
            "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
        ),
        _value,
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append(_take(machine, 1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(_take(machine, 2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "MEMOIZE": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
}  # fmt: skip
