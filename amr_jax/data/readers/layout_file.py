"""Layouts of joints in JSON: a user's own in a file, and any layout in the metadata of records.

    {"name": "hand_6",
     "joints": ["wrist", "thumb", "index", "middle", "ring", "little"],
     "bones": [["thumb", "wrist"], ["index", "wrist"], ["middle", "wrist"], …],
     "left_right": [],
     "parts": {"palm": ["wrist"], "fingers": ["thumb", "index", "middle", "ring", "little"]},
     "centre": ["wrist"]}

`bones` are pairs [child, parent] that form a tree over all joints. Optional: `left_right` (default:
no pairs), `parts` (one part) and `centre` (the root).
"""

import collections
import graphlib
import os
from collections.abc import Iterable

from amr_jax.data.readers import bounded, bvh, files
from amr_jax.errors import BadFile, UserError
from amr_jax.skeleton.layouts import LAYOUTS, Layout

_REQUIRED = ("name", "joints", "bones")
_OPTIONAL = ("left_right", "parts", "centre")
_MAX_BYTES = 2**20  # limit for a file; a hundred joints take ten thousand


def find(layout: str) -> Layout:
    """Finds a layout by name or file.

    Args:
      layout: one of `LAYOUTS`, or the path of a file that ends in .json or, for its skeleton, .bvh.

    Raises:
      UserError: neither of them.
      BadFile: the file is no layout.
    """
    if layout in LAYOUTS:
        return LAYOUTS[layout]
    if layout.lower().endswith(".bvh"):
        archive, mark, member = os.path.expanduser(layout).rpartition("!")
        return bvh.layout(files.RawFile(archive, member) if mark else files.RawFile(member))
    if not layout.lower().endswith(".json"):
        raise UserError(
            f"--layout is {layout!r}; expected one of {', '.join(LAYOUTS)}, or the path of a .json "
            "file with your own layout (docs/own_data.md)."
        )
    return read(layout)


def read(path: str | os.PathLike) -> Layout:
    """Reads a layout from a file; `BadFile` names what is wrong with it."""
    raw = files.RawFile(os.path.expanduser(path))
    return from_json(bounded.load_json(raw.read(_MAX_BYTES), raw, "a layout in JSON"), raw)


def to_json(layout: Layout) -> str | dict:
    """The inverse of `from_json`: the name of a built-in layout, or the content of another one."""
    if layout.name in LAYOUTS:
        return layout.name

    def names(indices):
        return [layout.joints[joint] for joint in indices]

    centre = (layout.centre,) if isinstance(layout.centre, int) else layout.centre
    return {
        "name": layout.name,
        "joints": list(layout.joints),
        "bones": [names(bone) for bone in layout.bones],
        "left_right": [names(pair) for pair in layout.left_right],
        "parts": {part: names(joints) for part, joints in layout.parts.items()},
        "centre": names(centre),
    }


