"""Settings: the default, bounds and help of each config key, defined once, and their checker.

A tree is a nested dict of `Setting`; the config made from it has the same keys. The shared trees
are in `base.py` (pre-training), `evaluation.py` and `comparison.py`, those of a method or protocol
in its own file, `configs/NAME.py`. A rule across several settings is a function in `checks.py`.
config/ imports no JAX.
"""

import dataclasses
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import ml_collections
from ml_collections import config_dict

from amr_jax.errors import UserError, did_you_mean

# A number, or the key of another setting, or 'KEY / KEY'.
Bound = float | str | None

_HELP_COLUMN = 44


@dataclasses.dataclass(frozen=True)
class Setting:
    """One key of a config.

    Bounds hold for each number of a tuple. They may name other settings: 'optim.lr', or
    'encoder.num_frames / encoder.patch_len'.

    Attributes:
      default: its value. None means "not given"; for such settings, 0 and '' also mean None.
      help: one line.
      kind: type of the value, where the default is None.
      low, high: inclusive bounds. above, below: exclusive bounds.
      choices: the allowed values.
      length: number of elements of a tuple.
      divides: the value must divide this.
      rule: (config, value) → what was expected, or None if the value is allowed.
    """

    default: Any
    help: str
    kind: type | None = None
    low: Bound = None
    high: Bound = None
    above: Bound = None
    below: Bound = None
    choices: tuple = ()
    length: int | None = None
    divides: str | None = None
    rule: Callable[[ml_collections.ConfigDict, Any], str | None] | None = None


# An empty section, {}, accepts any keys.
Tree = Mapping[str, Any]


class Own(dict):
    """A section that is a config of its own: its bounds and rules refer to keys within it."""


def defaults(tree: Tree) -> ml_collections.ConfigDict:
    """The config of a tree; a default of None is a placeholder, which takes values of its type."""
    config = ml_collections.ConfigDict()
    for key, entry in tree.items():
        if not isinstance(entry, Setting):
            config[key] = defaults(entry)
        elif entry.default is None:
            config[key] = config_dict.placeholder(entry.kind)
        else:
            config[key] = entry.default
    return config


def completed(config: ml_collections.ConfigDict, tree: Tree) -> ml_collections.ConfigDict:
    """A locked copy of a config, with missing keys at their defaults; not checked.

    Raises:
      UserError: a key that the tree does not have.
    """
    copy = ml_collections.ConfigDict(config.copy_and_resolve_references())
    copy.unlock()
    _complete(copy, tree, tree, "")
    for key in tree:
        if not tree[key] and key in config:
            copy[key] = config[key]  # copying loses the order of keys
    return copy.lock()


def check(config: Mapping, tree: Tree) -> None:
    """Raises `UserError` for the first value that is out of bounds, in the order of the tree."""
    _check_section(config, tree, "", "config.")


def _check_section(whole: Mapping, tree: Tree, section: str, named: str) -> None:
    """Checks the settings below `section`, a dotted prefix of keys; `named` is that in messages."""
    for key, entry in tree.items():
        if isinstance(entry, Setting):
            _check_one(whole, f"{section}{key}", entry, f"{named}{key}")
        elif isinstance(entry, Own):
            _check_section(lookup(whole, f"{section}{key}"), entry, "", f"{named}{key}.")
        else:
            _check_section(whole, entry, f"{section}{key}.", f"{named}{key}.")


def _complete(config: ml_collections.ConfigDict, tree: Tree, whole: Tree, prefix: str) -> None:
    for key in config:
        if key not in tree:
            raise UserError(unknown_key(f"config.{prefix}{key}", flat(whole)))
    for key, entry in tree.items():
        if isinstance(entry, Setting):
            value = config.get(key, entry.default)
            if entry.default is None:
                # A placeholder, so that the key still takes values of its type.
                value, given = config_dict.placeholder(entry.kind), value
                value.set(None if given in (0, "") and given is not False else given)
                if key in config:
                    del config[key]
            config[key] = value
            continue
        if key not in config:
            config[key] = defaults(entry)
        if entry:
            _complete(config[key], entry, whole, f"{prefix}{key}.")


def _check_one(config: Mapping, key: str, setting: Setting, name: str) -> None:
    value = lookup(config, key)
    if value is not None:
        expected = _shape(value, setting) or _bounds(config, value, setting)
        if expected:
            refuse(name, value, expected)
    if setting.rule and (expected := setting.rule(config, value)):
        refuse(name, value, expected)


