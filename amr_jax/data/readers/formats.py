"""Files of key points in the formats of pose estimators: which one a file is, and its clips."""

import dataclasses
from types import ModuleType

from amr_jax.data.readers import (
    arrays,
    azure_kinect,
    bounded,
    bvh,
    coco,
    files,
    key_table,
    keypoints,
    mediapipe,
    mmpose,
    openpose,
)
from amr_jax.data.readers.files import NoBody
from amr_jax.data.readers.keypoints import Clip
from amr_jax.errors import BadFile, letters
from amr_jax.skeleton.layouts import LAYOUTS

ENDINGS = (".json", ".bvh", ".csv")
OPENPOSE, BVH, CSV = "OpenPose", "BVH", "CSV"
# Title -> reader of a JSON file; the first that a file fits is the one.
_JSON: dict[str, ModuleType] = {
    OPENPOSE: openpose,
    "Azure Kinect": azure_kinect,
    "COCO": coco,
    "MMPose": mmpose,
    "MediaPipe Pose": mediapipe,
}


@dataclasses.dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
      title: of its format.
      clips: its sequences.
    """

    title: str
    clips: list[Clip]


def read(raw: files.RawFile, channels: str = "") -> Found:
    """Reads a file of key points.

    Args:
      raw: a file that ends in one of `ENDINGS`.
      channels: what the data set has, where a file has several (MediaPipe, OpenPose); '': see
        `keypoints.Clip.channels`.

    Raises:
      BadFile: of no known format, or damaged.
    """
    name = raw.name.lower()
    if name.endswith(".bvh"):
        return Found(BVH, bvh.clips(raw))
    if name.endswith(".csv"):
        return Found(CSV, key_table.clips(raw))
    known = ", ".join(_JSON)
    content = bounded.load_json(
        raw.read(keypoints.MAX_BYTES), raw, f"key points of {known}", lists=True
    )
    if isinstance(content, dict) and {"name", "joints", "bones"} <= content.keys():
        raise NoBody(raw, "a layout", "key points; a layout is named by --layout")
    if isinstance(content, dict) and "skeletons" in content:
        raise BadFile(raw, "the layout kinect_20, in a file of NW-UCLA", f"key points of {known}")
    if (title := title_of(content)) is None:
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else "a list of others"
        raise BadFile(
            raw, f"JSON of no known form ({keys[:80] or 'empty'})", f"key points of {known}"
        )
    return Found(title, _JSON[title].clips(content, raw, channels))


def title_of(content: object) -> str | None:
    """The format of a JSON file's content; None for others."""
    return next((title for title, reader in _JSON.items() if reader.fits(content)), None)


def told(raw: files.RawFile, channels: str = "") -> dict[str, str]:
    """What a file says of its `layout` and its `channels`; '' where it does not.

    The layout of a BVH file is its own skeleton, so it is the file's path.
    """
    name = raw.name.lower()
    if name.endswith((".npy", ".npz")):
        shape = arrays.read(raw)[0].shape
        known = shape[-2:] in ((33, 4), (33, 5)) or (len(shape) == 2 and shape[1] in (132, 165))
        return {"layout": "mediapipe_33", "channels": channels or "xyz"} if known else {}
    clip = read(raw, channels).clips[0]
    return {"layout": layout_of(raw, clip), "channels": clip.channels}


def layout_of(raw: files.RawFile, clip: Clip) -> str:
    """As in `told`, of a clip that was read; joints with names are those of a built-in layout."""
    if clip.layout or raw.name.lower().endswith(".bvh"):
        return clip.layout or str(raw)
    names = set(map(letters, clip.joints))
    same = (one.name for one in LAYOUTS.values() if set(map(letters, one.joints)) == names)
    return next(same, "")
