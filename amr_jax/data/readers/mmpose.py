"""MMPose: predictions of its inferencer and of its demos, one JSON file per video.

A file is a list of frames, `[{"frame_id": 0, "instances": [{"keypoints": [[x, y], …],
"keypoint_scores": [s, …], …}]}, …]`, or an object that has it under `instance_info` (with
`meta_info`) or `predictions`; for an image it is the list of instances alone. The names of the
joints in `meta_info` decide their order; without them 17 joints in an image are COCO's. Scores of
RTMPose are above 1, see `scores`. `track_id` tells people apart, where it is there.
"""

from amr_jax.data.readers import keypoints
from amr_jax.data.readers.keypoints import Clip, Person
from amr_jax.errors import BadFile

_COCO = (17, 2)


def fits(content: object) -> bool:
    """Whether it looks like predictions."""
    frames = _frames(content)
    first = frames[0] if frames else None
    return isinstance(first, dict) and ("instances" in first or _is_instance(first))


def clips(content: object, path: object, channels: str) -> list[Clip]:
    """The one clip of a file; `channels` does not matter: it has two coordinates, or three."""
    del channels
    entries = _frames(content)
    if _is_instance(entries[0]):
        entries = [{"instances": entries}]
    frames: dict[int, list[Person]] = {}
    latest = -1
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("instances"), list):
            raise BadFile(path, f"no list 'instances' in frame {number}", "one for each frame")
        at = entry.get("frame_id", number)
        if type(at) is not int or at <= latest:
            raise BadFile(path, f"frame_id {at!r} in frame {number}", "whole numbers that increase")
        frames[at], latest = [], at
        for i, one in enumerate(entry["instances"]):
            frames[at].append(_person(one, f"frame {number}, person {i}", path))
    joints = _names(content)
    shape = next((person.places.shape for people in frames.values() for person in people), None)
    layout = "coco_17" if shape == _COCO and not joints else ""
    if joints and shape and len(joints) != shape[0]:
        found = f"{len(joints)} names of joints for {shape[0]} joints"
        raise BadFile(path, found, "a name for each")
    return [keypoints.clip(keypoints.in_time(frames), path, layout=layout, joints=joints)]


def _frames(content: object) -> list | None:
    if isinstance(content, dict):
        content = next((content[k] for k in ("instance_info", "predictions") if k in content), None)
    while isinstance(content, list) and len(content) == 1 and isinstance(content[0], list):
        content = content[0]
    return content if isinstance(content, list) else None


def _is_instance(entry: object) -> bool:
    return isinstance(entry, dict) and "keypoints" in entry and "keypoint_scores" in entry


def _person(entry: object, place: str, path: object) -> Person:
    if not _is_instance(entry):
        raise BadFile(path, f"no 'keypoints' and 'keypoint_scores' in {place}", "both")
    rows, scores = entry["keypoints"], entry["keypoint_scores"]
    first = rows[0] if isinstance(rows, list) and rows else None
    columns = "xyz" if isinstance(first, list) and len(first) == 3 else "xy"
    numbers = keypoints.matrix(rows, columns, place, path)
    if not isinstance(scores, list) or len(scores) != len(numbers):
        raise BadFile(path, f"other than {len(numbers)} scores in {place}", "one for each joint")
    scores = keypoints.matrix([[score] for score in scores], "s", place, path)[:, 0]
    key = entry.get("track_id")
    return Person(numbers, scores, key if type(key) is int and key >= 0 else None)


def _names(content: object) -> tuple[str, ...]:
    """The names of the joints, `meta_info.keypoint_id2name`; () if there are none."""
    meta = content.get("meta_info") if isinstance(content, dict) else None
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(names, dict) or not all(key.isdecimal() for key in names):
        return ()
    return tuple(str(names[key]) for key in sorted(names, key=int))