def _shape(value: Any, setting: Setting) -> str | None:
    """The expected kind or length; None if `value` has it."""
    kind = _kind(setting.default) if setting.default is not None else _KINDS[setting.kind]
    if _kind(value) != kind:
        return kind
    if kind == "a tuple":
        if setting.length is not None and len(value) != setting.length:
            return f"{setting.length} numbers"
        if not value and _is_bounded(setting):
            return "at least one number"
        if setting.default and {_kind(x) for x in value} - {_kind(setting.default[0])}:
            return f"a tuple, each {_kind(setting.default[0])}"
    return None


def _bounds(config: Mapping, value: Any, setting: Setting) -> str | None:
    """The bounds of the value, or of each number of a tuple; None if they hold."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    each = "each " if isinstance(value, (tuple, list)) else ""
    if setting.choices and any(x not in setting.choices for x in values):
        return each + one_of(setting.choices)
    if setting.divides:
        size, named = _bound(config, setting.divides)
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        if any(x not in divisors for x in values):
            return f"{each}a divisor of {size}{named}: {one_of(divisors)}"
    wanted, within = [], True
    for word, bound, holds in (
        ("at least", setting.low, lambda x, limit: x >= limit),
        ("above", setting.above, lambda x, limit: x > limit),
        ("at most", setting.high, lambda x, limit: x <= limit),
        ("below", setting.below, lambda x, limit: x < limit),
    ):
        if bound is not None:
            limit, named = _bound(config, bound)
            wanted.append(f"{word} {limit}{named}")
            within &= all(holds(x, limit) for x in values)
    return None if within else each + " and ".join(wanted)


def _bound(config: Mapping, bound: float | str) -> tuple[Any, str]:
    """The value of a bound, and ' (NAME)' if it refers to other settings."""
    if not isinstance(bound, str):
        return bound, ""
    number, *divisors = (lookup(config, key) for key in bound.split(" / "))
    for divisor in divisors:
        number //= divisor
    return number, f" ({bound})"


def _is_bounded(setting: Setting) -> bool:
    bounds = (setting.low, setting.high, setting.above, setting.below, setting.divides)
    return any(bound is not None for bound in bounds)


_KINDS = {
    bool: "True or False",
    int: "a number",
    float: "a number",
    str: "text",
    tuple: "a tuple",
    list: "a tuple",  # as JSON stores it
}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def refuse(name: str, value: Any, expected: str) -> NoReturn:
    """Raises the `UserError` for the value of a setting or flag."""
    raise UserError(f"{name} = {value!r}: expected {expected}.")


def require_choice(name: str, value: Any, choices: Iterable) -> None:
    """Raises `UserError` unless `value` is one of `choices`; the hint names the nearest."""
    choices = tuple(choices)
    if value not in choices:
        hint = did_you_mean(str(value), map(str, choices), "'{}'")
        raise UserError(f"{name} = {value!r}: expected {one_of(choices)}.{hint}")


def one_of(choices: Iterable) -> str:
    """'a', 'b' or 'c'."""
    *most, last = map(repr, choices)
    return f"{', '.join(most)} or {last}" if most else last


def unknown_key(found: str, known: Iterable[str]) -> str:
    """The message for the unknown key `found`, 'config.KEY'; hints at the nearest of `known`."""
    hint = did_you_mean(found.partition("config.")[2], known, "config.{}")
    return f"{found}: unknown key.{hint or ' --help lists the keys.'}"


def lookup(config: Mapping, key: str) -> Any:
    """The value at a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


def flat(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """The leaves of a tree or config by dotted key; an empty section is a leaf."""
    leaves = {}
    for key, entry in tree.items():
        if isinstance(entry, (Mapping, ml_collections.ConfigDict)) and entry:
            leaves |= flat(entry, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = entry
    return leaves


def described(tree: Tree, config: ml_collections.ConfigDict) -> str:
    """The keys of a config for --help: a line each, with value, meaning and bounds."""
    return "\n".join(_lines(tree, config))


def _lines(tree: Tree, config: ml_collections.ConfigDict) -> Iterator[str]:
    for key, setting in flat(tree).items():
        if not isinstance(setting, Setting):
            continue
        head = f"  --config.{key}={lookup(config, key)}"
        bounds = _bounds_in_words(setting)
        text = f"{setting.help} ({bounds})" if bounds else setting.help
        body = textwrap.wrap(text, 100 - _HELP_COLUMN)
        if len(head) < _HELP_COLUMN:
            yield head.ljust(_HELP_COLUMN) + body.pop(0)
        else:
            yield head
        yield from (" " * _HELP_COLUMN + line for line in body)


def _bounds_in_words(setting: Setting) -> str:
    words = [one_of(setting.choices)] if setting.choices else []
    words += [f"divides {setting.divides}"] if setting.divides else []
    for word, bound in (
        ("at least", setting.low),
        ("above", setting.above),
        ("at most", setting.high),
        ("below", setting.below),
    ):
        words += [f"{word} {bound}"] if bound is not None else []
    return ", ".join(words)
