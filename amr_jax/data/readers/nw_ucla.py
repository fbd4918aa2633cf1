"""Northwestern-UCLA: one JSON file per sequence, as in `nw_ucla_all_sqe.zip` (docs/formats.md).

A file `aAA_sSS_eEE_vVV.json` (action code, subject, episode, view) holds `file_name`, `skeletons`
(T x 20 joints x xyz, metres) and `label` (1..10). The action codes have gaps: there is no a07, no
a10.
"""

import re

import numpy as np

from amr_jax.data.readers import bounded, files, findings
from amr_jax.data.readers.files import NoBody
from amr_jax.errors import BadFile

ACTION_CODES = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # in the order of the labels 1..10
NUM_JOINTS = 20
# Limit for a file: the longest has 250 kB, and an empty list takes 20 times its text in memory.
_MAX_BYTES = 2**24
_LARGEST = float(np.finfo(np.float32).max)

_NAME = re.compile(r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<replication>\d\d)_v(?P<camera>\d\d)")


def parse_name(name: str, path: object) -> dict[str, int]:
    """Action code, subject, replication (episode) and camera (view) from a file's name.

    Args:
      name: the base name without `.json`.
      path: how errors call the file.

    Raises:
      BadFile: the name has another form, or its action code is not in `ACTION_CODES`.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadFile(path, f"the file name {name!r}", "aAA_sSS_eEE_vVV, e.g. a01_s01_e00_v01")
    fields = {key: int(value) for key, value in match.groupdict().items()}
    if fields["action"] not in ACTION_CODES:
        codes = ", ".join(f"a{code:02d}" for code in ACTION_CODES)
        raise BadFile(path, f"action code a{fields['action']:02d} in the name", f"one of {codes}")
    return fields


def read(raw: files.RawFile) -> dict:
    """Reads one sequence.

    Returns:
      joints (T, 1, 20, 3) float32 in metres as captured, T >= 1; name (without suffix); label 0..9;
      subject, camera, replication (episode) and action (code, with gaps) as in the name; and
      `findings`, if there are any.

    Raises:
      NoBody: only zeros.
      BadFile: not JSON, keys missing, not (T, 20, 3) finite numbers, or the content contradicts the
        file's name.
    """
    name = raw.name.removesuffix(".json")
    fields = parse_name(name, raw)
    content = _load(raw)
    if content["file_name"] != name:
        raise BadFile(
            raw, f"file_name {content['file_name']!r} inside", f"{name!r}, the name of the file"
        )
    label = ACTION_CODES.index(fields["action"])
    if isinstance(content["label"], bool) or content["label"] != label + 1:
        raise BadFile(
            raw,
            f"label {content['label']!r}",
            f"{label + 1}, the label of action code a{fields['action']:02d} in the name",
        )
    counts: dict[str, int] = {}
    joints = _joints(content["skeletons"], raw, counts)
    told = findings.told(counts)
    return {"joints": joints, "name": name, "label": label, **fields, **told}


def read_joints(raw: files.RawFile, counts: dict[str, int] | None = None) -> np.ndarray:
    """Reads the joints of a file of any name: (T, 1, 20, 3) float32.

    Args:
      raw: the file.
      counts: gets the counts of `findings`.

    Raises:
      NoBody: only zeros.
      BadFile: not JSON, or not (T, 20, 3) finite numbers under 'skeletons'.
    """
    skeletons = _load(raw, ("skeletons",))["skeletons"]
    return _joints(skeletons, raw, {} if counts is None else counts)


def _load(raw: files.RawFile, keys: tuple[str, ...] = ("file_name", "skeletons", "label")) -> dict:
    content = bounded.load_json(raw.read(_MAX_BYTES), raw, "one JSON object")
    missing = [key for key in keys if key not in content]
    if missing:
        raise BadFile(raw, f"the keys {sorted(content)}", f"also {', '.join(missing)}")
    return content


def _joints(skeletons: object, raw: files.RawFile, counts: dict[str, int]) -> np.ndarray:
    if not isinstance(skeletons, list) or not skeletons:
        raise BadFile(raw, "no frame under 'skeletons'", "a list of at least one frame")
    for place, frame in enumerate(skeletons):
        if not _is_frame(frame):
            expected = f"{NUM_JOINTS} joints of 3 finite numbers (x, y, z)"
            raise BadFile(raw, f"something else in skeletons[{place}]", expected)
    joints = np.array(skeletons, np.float64).astype(np.float32)[:, None]
    joints = findings.without_empty_frames(joints, "xyz", counts)
    if not len(joints):
        raise NoBody(raw, f"only zeros in {len(skeletons)} frames", "a body in one of them")
    return joints


def _is_frame(frame: object) -> bool:
    """Whether it is a table of numbers. NumPy alone would convert texts and booleans too."""
    return (
        isinstance(frame, list)
        and len(frame) == NUM_JOINTS
        and all(isinstance(joint, list) and len(joint) == 3 for joint in frame)
        and all(type(x) in (int, float) and abs(x) <= _LARGEST for joint in frame for x in joint)
    )
