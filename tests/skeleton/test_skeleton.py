"""The layouts: against the data sets' lists (counted from 1), and as trees."""

import pytest

from amr_jax.skeleton import layouts

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
    # As published graph networks list them, 0-based there.
    "coco_17": (
        "(16,14) (14,12) (17,15) (15,13) (12,6) (13,7) (10,8) (8,6) (11,9) (9,7) (6,1) (7,1) "
        "(2,1) (4,2) (3,1) (5,3)"
    ),
    "openpose_18": (
        "(5,4) (4,3) (8,7) (7,6) (14,13) (13,12) (11,10) (10,9) (12,6) (9,3) (6,2) (3,2) (1,2) "
        "(16,1) (15,1) (18,16) (17,15)"
    ),
}
ROOTS = {
    "ntu_25": 20,
    "kinect_20": 2,
    "openni_15": 2,
    "coco_17": 0,
    "openpose_18": 1,
    "mediapipe_33": 0,
    "openpose_25": 8,
    "azure_kinect_32": 0,
}

every_layout = pytest.mark.parametrize("layout", layouts.LAYOUTS.values(), ids=layouts.LAYOUTS)


@pytest.mark.parametrize("name", BONES)
def test_bones_are_those_of_the_documents(name):
    layout = layouts.LAYOUTS[name]
    pairs = [pair.strip("()").split(",") for pair in BONES[name].split()]
    assert set(layout.bones) == {(int(child) - 1, int(parent) - 1) for child, parent in pairs}


@every_layout
def test_bones_form_a_tree(layout):
    assert len(layout.bones) == layout.num_joints - 1
    root = ROOTS[layout.name]
    assert layout.parents[root] == root
    for joint in range(layout.num_joints):
        steps = 0
        while joint != root:
            joint, steps = layout.parents[joint], steps + 1
            assert steps < layout.num_joints, "a cycle"


@every_layout
def test_names_are_unique_and_pairs_are_left_and_right_of_the_same(layout):
    assert len(set(layout.joints)) == layout.num_joints
    for left, right in layout.left_right:
        assert layout.joints[left].replace("left", "right") == layout.joints[right]
    sided = [i for i, joint in enumerate(layout.joints) if joint.startswith(("left", "right"))]
    assert sorted(joint for pair in layout.left_right for joint in pair) == sided


@every_layout
def test_mirroring_keeps_the_bones_and_twice_is_nothing(layout):
    mirrored = layout.mirrored
    assert tuple(mirrored[joint] for joint in mirrored) == tuple(range(layout.num_joints))
    assert {(mirrored[child], mirrored[parent]) for child, parent in layout.bones} == set(
        layout.bones
    )


@every_layout
def test_every_joint_is_in_one_part_and_on_its_side(layout):
    members = sorted(joint for part in layout.parts.values() for joint in part)
    assert members == list(range(layout.num_joints))
    for part, joints in layout.parts.items():
        side = part.split()[0]
        if side in ("left", "right"):
            assert {layout.joints[joint].split()[0] for joint in joints} == {side}
        else:  # the trunk, the head: both sides of it
            assert {layout.mirrored[joint] for joint in joints} == set(joints)


def test_sizes_and_centres():
    assert (layouts.NTU_25.num_joints, layouts.KINECT_20.num_joints) == (25, 20)
    assert layouts.NTU_25.centre == layouts.KINECT_20.centre == 1  # joint 2 of the documents
    assert "spine" in layouts.NTU_25.joints[1]
    assert "spine" in layouts.KINECT_20.joints[1]


def test_places_of_joints_in_the_image_layouts():
    """Numbers from the detectors' documents."""
    coco, openpose, mediapipe = (
        layouts.LAYOUTS[name].joints for name in ("coco_17", "openpose_18", "mediapipe_33")
    )
    assert (len(coco), len(openpose), len(mediapipe)) == (17, 18, 33)
    assert [coco[i] for i in (0, 1, 5, 10, 11, 16)] == [
        "nose", "left eye", "left shoulder", "right wrist", "left hip", "right ankle",
    ]  # fmt: skip
    assert [openpose[i] for i in (0, 1, 2, 7, 8, 13, 14, 17)] == [
        "nose", "neck", "right shoulder", "left wrist", "right hip", "left ankle", "right eye",
        "left ear",
    ]  # fmt: skip
    assert [mediapipe[i] for i in (2, 8, 9, 11, 16, 19, 22, 23, 28, 29, 32)] == [
        "left eye", "right ear", "left mouth", "left shoulder", "right wrist", "left index finger",
        "right thumb", "left hip", "right ankle", "left heel", "right foot",
    ]  # fmt: skip
    for layout in (layouts.COCO_17, layouts.OPENPOSE_18, layouts.MEDIAPIPE_33):
        assert [layout.joints[joint] for joint in layout.centre] == ["left hip", "right hip"]


def test_the_same_joint_has_one_name():
    limbs = {
        f"{side} {joint}"
        for side in ("left", "right")
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    }
    for layout in layouts.LAYOUTS.values():
        assert limbs <= set(layout.joints), layout.name


def test_numbers_of_coordinates():
    counts = [layouts.num_coordinates(channels) for channels in layouts.CHANNELS]
    assert dict(zip(layouts.CHANNELS, counts, strict=True)) == {"xyz": 3, "xy": 2, "xyc": 2}


@every_layout
def test_chains_are_the_parts_along_the_body(layout):
    assert [set(chain) for chain in layout.chains] == [set(p) for p in layout.parts.values()]
    assert sum(map(len, layout.chains)) == layout.num_joints
    bones = {frozenset(bone) for bone in layout.bones}
    arm = layout.chains[list(layout.parts).index("left arm")]
    assert frozenset(arm[:2]) in bones
    assert frozenset(arm[1:3]) in bones


def test_the_trunk_goes_from_the_hips_to_the_head():
    trunk = [layouts.NTU_25.joints[joint] for joint in layouts.NTU_25.chains[0]]
    assert trunk == ["spine base", "spine middle", "spine shoulder", "neck", "head"]


@every_layout
def test_limbs_are_parts_with_their_mirror_images(layout):
    assert sorted(joint for limb in layout.limbs for joint in limb) == [*range(layout.num_joints)]
    for limb in layout.limbs:
        assert {layout.mirrored[joint] for joint in limb} == set(limb)
