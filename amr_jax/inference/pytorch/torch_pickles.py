"""What a pickle of `torch.save` holds: tensors, their storages, and objects that are not loaded.

An object whose class is unknown here becomes a `Foreign`, which has the name of the class and
nothing else.
"""

import dataclasses
import math
import pickle

import numpy as np

from amr_jax.data.readers import pickles

_MAX_AXES = 32  # NumPy's limit is higher


@dataclasses.dataclass(frozen=True, eq=False)
class Foreign:
    """In the place of an object that is not loaded; ignores what the pickle does with it.

    Attributes:
      name: of its class or function.
    """

    name: str

    def __call__(self, *_) -> "Foreign":
        return Foreign(self.name)

    def append(self, _) -> None:
        """Ignores an item."""

    extend = append


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """The numbers that tensors share; `contents` has the bytes of all storages by their keys."""

    key: str
    dtype: np.dtype
    size: int
    contents: dict[str, bytes]


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage; offset and strides in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.storage.dtype

    def array(self) -> np.ndarray:
        """The numbers; read-only, because tensors may share them."""
        numbers = np.frombuffer(self.storage.contents[self.storage.key], self.dtype)
        strides = [stride * self.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :], self.shape, strides, writeable=False
        )


class Unpickler(pickles.Unpickler):
    """Builds dicts, lists, numbers and tensors; everything else is `Foreign`."""

    def __init__(self, data: bytes, storage):
        super().__init__(data)
        self.persistent_load = storage
        self._names = {
            "torch._utils._rebuild_tensor": _tensor,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_tensor_v3": _tensor_of_new_type,
            "torch._utils._rebuild_parameter": _data,
            "torch._utils._rebuild_parameter_with_state": _data,
            "torch._tensor._rebuild_from_type_v2": lambda function, kind, args, *_: function(*args),
            "collections.OrderedDict": self._dict,
            "collections.defaultdict": lambda *_: {},
        }

    def find_class(self, module: str, name: str) -> object:
        full = f"{module}.{name}"
        full.encode()  # refuses half a surrogate pair
        return self._names.get(full, Foreign(full[:80]))

    def load_build(self) -> None:
        """Drops the state of an object, such as the attributes of an OrderedDict."""
        self.stack.pop()
        if not isinstance(self.stack[-1], (dict, Foreign, Tensor)):
            raise pickles.Refused(f"a state for {pickles.shown(self.stack[-1])}")

    def _load_new_object(self) -> None:
        self.stack.pop()
        self._replace_class()

    def _load_new_object_with_names(self) -> None:
        del self.stack[-2:]
        self._replace_class()

    def _replace_class(self) -> None:
        if not isinstance(self.stack[-1], Foreign):
            raise pickles.Refused(f"an object of {pickles.shown(self.stack[-1])}")
        self.stack[-1] = self.stack[-1]()

    def _load_set(self) -> None:
        self.append(Foreign("set"))  # hashing deeply nested items would crash

    def _load_items(self) -> None:
        self.pop_mark()

    def _load_frozen_set(self) -> None:
        self.pop_mark()
        self.append(Foreign("frozenset"))

    def _dict(self, pairs: list = ()) -> dict:
        """An OrderedDict; Python 2 wrote its items as pairs."""
        made: dict = {}
        for key, value in pairs:
            self.set_item(made, key, value)
        return made

    def set_item(self, target: object, key: object, value: object) -> None:
        """Adds an item; a key that is not plain is replaced, because to hash it might crash."""
        if isinstance(target, Foreign):
            return
        if type(target) is dict and not isinstance(key, (str, int, float)):
            target[Foreign(type(key).__name__)] = value
        else:
            super().set_item(target, key, value)

    dispatch = {  # noqa: RUF012 - as in the base class
        **pickles.Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.NEWOBJ[0]: _load_new_object,
        pickle.NEWOBJ_EX[0]: _load_new_object_with_names,
        pickle.EMPTY_SET[0]: _load_set,
        pickle.ADDITEMS[0]: _load_items,
        pickle.FROZENSET[0]: _load_frozen_set,
    }


def _tensor_of_new_type(*args) -> Foreign:
    """A tensor of a type without a storage of its own, such as eight-bit floats."""
    dtype = args[6]
    return Foreign(dtype.name if isinstance(dtype, Foreign) else "torch.Tensor")


def _data(tensor: object, *_) -> object:
    """The tensor of a parameter."""
    return tensor


def _tensor(storage: object, offset: int, shape: tuple, strides: tuple, *_) -> Tensor | Foreign:
    """A tensor, if it lies within its storage and claims no more numbers than there are."""
    if isinstance(storage, Foreign):
        return storage
    axes = (shape, strides)
    if (
        type(storage) is not Storage
        or not all(type(x) is tuple and len(x) <= _MAX_AXES for x in axes)
        or len(shape) != len(strides)
        or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
    ):
        raise pickles.Refused(f"a tensor of shape {pickles.shown(shape)}")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.size or (0 not in shape and last >= storage.size):
        raise pickles.Refused(
            f"a tensor of shape {pickles.shown(shape)} in {storage.size:,} numbers"
        )
    return Tensor(storage, offset, shape, strides)
