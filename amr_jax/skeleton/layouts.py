"""Layouts of joints: names, bones, left and right, body parts. All such constants are here.

Indices count from 0; the data sets' documents count from 1. The same joint of the body has the same
name in all layouts. `data.readers.layout_file` reads a user's own layout.
"""

import dataclasses

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


def _layout(name: str, table: str, parts: dict[str, str], centre: str | tuple[str, ...]) -> Layout:
    """Builds a layout from lines `joint < parent`; the line of the root has no parent."""
    rows = [line.split(" < ") for line in table.strip().splitlines()]
    joints = tuple(row[0].strip() for row in rows)
    index = {joint: i for i, joint in enumerate(joints)}
    bones = tuple((i, index[row[1].strip()]) for i, row in enumerate(rows) if len(row) == 2)
    left_right = tuple(
        (i, index["right" + joint.removeprefix("left")])
        for i, joint in enumerate(joints)
        if joint.startswith("left ")
    )
    members = {part: tuple(index[j] for j in text.split(", ")) for part, text in parts.items()}
    middle = index[centre] if isinstance(centre, str) else tuple(index[j] for j in centre)
    return Layout(name, joints, bones, left_right, members, middle)


# Kinect v2: NTU RGB+D 60/120 and PKU-MMD I/II. The parent of a hand tip is the thumb, as in the
# published bone list, which the bone streams of published results use.
NTU_25 = _layout(
    "ntu_25",
    """
    spine base < spine middle
    spine middle < spine shoulder
    neck < spine shoulder
    head < neck
    left shoulder < spine shoulder
    left elbow < left shoulder
    left wrist < left elbow
    left hand < left wrist
    right shoulder < spine shoulder
    right elbow < right shoulder
    right wrist < right elbow
    right hand < right wrist
    left hip < spine base
    left knee < left hip
    left ankle < left knee
    left foot < left ankle
    right hip < spine base
    right knee < right hip
    right ankle < right knee
    right foot < right ankle
    spine shoulder
    left hand tip < left thumb
    left thumb < left hand
    right hand tip < right thumb
    right thumb < right hand
    """,
    {
        "trunk": "spine base, spine middle, neck, head, spine shoulder",
        "left arm": "left shoulder, left elbow, left wrist, left hand, left hand tip, left thumb",
        "right arm": (
            "right shoulder, right elbow, right wrist, right hand, right hand tip, right thumb"
        ),
        "left leg": "left hip, left knee, left ankle, left foot",
        "right leg": "right hip, right knee, right ankle, right foot",
    },
    centre="spine middle",
)

# Kinect v1: NW-UCLA, UTD-MHAD, MSR-Action3D, UTKinect.
KINECT_20 = _layout(
    "kinect_20",
    """
    hip centre < spine
    spine < shoulder centre
    shoulder centre
    head < shoulder centre
    left shoulder < shoulder centre
    left elbow < left shoulder
    left wrist < left elbow
    left hand < left wrist
    right shoulder < shoulder centre
    right elbow < right shoulder
    right wrist < right elbow
    right hand < right wrist
    left hip < hip centre
    left knee < left hip
    left ankle < left knee
    left foot < left ankle
    right hip < hip centre
    right knee < right hip
    right ankle < right knee
    right foot < right ankle
    """,
    {
        "trunk": "hip centre, spine, shoulder centre, head",
        "left arm": "left shoulder, left elbow, left wrist, left hand",
        "right arm": "right shoulder, right elbow, right wrist, right hand",
        "left leg": "left hip, left knee, left ankle, left foot",
        "right leg": "right hip, right knee, right ankle, right foot",
    },
    centre="spine",
)

# OpenNI with NITE: KARD, Florence 3D. Its neck is the middle of the shoulders, and its torso the
# middle of neck and hips: they have the names of these places in the other layouts. So do its hands
# and feet, which end forearms of 0.29 m and shins of 0.39 to 0.44 m: at wrist and ankle.
OPENNI_15 = _layout(
    "openni_15",
    """
    head < shoulder centre
    shoulder centre < spine middle
    spine middle
    left shoulder < shoulder centre
    left elbow < left shoulder
    left wrist < left elbow
    right shoulder < shoulder centre
    right elbow < right shoulder
    right wrist < right elbow
    left hip < spine middle
    left knee < left hip
    left ankle < left knee
    right hip < spine middle
    right knee < right hip
    right ankle < right knee
    """,
    {
        "trunk": "head, shoulder centre, spine middle",
        "left arm": "left shoulder, left elbow, left wrist",
        "right arm": "right shoulder, right elbow, right wrist",
        "left leg": "left hip, left knee, left ankle",
        "right leg": "right hip, right knee, right ankle",
    },
    centre="spine middle",
)

_HIPS = ("left hip", "right hip")

# Detectors trained on COCO (HRNet, ViTPose, YOLO); bones as in published graph networks.
COCO_17 = _layout(
    "coco_17",
    """
    nose
    left eye < nose
    right eye < nose
    left ear < left eye
    right ear < right eye
    left shoulder < nose
    right shoulder < nose
    left elbow < left shoulder
    right elbow < right shoulder
    left wrist < left elbow
    right wrist < right elbow
    left hip < left shoulder
    right hip < right shoulder
    left knee < left hip
    right knee < right hip
    left ankle < left knee
    right ankle < right knee
    """,
    {
        "head": "nose, left eye, right eye, left ear, right ear",
        "left arm": "left shoulder, left elbow, left wrist",
        "right arm": "right shoulder, right elbow, right wrist",
        "left leg": "left hip, left knee, left ankle",
        "right leg": "right hip, right knee, right ankle",
    },
    centre=_HIPS,
)

