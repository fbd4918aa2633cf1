"""What a file of skeletons holds, without being told: for `amr-jax info`."""

import dataclasses
import math
import os
import re

import numpy as np

from amr_jax.data.build import own_files
from amr_jax.data.readers import (
    arrays,
    files,
    formats,
    keypoints,
    openpose,
    pyskl,
    raw_sets,
)
from amr_jax.errors import BadFile
from amr_jax.ops import normalise
from amr_jax.skeleton.layouts import LAYOUTS, num_coordinates

ENDINGS = (".npz", ".npy", ".pkl", ".pickle", ".skeleton", ".mat", ".txt", *formats.ENDINGS)
_DETECTED = ("coco_17", "openpose_18", "openpose_25")  # third numbers are confidences
_PERSON = 0.45  # metres: `arrays.extent` of a standing person
_UNITS = {1.0: "metres", 0.01: "centimetres", 0.001: "millimetres"}


@dataclasses.dataclass
class Held:
    """What one file holds.

    Attributes:
      title: of its format.
      layout: its name, or the path of a file with it; '' if nothing tells it.
      channels: one of `layouts.CHANNELS`.
      joints: each sequence as in the file, (T, M, V, C).
      dataset: the name for `--dataset` of `prepare`.
      texts: label, split and subject of each sequence, as far as the file says.
      counts: see `findings`, and the frames without anybody.
      scores: the largest score of a joint, if it is too large for a confidence.
    """

    title: str
    layout: str
    channels: str
    joints: list[np.ndarray]
    dataset: str = "custom"
    texts: list[dict[str, str]] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    scores: float | None = None

    @property
    def scale_of_scores(self) -> int | None:
        """A guess at the score that is confidence 1: 10 (RTMPose), 100 (per cent) or the largest.

        None: scores are confidences.
        """
        most = self.scores and math.ceil(self.scores)
        return most and (10 if most <= 20 else 100 if most <= 150 else most)


def of_task(task: own_files.Task) -> Held:
    """Reads one file, or the frames of a video.

    Raises:
      BadFile: it cannot be read.
      NoBody: it is text without numbers, such as a description of the data set.
    """
    raw = task.raw
    if not raw.name.lower().endswith(ENDINGS):
        raise BadFile(raw, "a file of another kind", f"a name that ends in {', '.join(ENDINGS)}")
    ending = os.path.splitext(raw.name.lower())[1]
    if ending in (".pkl", ".pickle"):
        return _of_pickle(raw)
    if ending in (".npy", ".npz"):
        return _of_array(raw)
    if ending == ".txt" and not re.match(rb"[\s\d.+-]*\d", raw.read(keypoints.MAX_BYTES)[:100]):
        raise files.NoBody(raw, "text without numbers, so no skeleton", "the numbers of joints")
    if of := raw_sets.of(raw):
        counts: dict[str, int] = {}
        joints = [of.read(raw, counts)]
        return Held(of.title, of.layout.name, "xyz", joints, of.dataset, counts=counts)
    if task.frames:  # in any of them there may be nobody
        found = formats.Found(formats.OPENPOSE, [openpose.read(task.frames, task, "")])
    else:
        found = formats.read(raw)
    layout, held = formats.layout_of(raw, found.clips[0]), found.clips
    one = Held(found.title, layout, held[0].channels, [], texts=[clip.texts for clip in held])
    own = LAYOUTS.get(layout)
    for clip in held:
        shape = arrays.Form(clip.values.shape[2], one.channels)
        largest = _largest(clip.values, clip.scores, one.channels)
        form = dataclasses.replace(shape, scores=largest)
        one.scores = max(filter(None, (one.scores, largest)), default=None)
        if own and clip.joints:
            form = dataclasses.replace(form, layout=layout, joints=own.joints)
        one.joints.append(keypoints.joints(clip, form, raw, one.counts))
    return one


def _largest(values: np.ndarray, scores: np.ndarray | None, channels: str) -> float | None:
    """The largest score, if it is too large for a confidence; no error here.

    Args:
      values: (…, V, numbers of a joint), of which a third number is a score.
      scores: (…, V), or None.
      channels: one of `layouts.CHANNELS`.
    """
    found = values[..., 2] if values.shape[-1] == 3 else scores
    if channels != "xyc" or getattr(found, "dtype", np.dtype(bool)).kind not in "fiu":
        return None
    largest = float(np.nanmax(found, initial=0))
    return largest if 1.5 < largest < 1e6 else None


