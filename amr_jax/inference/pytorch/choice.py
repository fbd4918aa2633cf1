"""Which weights of a file are meant, and as float32.

A checkpoint may hold a model beside an optimiser, a model and its average, or a teacher and a
student in one dict; and wrappers of PyTorch put their names before or into those of the weights.
A file may therefore have several candidates. Each has a weight that a prefix and `anchor`, a name
that every model has, make up.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from amr_jax.errors import BadFile
from amr_jax.inference.pytorch.torch_pickles import Foreign, Tensor

# What wrappers of PyTorch put into the names of weights: torch.compile, data-parallel training, and
# sharded or checkpointed modules.
_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")

_FLOATS = "float32, float16, bfloat16 or float64"
_EXPECTED = "a state dict, {name: tensor}, of MAMP or skeleton-MAE"
_NO_CODE = (
    "No code was run. If you trust the file, load it where its code is installed, and save "
    "only model.state_dict()."
)
_CONVERT = (
    "Convert the weights with PyTorch and save them again: "
    "{name: tensor.to_dense().float() for name, tensor in state.items()}."
)
_MAX_SHARING = 4  # how often tensors of a file may use the same numbers
_SHOWN = 5  # names in a message


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights of one model.

    Attributes:
      arrays: name -> array; float32 if it was stored as any floating-point type.
      key: which candidate of the file; '' if the file holds nothing else.
      notes: what was left aside or changed, one sentence each.
    """

    arrays: dict[str, np.ndarray]
    key: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """Weights in `owner`, the mapping at `path`, whose names begin with `prefix`."""

    path: tuple[str, ...]
    prefix: tuple[str, ...]
    owner: Mapping[str, Any]


def choose(tree: Any, anchor: str, key: str | None, path: object) -> Weights:
    """The weights in the content of a file.

    Args:
      tree: dicts and lists with arrays or `Tensor` in them.
      anchor: the name of a weight that every model has.
      key: of the candidate to choose; None: there is only one.
      path: how errors call the file.

    Raises:
      BadFile: no candidate, or several and no `key`; not tensors; tensors that share memory.
    """
    candidates = _candidates(tree, anchor)
    if not candidates:
        raise _nothing_found(tree, anchor, path)
    keyed = _by_key(candidates)
    named = [name for name in keyed if key is None or name == key]
    if len(named) != 1:
        keys = ", ".join(map(repr, keyed))
        found = f"{len(candidates)} models: {keys}" if len(candidates) > 1 else f"only {keys}"
        expected = "one" if key is None else f"one called {key!r}"
        raise BadFile(path, found, expected, hint="Choose: --key=NAME.")
    chosen = keyed[named[0]]
    named_values, others = _taken(chosen, candidates, path)
    arrays, notes = _as_float32(named_values, path)
    beside = _beside(tree, chosen.path)
    told = [f"taken from {named[0]!r}"] if named[0] else []
    told += [f"left out, of the same dict: {_few(others)}"] if others else []
    told += [f"not read, beside it: {_few(beside)}"] if beside else []
    return Weights(arrays, named[0], (*told, *notes))


def _candidates(tree: Any, anchor: str) -> list[_Candidate]:
    found, parts = [], anchor.split(".")
    for path, owner in _mappings(tree):
        for name in owner:
            raw = name.split(".") if isinstance(name, str) else []
            # The wrapper may be in the middle: joints_embed._orig_mod.proj.weight.
            for at in (i for i, part in enumerate(raw) if part == parts[0]):
                if _unwrapped(raw[at:]) == parts:
                    found.append(_Candidate(path, tuple(raw[:at]), owner))
    return found


def _by_key(candidates: list[_Candidate]) -> dict[str, _Candidate]:
    """By names for users: the way to each, without what wrappers add unless that is all."""
    short = ["/".join((*c.path, *_unwrapped(c.prefix))) for c in candidates]
    return {
        name if short.count(name) == 1 else "/".join((*c.path, *c.prefix)): c
        for name, c in zip(short, candidates, strict=True)
    }


def _mappings(tree: Any) -> Iterator[tuple[tuple[str, ...], Mapping]]:
    """All dicts in a tree, outer ones first, each once, with the keys that lead to them."""
    level, seen = [((), tree)], set()
    while level:
        inner = []
        for path, node in level:
            if not isinstance(node, (dict, list, tuple)) or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, dict):
                yield path, node
            items = node.items() if isinstance(node, dict) else enumerate(node)
            inner += [((*path, str(name)), child) for name, child in items]
        level = inner


def _unwrapped(parts) -> list[str]:
    return [part for part in parts if part not in _WRAPPERS]


