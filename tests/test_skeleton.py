"""The layouts against the data sets' own (1-based) lists and against what a skeleton must be."""

import pytest

from amr_jax import skeleton

# (child, parent), 1-based, as the data sets' documents list them.
BONES = {
    "ntu_25": (
        "(1,2) (2,21) (3,21) (4,3) (5,21) (6,5) (7,6) (8,7) (9,21) (10,9) (11,10) (12,11) (13,1) "
        "(14,13) (15,14) (16,15) (17,1) (18,17) (19,18) (20,19) (22,23) (23,8) (24,25) (25,12)"
    ),
    "kinect_20": (
        "(1,2) (2,3) (4,3) (5,3) (6,5) (7,6) (8,7) (9,3) (10,9) (11,10) (12,11) (13,1) (14,13) "
        "(15,14) (16,15) (17,1) (18,17) (19,18) (20,19)"
    ),
}
ROOTS = {"ntu_25": 20, "kinect_20": 2}

layouts = pytest.mark.parametrize("layout", skeleton.LAYOUTS.values(), ids=skeleton.LAYOUTS)


@layouts
def test_bones_are_those_of_the_documents(layout):
    pairs = [pair.strip("()").split(",") for pair in BONES[layout.name].split()]
    assert set(layout.bones) == {(int(child) - 1, int(parent) - 1) for child, parent in pairs}


@layouts
def test_bones_form_a_tree(layout):
    assert len(layout.bones) == layout.num_joints - 1
    assert layout.root == ROOTS[layout.name]
    for joint in range(layout.num_joints):
        steps = 0
        while joint != layout.root:
            joint, steps = layout.parents[joint], steps + 1
            assert steps < layout.num_joints, "a cycle"


@layouts
def test_names_are_unique_and_pairs_are_left_and_right_of_the_same(layout):
    assert len(set(layout.joints)) == layout.num_joints
    for left, right in layout.left_right:
        assert layout.joints[left].replace("left", "right") == layout.joints[right]
    sided = [i for i, joint in enumerate(layout.joints) if joint.startswith(("left", "right"))]
    assert sorted(joint for pair in layout.left_right for joint in pair) == sided


@layouts
def test_mirroring_keeps_the_bones_and_twice_is_nothing(layout):
    mirrored = layout.mirrored
    assert tuple(mirrored[joint] for joint in mirrored) == tuple(range(layout.num_joints))
    assert {(mirrored[child], mirrored[parent]) for child, parent in layout.bones} == set(
        layout.bones
    )


@layouts
def test_every_joint_is_in_one_part_and_on_its_side(layout):
    members = sorted(joint for part in layout.parts.values() for joint in part)
    assert members == list(range(layout.num_joints))
    for part, joints in layout.parts.items():
        side = part.split()[0]
        for joint in joints:
            first = layout.joints[joint].split()[0]
            assert first == side if side in ("left", "right") else first not in ("left", "right")


def test_sizes_and_centres():
    assert (skeleton.NTU_25.num_joints, skeleton.KINECT_20.num_joints) == (25, 20)
    assert skeleton.NTU_25.centre == skeleton.KINECT_20.centre == 1  # joint 2 of the documents
    assert "spine" in skeleton.NTU_25.joints[1]
    assert "spine" in skeleton.KINECT_20.joints[1]
