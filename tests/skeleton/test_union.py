"""Joints of several layouts as one."""

import itertools

import pytest

from amr_jax.skeleton import layouts, union

ALL = tuple(layouts.LAYOUTS.values())


def names(layout):
    """Its joints by the name that the first of the joint's names has."""
    first = {name: same[0] for same in layouts.SAME_JOINT for name in same}
    return {first.get(joint, joint) for joint in layout.joints}


@pytest.mark.parametrize(
    ("one", "other"), [*itertools.combinations(ALL, 2)], ids=lambda layout: layout.name
)
def test_a_union_is_a_layout_with_the_joints_of_both(one, other):
    both = union.of_layouts([one, other])
    assert names(both) == names(one) | names(other)
    assert both.num_joints == len(names(both))
    largest = max(one, other, key=lambda layout: layout.num_joints)
    assert both.joints[: largest.num_joints] == largest.joints
    assert both.bones[: len(largest.bones)] == largest.bones
    assert both.centre == largest.centre
    # A tree, parts that hold every joint once, and sides that are each other's.
    assert len(both.bones) == both.num_joints - 1
    for joint in range(both.num_joints):
        seen = [joint]
        while both.parents[seen[-1]] != seen[-1]:
            seen.append(both.parents[seen[-1]])
            assert len(seen) <= both.num_joints
    in_parts = sorted(joint for part in both.parts.values() for joint in part)
    assert in_parts == list(range(both.num_joints))
    assert [both.mirrored[joint] for joint in both.mirrored] == list(range(both.num_joints))
    for layout in (one, other):
        at = union.places(both, layout)
        assert len(set(at)) == layout.num_joints
        for joint, place in enumerate(at):
            assert names_of(both.joints[place]) == names_of(layout.joints[joint])
            side = layout.mirrored[joint]
            assert side == joint or both.mirrored[place] == at[side]


def names_of(joint):
    return next((same[0] for same in layouts.SAME_JOINT if joint in same), joint)


def test_the_joints_of_the_small_sets_are_those_of_kinect():
    both = union.of_layouts([layouts.OPENNI_15, layouts.KINECT_20])
    assert both == layouts.KINECT_20
    at = union.places(both, layouts.OPENNI_15)
    assert len(at) == 15
    # KARD has another root, and hips that hang on the spine.
    assert union.other_parent(both, layouts.OPENNI_15) == "shoulder centre"
    assert union.other_parent(both, layouts.KINECT_20) is None


def test_joints_that_are_not_there():
    assert union.places(layouts.OPENNI_15, layouts.KINECT_20) is None