def _of_array(raw: files.RawFile) -> Held:
    values, confidence = arrays.read(raw)
    shape = arrays.shape_of(values)
    if not 3 <= len(shape) <= 4 or values.dtype.kind not in "fiu":
        raise BadFile(raw, f"an array of shape {shape}", "joints (T, M, V, C), or (T, V, C)")
    layout, channels = meaning(shape, confidence is not None)
    if channels == "xyc" and shape[-1] == 3 and (values[..., 2] < 0).any():
        layout, channels = "", "xyz"  # not a detector's: in space, such as Human3.6M's 17
    largest = _largest(values.reshape(shape), confidence, channels)
    form = arrays.Form(shape[-2], channels, scores=largest, layout=layout)
    title = "MediaPipe Pose (array)" if formats.told(raw) else f"array {values.shape}"
    one = Held(title, layout, channels, [], scores=largest)
    one.joints.append(arrays.joints(values, confidence, form, raw, one.counts))
    return one


def _of_pickle(raw: files.RawFile) -> Held:
    content = pyskl.load(raw)
    if not content.annotations:
        raise BadFile(raw, "no annotation", "at least one, the joints of a sequence")
    shape = np.shape(content.annotations[0].content.get("keypoint"))
    shape = shape if len(shape) > 2 else (0, 0)
    scored = content.annotations[0].content.get("keypoint_score") is not None
    layout, channels = meaning(shape, scored)
    one = Held("PYSKL, MMAction2", layout, channels, [])
    for annotation in content.annotations:
        found = (annotation.content.get(key) for key in ("keypoint", "keypoint_score"))
        largest = _largest(*map(np.asanyarray, found), channels)
        one.scores = max(filter(None, (one.scores, largest)), default=None)
        form = arrays.Form(shape[-2], channels, scores=largest)
        one.joints.append(pyskl.joints(annotation, form, one.counts))
        split = ", ".join(annotation.splits)
        one.texts.append({"label": str(annotation.content.get("label", "")), "split": split})
    return one


def meaning(shape: tuple[int, ...], scored: bool, layout: str = "") -> tuple[str, str]:
    """A guess at what joints are: their layout, '' if nothing tells it, and their channels.

    Args:
      shape: (…, V, numbers of a joint), see `arrays.shape_of`.
      scored: whether confidences are in another array.
      layout: if it is known.
    """
    layout = layout or of_size(*shape[-2:])
    if scored if shape[-1] == 2 else shape[-1] == 3 and layout in _DETECTED:
        return layout, "xyc"
    return layout, "xy" if shape[-1] == 2 else "xyz"


def of_size(num_joints: int, width: int) -> str:
    """The layout with this many joints, '' if there is none: of two, Kinect's in space."""
    found = [one.name for one in LAYOUTS.values() if one.num_joints == num_joints]
    return found[0 if width == 3 else -1] if found else ""


def gaps(joints: np.ndarray, channels: str) -> tuple[int, float]:
    """Frames without the first person, and the share of joints of present people not found."""
    found = normalise.found(joints, channels)
    here = found.any(axis=2)
    return int((~here[:, 0]).sum()), float(1 - found[here].mean()) if here.any() else 0.0


def ranges(joints: list[np.ndarray], channels: str) -> list[tuple[float, float]]:
    """(lowest, highest) of each coordinate of joints that were found."""
    found = [one[normalise.found(one, channels)] for one in joints]
    every = np.concatenate(found)[:, : num_coordinates(channels)]
    return list(zip(every.min(axis=0).tolist(), every.max(axis=0).tolist(), strict=True))


def unit(joints: list[np.ndarray], channels: str) -> tuple[str, float]:
    """A guess at the unit by the size of people, and the factor to metres (1 in an image)."""
    if channels != "xyz":
        largest = max(high for _, high in ranges(joints, channels))
        return ("parts of the image" if largest <= 2 else "pixels"), 1.0
    size = float(np.median([arrays.extent(one) for one in joints[:100]]))
    factor = min(_UNITS, key=lambda factor: abs(math.log(max(size, 1e-9) * factor / _PERSON)))
    return f"{_UNITS[factor]} (people measure {size:.3g} from their middle)", factor