# OpenPose's 18 key points (Kinetics-Skeleton); bones as in published graph networks.
OPENPOSE_18 = _layout(
    "openpose_18",
    """
    nose < neck
    neck
    right shoulder < neck
    right elbow < right shoulder
    right wrist < right elbow
    left shoulder < neck
    left elbow < left shoulder
    left wrist < left elbow
    right hip < right shoulder
    right knee < right hip
    right ankle < right knee
    left hip < left shoulder
    left knee < left hip
    left ankle < left knee
    right eye < nose
    left eye < nose
    right ear < right eye
    left ear < left eye
    """,
    {
        "head": "nose, neck, right eye, left eye, right ear, left ear",
        "left arm": "left shoulder, left elbow, left wrist",
        "right arm": "right shoulder, right elbow, right wrist",
        "left leg": "left hip, left knee, left ankle",
        "right leg": "right hip, right knee, right ankle",
    },
    centre=_HIPS,
)

# OpenPose's 25 key points (BODY_25), in its order; bones as it draws them.
OPENPOSE_25 = _layout(
    "openpose_25",
    """
    nose < neck
    neck < hip centre
    right shoulder < neck
    right elbow < right shoulder
    right wrist < right elbow
    left shoulder < neck
    left elbow < left shoulder
    left wrist < left elbow
    hip centre
    right hip < hip centre
    right knee < right hip
    right ankle < right knee
    left hip < hip centre
    left knee < left hip
    left ankle < left knee
    right eye < nose
    left eye < nose
    right ear < right eye
    left ear < left eye
    left big toe < left ankle
    left small toe < left big toe
    left heel < left ankle
    right big toe < right ankle
    right small toe < right big toe
    right heel < right ankle
    """,
    {
        "trunk": "nose, neck, hip centre, right eye, left eye, right ear, left ear",
        "left arm": "left shoulder, left elbow, left wrist",
        "right arm": "right shoulder, right elbow, right wrist",
        "left leg": "left hip, left knee, left ankle, left big toe, left small toe, left heel",
        "right leg": (
            "right hip, right knee, right ankle, right big toe, right small toe, right heel"
        ),
    },
    centre="hip centre",
)

# Azure Kinect's body tracking; bones as in its documentation.
AZURE_KINECT_32 = _layout(
    "azure_kinect_32",
    """
    spine base
    spine navel < spine base
    spine chest < spine navel
    neck < spine chest
    left clavicle < spine chest
    left shoulder < left clavicle
    left elbow < left shoulder
    left wrist < left elbow
    left hand < left wrist
    left hand tip < left hand
    left thumb < left wrist
    right clavicle < spine chest
    right shoulder < right clavicle
    right elbow < right shoulder
    right wrist < right elbow
    right hand < right wrist
    right hand tip < right hand
    right thumb < right wrist
    left hip < spine base
    left knee < left hip
    left ankle < left knee
    left foot < left ankle
    right hip < spine base
    right knee < right hip
    right ankle < right knee
    right foot < right ankle
    head < neck
    nose < head
    left eye < head
    left ear < head
    right eye < head
    right ear < head
    """,
    {
        "trunk": (
            "spine base, spine navel, spine chest, neck, head, nose, left eye, left ear, "
            "right eye, right ear"
        ),
        "left arm": (
            "left clavicle, left shoulder, left elbow, left wrist, left hand, left hand tip, "
            "left thumb"
        ),
        "right arm": (
            "right clavicle, right shoulder, right elbow, right wrist, right hand, "
            "right hand tip, right thumb"
        ),
        "left leg": "left hip, left knee, left ankle, left foot",
        "right leg": "right hip, right knee, right ankle, right foot",
    },
    centre="spine navel",
)

# MediaPipe (BlazePose). Its own connections have cycles (trunk, hands, feet) and do not connect the
# face, so these bones are our choice. Its "foot index" is the tip of the foot, Kinect's foot.
MEDIAPIPE_33 = _layout(
    "mediapipe_33",
    """
    nose
    left inner eye < nose
    left eye < left inner eye
    left outer eye < left eye
    right inner eye < nose
    right eye < right inner eye
    right outer eye < right eye
    left ear < left outer eye
    right ear < right outer eye
    left mouth < nose
    right mouth < nose
    left shoulder < nose
    right shoulder < nose
    left elbow < left shoulder
    right elbow < right shoulder
    left wrist < left elbow
    right wrist < right elbow
    left little finger < left wrist
    right little finger < right wrist
    left index finger < left wrist
    right index finger < right wrist
    left thumb < left wrist
    right thumb < right wrist
    left hip < left shoulder
    right hip < right shoulder
    left knee < left hip
    right knee < right hip
    left ankle < left knee
    right ankle < right knee
    left heel < left ankle
    right heel < right ankle
    left foot < left ankle
    right foot < right ankle
    """,
    {
        "head": (
            "nose, left inner eye, left eye, left outer eye, right inner eye, right eye, "
            "right outer eye, left ear, right ear, left mouth, right mouth"
        ),
        "left arm": (
            "left shoulder, left elbow, left wrist, left little finger, left index finger, "
            "left thumb"
        ),
        "right arm": (
            "right shoulder, right elbow, right wrist, right little finger, right index finger, "
            "right thumb"
        ),
        "left leg": "left hip, left knee, left ankle, left heel, left foot",
        "right leg": "right hip, right knee, right ankle, right heel, right foot",
    },
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
