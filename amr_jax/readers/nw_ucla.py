"""Northwestern-UCLA: one JSON file per sequence, as the set is passed around in the field.

Source: ../shared/reference/datasets.md. Files are called `aAA_sSS_eEE_vVV.json` (action code,
subject, episode, view) and hold `file_name`, `skeletons` (T x 20 joints x xyz, metres) and `label`
(1..10). The action codes have gaps: a07 and a10 do not exist.
"""

import json
import re

import numpy as np

from amr_jax.errors import BadFile

PATTERN = r"a\d\d_s\d\d_e\d\d_v\d\d\.json"
ACTION_CODES = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # in the order of the labels 1..10
NUM_JOINTS = 20

_NAME = re.compile(r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<replication>\d\d)_v(?P<camera>\d\d)")


def parse_name(name: str, path: object) -> dict[str, int]:
    """Reads action code, subject, replication (episode) and camera (view) from a file's name.

    Args:
      name: the base name without `.json`.
      path: what to call the file in an error.

    Raises:
      BadFile: the name has another form, or its action code is none of `ACTION_CODES`.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadFile(path, f"the file name {name!r}", "aAA_sSS_eEE_vVV, e.g. a01_s01_e00_v01")
    fields = {key: int(value) for key, value in match.groupdict().items()}
    if fields["action"] not in ACTION_CODES:
        codes = ", ".join(f"a{code:02d}" for code in ACTION_CODES)
        raise BadFile(path, f"action code a{fields['action']:02d} in the name", f"one of {codes}")
    return fields


def read(raw) -> dict:
    """Reads one sequence.

    Args:
      raw: a `files.RawFile` (anything with `name`, `read()` and a path as its `str`).

    Returns:
      joints (T, 1, 20, 3) float32 in metres as captured, T >= 1; name (without suffix); label 0..9;
      subject, camera, replication (episode) and action (code, with gaps) as in the name.

    Raises:
      BadFile: no JSON, keys missing, not (T, 20, 3) finite numbers, or the name inside or the label
        contradicts the file's name.
    """
    name = raw.name.rsplit("/")[-1].removesuffix(".json")
    fields = parse_name(name, raw)
    content = _load(raw)
    if content["file_name"] != name:
        raise BadFile(
            raw, f"file_name {content['file_name']!r} inside", f"{name!r}, as the file is called"
        )
    label = ACTION_CODES.index(fields["action"])
    if content["label"] != label + 1:
        raise BadFile(
            raw,
            f"label {content['label']!r}",
            f"{label + 1}, which is the label of action code a{fields['action']:02d} in the name",
        )
    joints = _joints(content["skeletons"], raw)
    return {"joints": joints[:, None], "name": name, "label": label, **fields}


def read_joints(raw) -> np.ndarray:
    """The joints alone, (T, 1, 20, 3) as from `read`, of a file of any name.

    Raises:
      BadFile: no JSON, or no (T, 20, 3) finite numbers under 'skeletons'.
    """
    return _joints(_load(raw, ("skeletons",))["skeletons"], raw)[:, None]


def _load(raw, keys: tuple[str, ...] = ("file_name", "skeletons", "label")) -> dict:
    data = raw.read()
    try:
        content = json.loads(data)
    except json.JSONDecodeError as error:
        raise BadFile(
            raw, f"no JSON ({error.msg}, column {error.colno})", "one JSON object", error.lineno
        ) from error
    except UnicodeDecodeError as error:
        raise BadFile(raw, "bytes that are not text", "one JSON object in UTF-8") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
        raise BadFile(raw, f"JSON that cannot be read ({error})", "one JSON object") from error
    if not isinstance(content, dict):
        raise BadFile(raw, f"a JSON {type(content).__name__}", "a JSON object")
    missing = [key for key in keys if key not in content]
    if missing:
        raise BadFile(raw, f"the keys {sorted(content)}", f"also {', '.join(missing)}")
    return content


def _joints(skeletons: object, raw) -> np.ndarray:
    if not isinstance(skeletons, list) or not skeletons:
        raise BadFile(raw, "no frame under 'skeletons'", "a list of at least one frame")
    try:
        joints = np.array(skeletons, np.float64)
    except (TypeError, ValueError, OverflowError):
        joints = None
    if joints is None or joints.shape[1:] != (NUM_JOINTS, 3):
        place, found = _first_odd_frame(skeletons)
        raise BadFile(
            raw, f"{found} in skeletons[{place}]", f"{NUM_JOINTS} joints of 3 numbers (x, y, z)"
        )
    with np.errstate(over="ignore"):
        stored = joints.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(stored))
    if wrong.size:
        frame, joint, axis = map(int, wrong[0])
        raise BadFile(
            raw,
            f"{joints[frame, joint, axis]} at skeletons[{frame}][{joint}][{axis}]",
            "a finite number",
        )
    return stored


def _first_odd_frame(skeletons: list) -> tuple[int, str]:
    """Index of the first frame that is not (20, 3) numbers, and what it is instead."""
    for place, frame in enumerate(skeletons):
        try:
            shape = np.array(frame, np.float64).shape
        except (TypeError, ValueError, OverflowError):
            return place, "something that is not a table of numbers"
        if shape != (NUM_JOINTS, 3):
            return place, f"numbers of shape {shape}"
    raise AssertionError("unreachable: called only when some frame is odd")