def _taken(
    chosen: _Candidate, candidates: list[_Candidate], path: object
) -> tuple[dict[str, Any], list[str]]:
    """The values of a candidate by their names in the model, and the names that are not its own."""
    length, own, others = len(chosen.prefix), {}, []
    inner = [c.prefix for c in candidates if c.owner is chosen.owner and len(c.prefix) > length]
    for name, value in chosen.owner.items():
        raw = tuple(name.split(".")) if isinstance(name, str) else ()
        if not isinstance(name, str) and not length:
            raise BadFile(path, f"the name {name!r:.80}", "texts as names of weights")
        if raw[:length] != chosen.prefix or any(raw[: len(p)] == p for p in inner):
            others.append(str(name))
            continue
        short = ".".join(_unwrapped(raw[length:]))
        if short in own:
            raise BadFile(path, f"the weight {short!r} twice, as {name!r} too", "every name once")
        own[short] = value
    return own, others


def _as_float32(values: dict[str, Any], path: object) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays, floating-point ones as float32, and notes on how they were stored."""
    _check_sharing(values, path)
    arrays, counts, rounded, smallest = {}, {}, 0.0, np.finfo(np.float64).tiny
    for name, value in values.items():
        if not isinstance(value, (Tensor, np.ndarray)):
            kind = value.name if isinstance(value, Foreign) else type(value).__name__
            hint = _CONVERT if kind.startswith("torch.") else None
            if hint is None and isinstance(value, Foreign):
                hint = _NO_CODE
            raise BadFile(path, f"{name!r}: {kind}", f"only tensors of {_FLOATS}", hint=hint)
        stored = value.array() if isinstance(value, Tensor) else value
        if stored.dtype.kind == "V" and stored.dtype.itemsize == 2:  # so NumPy stores bfloat16
            stored = stored.view(ml_dtypes.bfloat16)
        arrays[name] = stored
        if stored.dtype.kind != "f" and stored.dtype != ml_dtypes.bfloat16:
            continue  # left for the check of names and types
        with np.errstate(over="ignore"):
            arrays[name] = np.array(stored, np.float32, order="C")
        counts[stored.dtype.name] = counts.get(stored.dtype.name, 0) + 1
        if stored.dtype.itemsize > 4:
            lost = np.isfinite(stored) & ~np.isfinite(arrays[name])
            if lost.any():
                found = f"{name} with {stored[lost][0]:g} in {stored.dtype}"
                raise BadFile(path, found, "numbers within the range of float32")
            error = np.abs(stored - arrays[name]) / np.maximum(np.abs(stored), smallest)
            rounded = max(rounded, float(np.nan_to_num(error).max(initial=0.0)))
    notes = []
    for kind, count in counts.items():
        if kind != "float32" and not (rounded and np.dtype(kind).itemsize > 4):
            notes.append(f"{count} arrays of {kind} became float32, exactly")
        elif kind != "float32":
            notes.append(
                f"{count} arrays of {kind} were rounded to float32, by {rounded:.1e} of a value at "
                "most"
            )
    return arrays, notes


def _check_sharing(values: dict[str, Any], path: object) -> None:
    """Refuses tensors that claim far more numbers than the file holds."""
    tensors = [value for value in values.values() if isinstance(value, Tensor)]
    stored = sum({id(t.storage): t.storage.size for t in tensors}.values())
    claimed = sum(math.prod(t.shape) for t in tensors)
    if claimed > _MAX_SHARING * stored:
        found = f"tensors of {claimed:,} numbers, which share {stored:,}"
        raise BadFile(path, found, "weights with numbers of their own")


def _beside(tree: Any, path: tuple[str, ...]) -> list[str]:
    """The keys beside those that lead to a mapping."""
    names = []
    for step in path:
        items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
        names += [str(name) for name, _ in items if str(name) != step]
        tree = next(child for name, child in items if str(name) == step)
    return names


def _nothing_found(tree: Any, anchor: str, path: object) -> BadFile:
    """The error for a file without a candidate: what it holds instead."""
    if isinstance(tree, Foreign):
        return BadFile(path, f"an object of {tree.name}", _EXPECTED, hint=_NO_CODE)
    if not isinstance(tree, dict):
        return BadFile(path, f"a {type(tree).__name__}", _EXPECTED)
    for way, owner in _mappings(tree):
        names = [str(n) for n, v in owner.items() if isinstance(v, (Tensor, np.ndarray))]
        if names:
            place = f"in {'/'.join(way)!r}" if way else "among its names"
            return BadFile(path, f"no {anchor!r} {place} ({_few(names)})", _EXPECTED)
    kinds = [
        f"{name!r}: {v.name if isinstance(v, Foreign) else type(v).__name__}"
        for name, v in tree.items()
    ]
    hint = _NO_CODE if any(isinstance(v, Foreign) for v in tree.values()) else None
    return BadFile(path, f"no tensors ({_few(kinds) or 'nothing at all'})", _EXPECTED, hint=hint)


def _few(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:80] for name in names[:_SHOWN]) + more
