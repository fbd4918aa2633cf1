"""MediaPipe Pose: the landmarks of each frame as JSON, in the forms that programs write them.

A file is a list of frames, or an object that has this list under `frames`, `results`, `data` or
`landmarks`, or whose keys are the numbers of frames. A frame is a list of 33 landmarks
`{"x", "y", "z", "visibility"}`, or an object that has it under `pose_landmarks`, `landmarks`,
`pose_world_landmarks` or `world_landmarks` (also in camel case); there it may be a list for each of
several poses, or an object `{"landmark": […]}`. null or [] stands for nobody.

Landmarks are in the image (x and y by its width and height, from 0 to 1); world landmarks are in
metres, around the middle of the hips. `.npy` files: see `arrays.joints`.
"""

from amr_jax.data.readers import keypoints
from amr_jax.data.readers.keypoints import Clip, Person
from amr_jax.errors import BadFile, letters

LAYOUT = "mediapipe_33"
_FRAMES = ("frames", "results", "data", "landmarks")
_WORLD, _IMAGE = ("poseworldlandmarks", "worldlandmarks"), ("poselandmarks", "landmarks")
_COLUMNS = ("x", "y", "z", "visibility")


def fits(content: object) -> bool:
    """Whether it looks like frames with landmarks: the first that is not empty has some."""
    frames = _frames(content)
    first = next((frame for frame in frames or () if frame), None)
    if first is None:
        return frames is not None
    if isinstance(first, dict):
        return bool({letters(str(key)) for key in first} & {*_WORLD, *_IMAGE, "landmark"})
    return isinstance(first, list) and isinstance(first[0], (dict, list))


def clips(content: object, path: object, channels: str) -> list[Clip]:
    """The one clip of a file: world landmarks for xyz, those in the image for xy and xyc.

    Args:
      content: of the file.
      path: how errors call it.
      channels: what the data set has; '': world landmarks if there are any. If the file has only
        one kind, it is that. All frames are of one kind; one that has only another holds nobody.
    """
    of_image = channels in ("xy", "xyc")
    preferred = (*_IMAGE, *_WORLD) if of_image else (*_WORLD, *_IMAGE)
    listed = _frames(content)
    filled = {letters(key) for one in listed if isinstance(one, dict) for key in one if one[key]}
    kind = next((key for key in preferred if key in filled), "")
    frames = [
        [
            _person(pose, f"frame {number}, person {i}", path)
            for i, pose in enumerate(_poses(frame, kind, number, path))
        ]
        for number, frame in enumerate(listed)
    ]
    return [keypoints.clip(frames, path, layout=LAYOUT)]


def _frames(content: object) -> list | None:
    if isinstance(content, dict):
        if content and all(key.isdecimal() and len(key) < 10 for key in content):
            of_number = {int(key): frame for key, frame in content.items()}
            return keypoints.in_time(of_number) if len(of_number) == len(content) else None
        content = next((content[key] for key in _FRAMES if key in content), None)
    return content if isinstance(content, list) else None


def _poses(frame: object, kind: str, number: int, path: object) -> list:
    """The poses in a frame, a list of landmarks each; of an object, those under the key `kind`."""
    if isinstance(frame, dict) and "landmark" not in frame:
        of_key = {letters(key): value for key, value in frame.items()}
        if frame and not of_key.keys() & {*_WORLD, *_IMAGE}:
            found = f"the keys {', '.join(list(frame)[:8])} in frame {number}"
            raise BadFile(path, found, "pose_landmarks, pose_world_landmarks or landmarks")
        frame = of_key.get(kind)
    if not frame:
        return []
    if isinstance(frame, dict):
        return [frame.get("landmark")]
    first = frame[0] if isinstance(frame, list) else None
    several = isinstance(first, dict) and "landmark" in first
    several |= isinstance(first, list) and bool(first) and isinstance(first[0], (dict, list))
    return (
        [pose.get("landmark") if isinstance(pose, dict) else pose for pose in frame if pose]
        if (several)
        else [frame]
    )


def _person(pose: object, place: str, path: object) -> Person:
    rows = [_row(landmark) for landmark in pose] if isinstance(pose, list) else pose
    numbers = keypoints.matrix(rows, _COLUMNS, place, path, LAYOUT)
    return Person(numbers[:, :3], numbers[:, 3])


def _row(landmark: object) -> object:
    """[x, y, z, visibility]; without a visibility it is seen."""
    if isinstance(landmark, dict):
        if not all(key in landmark for key in "xyz"):
            return f"the keys {', '.join(landmark) or '(none)'}"
        return [landmark["x"], landmark["y"], landmark["z"], landmark.get("visibility", 1.0)]
    if isinstance(landmark, list) and len(landmark) in (3, 5):
        return [*landmark[:3], landmark[3] if len(landmark) == 5 else 1.0]
    return landmark
