"""OpenPose: one JSON file per frame, as `--write_json` writes them: BODY_25 or COCO (18 joints).

`VIDEO_000000000012_keypoints.json` is frame 12: `{"version": 1.3, "people": [{"person_id": [-1],
"pose_keypoints_2d": [x0, y0, c0, …], "pose_keypoints_3d": [x0, y0, z0, c0, …], …}]}`. Hands and
faces are ignored. In a frame without a file there is nobody.
"""

import re
from collections.abc import Sequence

from amr_jax.data.readers import bounded, files, keypoints
from amr_jax.data.readers.keypoints import Clip, Person
from amr_jax.errors import BadFile

_NAME = re.compile(r"(?P<video>.*?)_?(?P<frame>\d{4,12})_keypoints\.json", re.IGNORECASE)
_LAYOUTS = {25: "openpose_25", 18: "openpose_18"}
_MAX_BYTES = 2**22  # of one frame
_PLANE, _SPACE = "pose_keypoints_2d", "pose_keypoints_3d"


def frame_name(name: str) -> tuple[str, int] | None:
    """(name of the video, number of the frame), if a file is called as OpenPose calls them."""
    match = _NAME.fullmatch(name)
    return match and (match["video"], int(match["frame"]))


def fits(content: object) -> bool:
    """Whether it is a frame."""
    return isinstance(content, dict) and isinstance(content.get("people"), list)


def clips(content: object, path: object, channels: str) -> list[Clip]:
    """The clip of a single frame."""
    return [_clip([_people(content, 0, path, channels)], path)]


def read(raws: Sequence[files.RawFile], path: object, channels: str) -> Clip:
    """The clip of all frames of a video, in the order of their numbers.

    Args:
      raws: files with a `frame_name`.
      path: how errors about the whole call it.
      channels: what the data set has; with xyz, joints in space are read.

    Raises:
      BadFile: a file that is no frame, a number twice, or as in `keypoints.clip`.
    """
    frames, of_number = {}, {}
    for raw in sorted(raws, key=lambda raw: (frame_name(raw.name)[1], str(raw))):
        number = frame_name(raw.name)[1]
        if number in of_number:
            raise BadFile(raw, f"frame {number}, as {of_number[number]} is", "each frame once")
        of_number[number] = raw
        content = bounded.load_json(raw.read(_MAX_BYTES), raw, "a frame of OpenPose")
        if not fits(content):
            raise BadFile(raw, "no list 'people'", "a frame of OpenPose")
        frames[number] = _people(content, number, raw, channels)
    return _clip(keypoints.in_time(frames), path)


def _clip(frames: Sequence[Sequence[Person]], path: object) -> Clip:
    first = next((person for people in frames for person in people), None)
    layout = _LAYOUTS[len(first.places)] if first else ""
    return keypoints.clip(frames, path, layout=layout)


def _people(content: dict, number: int, path: object, channels: str) -> list[Person]:
    people = []
    for i, entry in enumerate(content["people"]):
        place = f"frame {number}, person {i}"
        entry = entry if isinstance(entry, dict) else {}
        in_space = channels == "xyz" and entry.get(_SPACE)
        key, columns = (_SPACE, "xyzc") if in_space else (_PLANE, "xyc")
        flat = entry.get(key, entry.get("pose_keypoints"))
        if not isinstance(flat, list) or len(flat) // len(columns) not in _LAYOUTS:
            found = f"{len(flat)} numbers" if isinstance(flat, list) else "no list"
            sizes = " or ".join(str(len(columns) * size) for size in _LAYOUTS)
            raise BadFile(path, f"{found} under {key!r} in {place}", f"{sizes} numbers")
        rows = [flat[at : at + len(columns)] for at in range(0, len(flat), len(columns))]
        layout = _LAYOUTS[len(flat) // len(columns)]
        numbers = keypoints.matrix(rows, columns, place, path, layout)
        found = entry.get("person_id")
        known = isinstance(found, list) and len(found) == 1 and type(found[0]) is int
        who = found[0] if known and found[0] >= 0 else None
        people.append(Person(numbers[:, :-1], numbers[:, -1], who))
    return people
