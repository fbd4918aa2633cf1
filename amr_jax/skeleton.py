"""The layouts of joints: names, bones, left and right, body parts. Such constants stand only here.

Indices are 0-based everywhere; the data sets' documents count from 1.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layout:
    """Joints of one sensor's skeleton.

    Attributes:
      name: as in `LAYOUTS`.
      joints: the joints' names, in the order of the files.
      bones: (child, parent) for every joint but the root: V - 1 pairs that form a tree.
      left_right: pairs (left joint, its mirror image on the right).
      parts: joints of the trunk and the limbs; every joint is in exactly one part.
      centre: the joint that the field puts at the origin (the spine's middle).
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    left_right: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, ...]]
    centre: int

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def root(self) -> int:
        """The one joint that is nobody's child."""
        (root,) = set(range(self.num_joints)) - {child for child, _ in self.bones}
        return root

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of every joint, (V,); the root's is the root itself, so its bone has length 0."""
        parent = dict(self.bones)
        return tuple(parent.get(joint, joint) for joint in range(self.num_joints))

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The joint on the other side for every joint, (V,); joints of the middle stay."""
        other = dict(self.left_right) | {right: left for left, right in self.left_right}
        return tuple(other.get(joint, joint) for joint in range(self.num_joints))


def _layout(name: str, table: str, parts: dict[str, str], centre: str) -> Layout:
    """Builds a layout from lines `joint < parent`, the root's without a parent."""
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
    return Layout(name, joints, bones, left_right, members, index[centre])


# Kinect v2: NTU RGB+D 60/120 and PKU-MMD I/II. The tip of a hand hangs on the thumb, not on the
# hand: the field's bone list has it so, and bone streams that published numbers rest on use it.
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

# Kinect v1: NW-UCLA.
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

# Names under which layouts have the same joint, for transfer between them. The two Kinects do not
# put these at one point to the centimetre, but at the same places of the body.
SAME_JOINT = (
    ("spine base", "hip centre"),
    ("spine middle", "spine"),
    ("spine shoulder", "shoulder centre"),
)

LAYOUTS = {layout.name: layout for layout in (NTU_25, KINECT_20)}
