"""NTU RGB+D 60/120: a `.skeleton` file → the joints of its two actors (docs/formats.md)."""

import dataclasses
import re

import numpy as np

from amr_jax.data.readers import files, findings
from amr_jax.data.readers.files import NoBody
from amr_jax.data.readers.ntu_text import NUM_JOINTS, Body, Recording, parse
from amr_jax.errors import BadFile, UserError

NUM_ACTORS = 2
GAPS = ("contiguous", "true_time")

# Thresholds of the published denoising.
_MIN_FRAMES = 12
_SPREAD = 0.8
_NOISY_SHARE = 0.69754

_NAME = re.compile(
    r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})(?:\.skeleton(?:\.gz)?)?", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class NtuName:
    """The content of a file's name; all numbers count from 1. `name` is in upper case."""

    name: str
    setup: int
    camera: int
    subject: int
    replication: int
    action: int


def parse_name(path: str, raw: files.RawFile | None = None) -> NtuName:
    """Setup, camera, performer, replication and action from 'SsssCcccPpppRrrrAaaa.skeleton'.

    Letters may be in lower case.

    Errors name `raw`, the file itself, if it is given.
    """
    match = _NAME.fullmatch(path.replace("\\", "/").rsplit("/", 1)[-1].rsplit("!", 1)[-1])
    numbers = [int(group) for group in match.groups()] if match else [0]
    if min(numbers) < 1:
        raise BadFile(
            raw or path,
            "a name that does not parse",
            "SsssCcccPpppRrrrAaaa.skeleton with three digits each, from 001",
        )
    return NtuName(match.group(0)[: len("SsssCcccPpppRrrrAaaa")].upper(), *numbers)


def read(
    raw: files.RawFile,
    gaps: str = "contiguous",
    num_actions: int = 120,
    counts: dict[str, int] | None = None,
) -> dict:
    """Reads a sequence of a data set with `num_actions` actions; `counts` as in `read_joints`.

    Returns:
      joints as of `read_joints`; label, from 0; and the fields of `NtuName`.

    Raises:
      NoBody: no body in the file.
      BadFile: its name or its content violates the format.
    """
    name = parse_name(raw.name, raw)
    if name.action > num_actions:
        raise BadFile(raw, f"action A{name.action:03d}", f"A001 to A{num_actions:03d}")
    joints = read_joints(raw, gaps, counts)
    return {"joints": joints, "label": name.action - 1, **dataclasses.asdict(name)}


def read_and_tell(raw: files.RawFile, gaps: str, num_actions: int) -> dict:
    """As `read`, with `findings` in the example."""
    counts: dict[str, int] = {}
    example = read(raw, gaps, num_actions, counts)
    return {**example, **findings.told(counts)}


def read_joints(
    raw: files.RawFile, gaps: str = "contiguous", counts: dict[str, int] | None = None
) -> np.ndarray:
    """Reads the joints of a file of any name: (T, 2, 25, 3) float32, zeros for an absent body.

    Somebody is in each frame. `counts` gets the counts of `findings`: frames of the file without
    any body, or with bodies whose coordinates are all zero.
    """
    recording = parse(raw.read(), str(raw))
    joints = denoise(recording, gaps)
    if counts is not None:
        seen = [body.frames[body.joints.any(axis=(1, 2))] for body in recording.bodies]
        num_empty = recording.num_frames - len(np.unique(np.concatenate(seen)))
        findings.add(counts, findings.EMPTY_FRAMES, num_empty)
    # Denoising, as published, keeps zeros of a single body.
    return joints[joints.any(axis=(1, 2, 3))]


