"""UTD-MHAD: one MATLAB file per sequence, `aA_sS_tT_skeleton.mat` (docs/formats.md)."""

import io
import re

import numpy as np

from amr_jax.data.readers import files, findings
from amr_jax.errors import BadFile
from amr_jax.skeleton import layouts

NUM_ACTIONS = 27
_NAME = re.compile(
    r"a(?P<action>[1-9]\d?)_s(?P<subject>[1-9])_t(?P<replication>[1-9])_skeleton\.mat",
    re.IGNORECASE,
)
_EXPECTED = "a name like a1_s1_t1_skeleton.mat, numbers without zeros in front"
_MAX_BYTES = 2**18  # the largest file has 42 kB

# In the files, as their Skeleton_joint_order.txt says.
_JOINTS = ("head", "shoulder centre", "spine", "hip centre", *layouts.KINECT_20.joints[4:])
_ORDER = [_JOINTS.index(joint) for joint in layouts.KINECT_20.joints]


def read(raw: files.RawFile) -> dict:
    """Reads one sequence.

    Returns:
      joints (T, 1, 20, 3) float32 in metres, T >= 1, in the order of `layouts.KINECT_20`; name
      (without suffix); label (0 to 26); subject and replication (from 1) as in the name.

    Raises:
      BadFile: the name has another form; no MATLAB file of version 5 that holds `d_skel`,
        (20, 3, T) finite numbers.
      NoBody: all joints of all frames are zero.
    """
    match = _NAME.fullmatch(raw.name)
    if match is None:
        raise BadFile(raw, f"the file name {raw.name!r}", _EXPECTED)
    fields = {key: int(value) for key, value in match.groupdict().items()}
    label = fields.pop("action") - 1
    if not 0 <= label < NUM_ACTIONS:
        raise BadFile(raw, f"action {label + 1} in the name", f"1 to {NUM_ACTIONS}")
    counts: dict[str, int] = {}
    joints = read_joints(raw, counts)
    told = findings.told(counts)
    return {"joints": joints, "name": raw.name[: -len(".mat")], "label": label, **fields, **told}


def read_joints(raw: files.RawFile, counts: dict[str, int]) -> np.ndarray:
    """Reads the joints of a file of any name: (T, 1, 20, 3) float32; errors as in `read`.

    Frames in which all joints are zero are left out, and counted in `counts` (`findings`).
    """
    expected = "a MATLAB file that holds d_skel, (20 joints, xyz, frames)"
    data = raw.read(_MAX_BYTES)
    import scipy.io  # late: it takes a third of a second

    try:
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=("d_skel",))
    except Exception as error:  # SciPy raises whatever its parser meets
        raise BadFile(raw, f"no MATLAB file that can be read ({error})", expected) from error
    skeleton = content.get("d_skel")
    if skeleton is None:
        raise BadFile(raw, "no d_skel", expected)
    if skeleton.ndim == 2:  # MATLAB drops the last dimension of a sequence of one frame
        skeleton = skeleton[..., None]
    if skeleton.dtype.kind not in "fiu" or skeleton.ndim != 3 or skeleton.shape[:2] != (20, 3):
        raise BadFile(raw, f"d_skel of {skeleton.shape} {skeleton.dtype}", expected)
    with np.errstate(over="ignore"):
        joints = skeleton.transpose(2, 0, 1)[:, None, _ORDER].astype(np.float32)
    if not len(joints) or not np.isfinite(joints).all():
        raise BadFile(raw, "no frame, or numbers that are not finite", "finite numbers, in metres")
    joints = findings.without_empty_frames(joints, "xyz", counts)
    if not len(joints):
        raise files.NoBody(raw, "no body in any frame", "at least one")
    return joints
