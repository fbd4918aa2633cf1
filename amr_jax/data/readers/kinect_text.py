"""MSR-Action3D, KARD, UTKinect and Florence 3D: text files of joints (docs/formats.md).

A file is one sequence. Each of its lines holds the coordinates of one joint, and the lines of all
joints make one frame. The four sets differ in the order of the joints, in unit and in the names of
their files. `TextSet.read` brings them to one form: the joints of a layout, in metres, in a
right-handed frame (x to the image's left, y up, z away from the camera: the actor's left is at
smaller x where the actor faces the camera).
"""

import dataclasses
import re

import numpy as np

from amr_jax.data.readers import files, findings
from amr_jax.data.readers.number_text import NumberText
from amr_jax.errors import BadFile
from amr_jax.skeleton import layouts
from amr_jax.skeleton.layouts import Layout

_MAX_BYTES = 2**23  # the longest file has 0.8 MB
_MAX_LINE = 2**8


@dataclasses.dataclass(frozen=True)
class TextSet:
    """How the files of one data set are written.

    Attributes:
      title: of the data set.
      pattern: of a file's name, with the groups action, subject and replication.
      example: such a name, for messages.
      layout: of the records.
      joints: the joints of `layout` in the order of the lines.
      metres: the unit of the coordinates.
      confidence: whether a fourth number follows the coordinates; it is not kept.
      flip_x: whether x points to the actor's left in the files, so that left and right are
        exchanged. Verified by which hand moves, and by where knees and feet point.
      num_actions: actions count from 1 to this.
    """

    title: str
    pattern: str
    example: str
    layout: Layout
    joints: tuple[str, ...]
    num_actions: int
    metres: float = 1.0
    confidence: bool = False
    flip_x: bool = False

    def read(self, raw: files.RawFile) -> dict:
        """Reads one sequence.

        Returns:
          joints (T, 1, V, 3) float32 in metres, without frames in which all joints are zero; name
          (without suffix); label (from 0); subject and replication (from 1) as in the name.

        Raises:
          BadFile: the name has another form; the lines are not full frames of finite numbers.
          NoBody: all joints of all frames are zero.
        """
        fields = self._fields(raw)
        counts: dict[str, int] = {}
        joints = self.read_joints(raw, counts)
        label, told = fields.pop("action") - 1, findings.told(counts)
        name = raw.name[: -len(".txt")]
        return {"joints": joints, "name": name, "label": label, **fields, **told}

    def read_joints(self, raw: files.RawFile, counts: dict[str, int]) -> np.ndarray:
        """Reads the joints of a file of any name: (T, 1, V, 3); errors as in `read`.

        Frames in which all joints are zero are left out, and counted in `counts` (`findings`).
        """
        joints = findings.without_empty_frames(self._joints(raw)[:, None], "xyz", counts)
        if not len(joints):
            raise files.NoBody(raw, "no body in any frame", "at least one")
        return joints

    def _fields(self, raw: files.RawFile) -> dict[str, int]:
        match = re.fullmatch(self.pattern, raw.name, re.IGNORECASE)
        if match is None:
            raise BadFile(raw, f"the file name {raw.name!r}", f"a name like {self.example}")
        fields = {key: int(value) for key, value in match.groupdict().items()}
        if not 1 <= fields["action"] <= self.num_actions:
            found = f"action {fields['action']} in the name"
            raise BadFile(raw, found, f"1 to {self.num_actions}")
        return fields

    def _joints(self, raw: files.RawFile) -> np.ndarray:
        """(T, V, 3), in the order of the layout."""
        text = NumberText(raw.read(_MAX_BYTES), raw, _MAX_LINE)
        count = 3 + self.confidence
        expected = f"{count} numbers: x, y, z{' and a confidence' if self.confidence else ''}"
        rows = range(len(text.lines))
        for at in rows:
            text.value(at, count, expected)
        num_joints = len(self.joints)
        if len(rows) % num_joints:
            expected = f"a multiple of {num_joints}, one line for each joint of a frame"
            raise BadFile(raw, f"{len(rows):,} lines", expected)
        values = text.metres(rows, 3).reshape(-1, num_joints, 3)
        order = [self.joints.index(joint) for joint in self.layout.joints]
        scale = np.array([-self.metres if self.flip_x else self.metres, *[self.metres] * 2])
        return (values[:, order] * scale).astype(np.float32)


# The order is that of the bones which are published with the set: sides alternate.
MSR_ACTION3D = TextSet(
    title="MSR-Action3D",
    pattern=r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<replication>\d\d)_skeleton3D\.txt",
    example="a01_s01_e01_skeleton3D.txt",
    layout=layouts.KINECT_20,
    joints=(
        "left shoulder",
        "right shoulder",
        "shoulder centre",
        "spine",
        "left hip",
        "right hip",
        "hip centre",
        "left elbow",
        "right elbow",
        "left wrist",
        "right wrist",
        "left hand",
        "right hand",
        "left knee",
        "right knee",
        "left ankle",
        "right ankle",
        "left foot",
        "right foot",
        "head",
    ),
    num_actions=20,
    confidence=True,
)

# Its authors say neck, torso, hand and foot: see `layouts.OPENNI_15`.
KARD = TextSet(
    title="KARD",
    pattern=r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<replication>\d\d)_realworld\.txt",
    example="a01_s01_e01_realworld.txt",
    layout=layouts.OPENNI_15,
    joints=(
        "head",
        "shoulder centre",
        "right shoulder",
        "right elbow",
        "right wrist",
        "left shoulder",
        "left elbow",
        "left wrist",
        "spine middle",
        "right hip",
        "right knee",
        "right ankle",
        "left hip",
        "left knee",
        "left ankle",
    ),
    num_actions=18,
    metres=1e-3,
    flip_x=True,
)

UTKINECT = TextSet(
    title="UTKinect",
    pattern=r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<replication>\d\d)\.txt",
    example="a01_s01_e01.txt",
    layout=layouts.KINECT_20,
    joints=layouts.KINECT_20.joints,
    num_actions=10,
)

# Sequences are numbered through all actions and subjects.
FLORENCE3D = TextSet(
    title="Florence 3D",
    pattern=r"a(?P<action>\d\d)_s(?P<subject>[1-9]\d?)_id(?P<replication>[1-9]\d{0,2})\.txt",
    example="a01_s1_id1.txt",
    layout=layouts.OPENNI_15,
    joints=layouts.OPENNI_15.joints,
    num_actions=9,
    metres=1e-3,
)

_SETS = (MSR_ACTION3D, KARD, UTKINECT, FLORENCE3D)


def of_name(name: str) -> TextSet | None:
    """The set whose files are named like this; None if there is none."""
    return next((s for s in _SETS if re.fullmatch(s.pattern, name, re.IGNORECASE)), None)


def others(of: TextSet) -> dict[str, str]:
    """Title and pattern of all sets but one; no name fits the patterns of two sets."""
    return {each.title: each.pattern for each in _SETS if each is not of}
