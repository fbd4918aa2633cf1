"""Joints of several layouts: which are the same joint, and one layout that has them all."""

import dataclasses
from collections.abc import Sequence

from amr_jax.skeleton import layouts
from amr_jax.skeleton.layouts import Layout


def match_joints(source: Layout, target: Layout) -> dict[str, str | None]:
    """The source joint for every target joint, in the order of the target; None: no counterpart.

    Counterparts have the same name, or stand together in `layouts.SAME_JOINT`.
    """

    def counterpart(joint: str) -> str | None:
        if joint in source.joints:
            return joint
        also = (name for same in layouts.SAME_JOINT if joint in same for name in same)
        return next((name for name in also if name in source.joints), None)

    return {joint: counterpart(joint) for joint in target.joints}


def places(union: Layout, layout: Layout) -> tuple[int, ...] | None:
    """Where the joints of a layout are in a union, (V,); None: one is not in it, or two are one."""
    found = match_joints(union, layout).values()
    if None in found or len(set(found)) < len(found):
        return None
    return tuple(map(union.joints.index, found))


def of_layouts(members: Sequence[Layout]) -> Layout:
    """The union of layouts: the joints of the largest in its own order, then those it lacks.

    The largest (of equals the first) also gives name, bones, parts and centre. A joint that it
    lacks hangs on its parent in its own layout, or on the root of the largest if it has none.
    """
    largest = max(members, key=lambda layout: layout.num_joints)
    union = largest
    for layout in members:
        union = _extended(union, layout)
    if union.num_joints > largest.num_joints:
        names = dict.fromkeys(layout.name for layout in (largest, *members))
        union = dataclasses.replace(union, name="+".join(names))
    return union


def other_parent(union: Layout, layout: Layout) -> str | None:
    """A joint of the layout that has another parent in the union, and so another bone; or None."""
    at = places(union, layout)
    for joint, (own, parent) in enumerate(zip(at, layout.parents, strict=True)):
        if union.parents[own] != at[parent]:
            return layout.joints[joint]
    return None


def _extended(union: Layout, layout: Layout) -> Layout:
    """The union with the joints of the layout that it lacks."""
    matched = match_joints(union, layout)
    new = [joint for joint, known in matched.items() if known is None]
    joints = (*union.joints, *new)
    at = [joints.index(known or joint) for joint, known in matched.items()]  # places of its joints
    root = next(joint for joint, parent in enumerate(union.parents) if joint == parent)
    bones, parts, pairs = list(union.bones), dict(union.parts), list(union.left_right)
    for joint in map(layout.joints.index, new):
        parent = layout.parents[joint]
        bones.append((at[joint], root if parent == joint else at[parent]))
        part = next(name for name, own in layout.parts.items() if joint in own)
        parts[part] = (*parts.get(part, ()), at[joint])
    for left, right in layout.left_right:
        if not {at[left], at[right]} & {joint for pair in pairs for joint in pair}:
            pairs.append((at[left], at[right]))
    return Layout(union.name, joints, tuple(bones), tuple(pairs), parts, union.centre)