def from_json(content: object, path: object) -> Layout:
    """Makes a layout from the content of a file.

    Args:
      content: JSON as described above, or the name of a built-in layout.
      path: how errors call the file.

    Raises:
      BadFile: keys missing or unknown, names unknown or double, bones that form no tree, pairs or
        parts that share joints.
    """
    if isinstance(content, str) and content in LAYOUTS:
        return LAYOUTS[content]
    _check_keys(content, path)
    joints = _names(content["joints"], "joints", path)
    if not joints:
        raise BadFile(path, "no joint", "at least one name under 'joints'")
    _refuse_twice(joints, "the joint", path)
    index = {joint: i for i, joint in enumerate(joints)}

    def indices(value: object, key: str) -> tuple[int, ...]:
        """The joints of one name, or of a list of names."""
        names = _names(value, key, path)
        for name in names:
            if name not in index:
                known = ", ".join(joints)
                raise BadFile(path, f"{name!r} in {key!r}", f"one of the joints {known}")
        return tuple(index[name] for name in names)

    def pairs(key: str) -> tuple[tuple[int, ...], ...]:
        for pair in _list(content.get(key, []), key, path):
            if not isinstance(pair, list) or len(pair) != 2:
                raise BadFile(path, f"{pair!r} in {key!r}", "pairs of names, [a, b]")
        return tuple(indices(pair, key) for pair in content.get(key, []))

    bones, left_right = pairs("bones"), pairs("left_right")
    root = _root(joints, bones, path)
    _refuse_twice(_flat(left_right, joints), "in 'left_right', the joint", path)
    centre = indices(content.get("centre", joints[root]), "centre")
    parts = content.get("parts", {"body": list(joints)})
    if not isinstance(parts, dict):
        raise BadFile(path, f"{parts!r} under 'parts'", "an object, {part: [names]}")
    _names(list(parts), "parts", path)
    parts = {part: indices(names, "parts") for part, names in parts.items()}
    members = _flat(parts.values(), joints)
    _refuse_twice(members, "in 'parts', the joint", path)
    assigned = set(members)
    if missing := [joint for joint in joints if joint not in assigned]:
        raise BadFile(path, f"no part with {', '.join(missing)}", "every joint in one part")
    return Layout(
        name=content["name"],
        joints=joints,
        bones=bones,
        left_right=left_right,
        parts=parts,
        centre=centre[0] if len(centre) == 1 else centre or root,
    )


def _check_keys(content: object, path: object) -> None:
    if not isinstance(content, dict):
        raise BadFile(path, f"a JSON {type(content).__name__}", "a JSON object")
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise BadFile(path, f"the keys {', '.join(content) or 'none'}", f"also {missing[0]}")
    unknown = sorted(set(content) - {*_REQUIRED, *_OPTIONAL})
    if unknown:
        raise BadFile(path, f"the key {unknown[0]!r}", f"only {', '.join(_REQUIRED + _OPTIONAL)}")
    if not _is_name(content["name"]):
        raise BadFile(path, f"the name {content['name']!r}", "a text")
    if content["name"] in LAYOUTS:
        raise BadFile(path, f"the name {content['name']!r}", "a name that no built-in layout has")


def _list(value: object, key: str, path: object) -> list:
    if not isinstance(value, list):
        raise BadFile(path, f"{value!r} under {key!r}", "a list")
    return value


def _names(value: object, key: str, path: object) -> tuple[str, ...]:
    """A list of names, or one name."""
    names = [value] if isinstance(value, str) else _list(value, key, path)
    for name in names:
        if not _is_name(name):
            raise BadFile(path, f"{name!r} in {key!r}", "names")
    return tuple(names)


def _flat(groups: Iterable[tuple[int, ...]], joints: tuple[str, ...]) -> list[str]:
    return [joints[joint] for group in groups for joint in group]


def _is_name(value: object) -> bool:
    """Whether it is a text that can be printed: JSON may hold half a surrogate pair."""
    if not isinstance(value, str) or not value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _refuse_twice(names: tuple[str, ...] | list[str], what: str, path: object) -> None:
    name, count = collections.Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise BadFile(path, f"{what} {name!r} {count} times", "every joint once")


def _root(joints: tuple[str, ...], bones: tuple[tuple[int, ...], ...], path: object) -> int:
    """The only joint without a parent; bones connect all others to it."""
    _refuse_twice([joints[child] for child, _ in bones], "in 'bones', as a child,", path)
    parent = dict(bones)
    try:
        graphlib.TopologicalSorter({child: [joint] for child, joint in bones}).prepare()
    except graphlib.CycleError as error:
        cycle = ", ".join(joints[joint] for joint in error.args[1][1:])
        raise BadFile(path, f"a cycle of bones: {cycle}", "a tree") from error
    roots = [name for joint, name in enumerate(joints) if joint not in parent]
    if len(roots) > 1:
        raise BadFile(
            path,
            f"{len(roots)} joints without a parent ({', '.join(roots)})",
            "one, the root: every other joint is the child of one of the 'bones' [child, parent]",
        )
    return joints.index(roots[0])
