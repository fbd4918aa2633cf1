"""Azure Kinect: the JSON file of body tracking's offline processor, 32 joints in millimetres.

`{"joint_names": […], "frames": [{"frame_id": 0, "timestamp_usec", "num_bodies", "bodies":
[{"body_id": 1, "joint_positions": [[x, y, z], …], "joint_orientations": […]}]}, …]}`. Positions
become metres; body ids tell people apart.
"""

from amr_jax.data.readers import keypoints
from amr_jax.data.readers.keypoints import Clip, Person
from amr_jax.errors import BadFile

LAYOUT = "azure_kinect_32"
_METRES = 0.001


def fits(content: object) -> bool:
    """Whether it looks like frames with bodies."""
    frames = content.get("frames") if isinstance(content, dict) else None
    first = frames[0] if isinstance(frames, list) and frames else None
    return isinstance(first, dict) and "bodies" in first


def clips(content: dict, path: object, channels: str) -> list[Clip]:
    """The one clip of a file; `channels` does not matter: it is in space."""
    del channels
    frames: dict[int, list[Person]] = {}
    latest = -1
    for number, frame in enumerate(content["frames"]):
        bodies = frame.get("bodies") if isinstance(frame, dict) else None
        if not isinstance(bodies, list):
            raise BadFile(path, f"no list 'bodies' in frame {number}", "one in each frame")
        at = frame.get("frame_id", number)
        if type(at) is not int or at <= latest:
            raise BadFile(path, f"frame_id {at!r} in frame {number}", "whole numbers that increase")
        latest = at
        frames[at] = [
            _person(body, f"frame {number}, person {i}", path) for i, body in enumerate(bodies)
        ]
    return [keypoints.clip(keypoints.in_time(frames), path, layout=LAYOUT)]


def _person(body: object, place: str, path: object) -> Person:
    body = body if isinstance(body, dict) else {}
    positions = keypoints.matrix(body.get("joint_positions"), "xyz", place, path, LAYOUT)
    key = body.get("body_id")
    return Person(positions * _METRES, key=key if type(key) is int else None)
