"""Layouts of joints: names, bones, left and right, body parts. All such constants are here.

Indices count from 0; the data sets' documents count from 1. The same joint of the body has the same
name in all layouts. `data.readers.layout_file` reads a user's own layout.
"""

import dataclasses
import itertools
import re

# The numbers of a joint: metres in space; a position in the image; or that position and, as the
# third number, the detector's confidence.
CHANNELS = ("xyz", "xy", "xyc")


def num_coordinates(channels: str) -> int:
    """The number of coordinates in these channels, which come first: 3 in space, 2 in an image."""
    return len(channels.removesuffix("c"))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Joints of one sensor's skeleton.

    Attributes:
      name: as in `LAYOUTS`.
      joints: the joints' names, in the order of the files.
      bones: (child, parent) for every joint but the root: V - 1 pairs that form a tree.
      left_right: pairs (left joint, its mirror image on the right).
      parts: joints of the trunk and the limbs; every joint is in exactly one part.
      centre: the joint at the origin of centred data (the middle of the spine); or several joints,
        whose mean is the origin.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    left_right: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, ...]]
    centre: int | tuple[int, ...]

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of every joint, (V,); the root is its own parent, so its bone has length 0."""
        parent = dict(self.bones)
        return tuple(parent.get(joint, joint) for joint in range(self.num_joints))

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Mirror image of every joint, (V,); a joint on the midline is its own."""
        other = dict(self.left_right) | {right: left for left, right in self.left_right}
        return tuple(other.get(joint, joint) for joint in range(self.num_joints))

    @property
    def chains(self) -> tuple[tuple[int, ...], ...]:
        """The joints of every part, along its bones: neighbours on the body follow each other."""
        return tuple(_along(part, self.bones) for part in self.parts.values())

    @property
    def limbs(self) -> tuple[tuple[int, ...], ...]:
        """The joints of every part together with those of its mirror image: trunk, arms, legs."""
        found = {}
        for part in self.parts.values():
            both = sorted({*part, *(self.mirrored[joint] for joint in part)})
            found[tuple(both)] = None
        return tuple(found)