def denoise(recording: Recording, gaps: str = "contiguous") -> np.ndarray:
    """Selects the two actors by the published procedure (docs/formats.md, Denoising).

    Args:
      recording: one file.
      gaps: 'contiguous', as published, writes the frames of a body that vanishes and returns one
        after the other, from its first frame on; 'true_time' keeps every frame at its time.

    Returns:
      (T, 2, 25, 3) float32, metres; zeros where an actor is absent.

    Raises:
      NoBody: no body in any frame, or nothing but zeros.
    """
    if gaps not in GAPS:
        raise UserError(f"unknown gaps {gaps!r}; expected one of: {', '.join(GAPS)}.")
    if not recording.bodies:
        raise _no_body(recording, f"no body in any of its {recording.num_frames} frames")
    # Drop frames without any body and renumber the rest.
    seen = np.unique(np.concatenate([body.frames for body in recording.bodies]))
    tracks = [_Track.of(body, seen, gaps) for body in recording.bodies]
    kept = _drop_noise(tracks) if len(tracks) > 1 else tracks
    actors = _assign(kept, len(seen))
    if len(tracks) > 1:
        # Quirk of the published scripts: a frame is empty if its values *sum* to zero, over one
        # actor if one body was left (the order of the sum decides the rounding).
        values = actors if len(kept) > 1 else actors[:, :1]
        with np.errstate(over="ignore", invalid="ignore"):  # absurd coordinates
            actors = actors[values.reshape(len(seen), -1).sum(axis=1) != 0]
    if not actors.any():
        raise _no_body(recording, "bodies whose coordinates are all zero")
    return actors


def _no_body(recording: Recording, found: str) -> NoBody:
    return NoBody(recording.path, found, "at least one body in at least one frame")


@dataclasses.dataclass
class _Track:
    """A body on the renumbered frames: its joints go to frames `index` (n,), start to end."""

    joints: np.ndarray
    index: np.ndarray
    start: int
    end: int

    @classmethod
    def of(cls, body: Body, seen: np.ndarray, gaps: str) -> "_Track":
        index = np.searchsorted(seen, body.frames)
        if gaps == "contiguous":
            index = index[0] + np.arange(len(index))
        return cls(body.joints, index, int(index[0]), int(index[-1]))

    def motion(self, clean: slice | np.ndarray = np.s_[:]) -> np.float32:
        """Variance over frames and joints, summed over x, y, z (m²).

        In float32, as published: rounding decides between two bodies with nearly equal motion.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # absurd coordinates
            return self.joints[clean].reshape(-1, 3).var(axis=0).sum()

    def clean(self) -> np.ndarray:
        """(n,) bool: frames in which the body is narrow, like a person and unlike furniture."""
        by_joint = np.ascontiguousarray(self.joints[..., :2].transpose(1, 2, 0))  # reduces faster
        with np.errstate(over="ignore"):
            width, height = by_joint.max(axis=0) - by_joint.min(axis=0)
        # In float64, as in NumPy 1, which made the published numbers.
        return width <= _SPREAD * height.astype(np.float64)


def _drop_noise(tracks: list[_Track]) -> list[_Track]:
    """Step 2: drops short and wide tracks; returns the rest by descending motion, for step 3."""
    # The published script fails if all are short; here the longest is kept.
    longest = max(tracks, key=lambda track: len(track.index))
    kept = [track for track in tracks if len(track.index) >= _MIN_FRAMES] or [longest]
    motions = {id(track): track.motion() for track in kept}
    for track in list(kept):
        if len(kept) == 1:
            break
        clean = track.clean()
        if clean.all():
            continue
        if np.count_nonzero(~clean) / len(clean) >= _NOISY_SHARE:
            kept = [other for other in kept if other is not track]
        else:
            motions[id(track)] = min(motions[id(track)], track.motion(clean))
    return sorted(kept, key=lambda track: motions[id(track)], reverse=True)


def _assign(tracks: list[_Track], num_frames: int) -> np.ndarray:
    """Step 3: (num_frames, 2, 25, 3); a track joins the first actor that is free, or is dropped.

    Keeps these quirks of the published script: two tracks of one actor may share a frame (the later
    track overwrites it), the second actor's span begins at frame 0, and a span includes its gaps.
    """
    actors = np.zeros((num_frames, NUM_ACTORS, NUM_JOINTS, 3), np.float32)
    spans = [(tracks[0].start, tracks[0].start), (0, 0)]
    for track in tracks:
        for actor, (start, end) in enumerate(spans):
            if min(end, track.end) - max(start, track.start) <= 0:
                actors[track.index, actor] = track.joints
                spans[actor] = (min(start, track.start), max(end, track.end))
                break
    return actors