def _along(part: tuple[int, ...], bones: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """The joints of a part from one of its ends on, depth first."""
    near = {joint: [] for joint in part}
    for child, parent in bones:
        if child in near and parent in near:
            near[child].append(parent)
            near[parent].append(child)
    found = {}
    # Ends first; what no bone of the part reaches, follows.
    stack = sorted(part, key=lambda joint: len(near[joint]) > 1)[::-1]
    while stack:
        joint = stack.pop()
        if joint not in found:
            found[joint] = None
            stack += reversed(near[joint])
    return tuple(found)


def _layout(
    name: str, chains: str, rest: str, arm: str, leg: str, centre: str | tuple[str, ...]
) -> Layout:
    """Builds a layout.

    Args:
      name: of the layout.
      chains: the joints in the order of the files, as `parent: joint, joint; parent: joint`: a
        chain's first joint hangs on the one before the colon, each other one on the joint before
        it. The chain of the root has no colon.
      rest: the name of the part with all joints that are of no limb.
      arm, leg: the joints of a limb, without `left` or `right`.
      centre: see `Layout`.
    """
    parents: dict[str, str | None] = {}
    for chain in re.split(r"[;\n]", chains.strip()):
        parent, _, joints = chain.rpartition(":")
        before = parent.strip() or None
        for joint in map(str.strip, joints.split(",")):
            parents[joint], before = before, joint
    index = {joint: i for i, joint in enumerate(parents)}
    bones = tuple((index[joint], index[parent]) for joint, parent in parents.items() if parent)
    left_right = tuple(
        (i, index["right" + joint.removeprefix("left")])
        for joint, i in index.items()
        if joint.startswith("left ")
    )
    limbs = {
        f"{side} {limb}": tuple(index[f"{side} {joint}"] for joint in joints.split(", "))
        for limb, joints in (("arm", arm), ("leg", leg))
        for side in ("left", "right")
    }
    others = tuple(i for i in index.values() if i not in itertools.chain(*limbs.values()))
    middle = index[centre] if isinstance(centre, str) else tuple(index[j] for j in centre)
    return Layout(name, tuple(parents), bones, left_right, {rest: others} | limbs, middle)


# Kinect v2: NTU RGB+D 60/120 and PKU-MMD I/II. The parent of a hand tip is the thumb, as in the
# published bone list, which the bone streams of published results use.
NTU_25 = _layout(
    "ntu_25",
    """
    spine middle: spine base
    spine shoulder: spine middle
    spine shoulder: neck, head
    spine shoulder: left shoulder, left elbow, left wrist, left hand
    spine shoulder: right shoulder, right elbow, right wrist, right hand
    spine base: left hip, left knee, left ankle, left foot
    spine base: right hip, right knee, right ankle, right foot
    spine shoulder
    left thumb: left hand tip
    left hand: left thumb
    right thumb: right hand tip
    right hand: right thumb
    """,
    rest="trunk",
    arm="shoulder, elbow, wrist, hand, hand tip, thumb",
    leg="hip, knee, ankle, foot",
    centre="spine middle",
)

# Kinect v1: NW-UCLA, UTD-MHAD, MSR-Action3D, UTKinect.
KINECT_20 = _layout(
    "kinect_20",
    """
    spine: hip centre
    shoulder centre: spine
    shoulder centre, head
    shoulder centre: left shoulder, left elbow, left wrist, left hand
    shoulder centre: right shoulder, right elbow, right wrist, right hand
    hip centre: left hip, left knee, left ankle, left foot
    hip centre: right hip, right knee, right ankle, right foot
    """,
    rest="trunk",
    arm="shoulder, elbow, wrist, hand",
    leg="hip, knee, ankle, foot",
    centre="spine",
)

# OpenNI with NITE: KARD, Florence 3D. Its neck is the middle of the shoulders, and its torso the
# middle of neck and hips: they have the names of these places in the other layouts. So do its hands
# and feet, which end forearms of 0.29 m and shins of 0.39 to 0.44 m: at wrist and ankle.
OPENNI_15 = _layout(
    "openni_15",
    """
    shoulder centre: head
    spine middle: shoulder centre
    spine middle
    shoulder centre: left shoulder, left elbow, left wrist
    shoulder centre: right shoulder, right elbow, right wrist
    spine middle: left hip, left knee, left ankle
    spine middle: right hip, right knee, right ankle
    """,
    rest="trunk",
    arm="shoulder, elbow, wrist",
    leg="hip, knee, ankle",
    centre="spine middle",
)

_HIPS = ("left hip", "right hip")

# Detectors trained on COCO (HRNet, ViTPose, YOLO); bones as in published graph networks.
COCO_17 = _layout(
    "coco_17",
    """
    nose
    nose: left eye; nose: right eye
    left eye: left ear; right eye: right ear
    nose: left shoulder; nose: right shoulder
    left shoulder: left elbow; right shoulder: right elbow
    left elbow: left wrist; right elbow: right wrist
    left shoulder: left hip; right shoulder: right hip
    left hip: left knee; right hip: right knee
    left knee: left ankle; right knee: right ankle
    """,
    rest="head",
    arm="shoulder, elbow, wrist",
    leg="hip, knee, ankle",
    centre=_HIPS,
)

# OpenPose's 18 key points (Kinetics-Skeleton); bones as in published graph networks.
OPENPOSE_18 = _layout(
    "openpose_18",
    """
    neck: nose
    neck, right shoulder, right elbow, right wrist
    neck: left shoulder, left elbow, left wrist
    right shoulder: right hip, right knee, right ankle
    left shoulder: left hip, left knee, left ankle
    nose: right eye; nose: left eye
    right eye: right ear; left eye: left ear
    """,
    rest="head",
    arm="shoulder, elbow, wrist",
    leg="hip, knee, ankle",
    centre=_HIPS,
)

# OpenPose's 25 key points (BODY_25), in its order; bones as it draws them.
OPENPOSE_25 = _layout(
    "openpose_25",
    """
    neck: nose
    hip centre: neck, right shoulder, right elbow, right wrist
    neck: left shoulder, left elbow, left wrist
    hip centre, right hip, right knee, right ankle
    hip centre: left hip, left knee, left ankle
    nose: right eye; nose: left eye
    right eye: right ear; left eye: left ear
    left ankle: left big toe, left small toe; left ankle: left heel
    right ankle: right big toe, right small toe; right ankle: right heel
    """,
    rest="trunk",
    arm="shoulder, elbow, wrist",
    leg="hip, knee, ankle, big toe, small toe, heel",
    centre="hip centre",
)

# Azure Kinect's body tracking; bones as in its documentation.
AZURE_KINECT_32 = _layout(
    "azure_kinect_32",
    """
    spine base, spine navel, spine chest, neck
    spine chest: left clavicle, left shoulder, left elbow, left wrist
    left wrist: left hand, left hand tip; left wrist: left thumb
    spine chest: right clavicle, right shoulder, right elbow, right wrist
    right wrist: right hand, right hand tip; right wrist: right thumb
    spine base: left hip, left knee, left ankle, left foot
    spine base: right hip, right knee, right ankle, right foot
    neck: head, nose
    head: left eye; head: left ear
    head: right eye; head: right ear
    """,
    rest="trunk",
    arm="clavicle, shoulder, elbow, wrist, hand, hand tip, thumb",
    leg="hip, knee, ankle, foot",
    centre="spine navel",
)

# MediaPipe (BlazePose). Its own connections have cycles (trunk, hands, feet) and do not connect the
# face, so these bones are our choice. Its "foot index" is the tip of the foot, Kinect's foot.
MEDIAPIPE_33 = _layout(
    "mediapipe_33",
    """
    nose, left inner eye, left eye, left outer eye
    nose: right inner eye, right eye, right outer eye
    left outer eye: left ear; right outer eye: right ear
    nose: left mouth; nose: right mouth
    nose: left shoulder; nose: right shoulder
    left shoulder: left elbow; right shoulder: right elbow
    left elbow: left wrist; right elbow: right wrist
    left wrist: left little finger; right wrist: right little finger
    left wrist: left index finger; right wrist: right index finger
    left wrist: left thumb; right wrist: right thumb
    left shoulder: left hip; right shoulder: right hip
    left hip: left knee; right hip: right knee
    left knee: left ankle; right knee: right ankle
    left ankle: left heel; right ankle: right heel
    left ankle: left foot; right ankle: right foot
    """,
    rest="head",
    arm="shoulder, elbow, wrist, little finger, index finger, thumb",
    leg="hip, knee, ankle, heel, foot",
    centre=_HIPS,
)

# Different names for the same joint, for transfer between layouts. The positions of the two Kinects
# differ by centimetres.
SAME_JOINT = (
    ("spine base", "hip centre"),
    ("spine middle", "spine"),
    ("spine shoulder", "shoulder centre"),
)

LAYOUTS = {
    layout.name: layout
    for layout in (
        NTU_25,
        KINECT_20,
        OPENNI_15,
        COCO_17,
        OPENPOSE_18,
        OPENPOSE_25,
        AZURE_KINECT_32,
        MEDIAPIPE_33,
    )
}
