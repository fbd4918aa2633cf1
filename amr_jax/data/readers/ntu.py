"""NTU RGB+D 60/120: one `.skeleton` file → the joints of its two actors (datasets.md)."""

import dataclasses
import re

import numpy as np

from amr_jax.data.readers import files
from amr_jax.data.readers.ntu_text import NUM_JOINTS, Body, Recording, parse
from amr_jax.errors import BadFile, UserError

NUM_ACTORS = 2
GAPS = ("contiguous", "true_time")

# Thresholds of the field's standard denoising.
_MIN_FRAMES = 12
_SPREAD = 0.8
_NOISY_SHARE = 0.69754

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})(?i:\.skeleton)?")


class NoBody(BadFile):
    """A file in which nobody is seen: it belongs to the official list of missing skeletons."""

    def __init__(self, path, found, expected="at least one body in at least one frame", **place):
        super().__init__(path, found, expected, **place)

    def __reduce__(self):
        return NoBody, (self.path, self.found, self.expected)


@dataclasses.dataclass(frozen=True)
class NtuName:
    """What a file's name says; all numbers count from 1."""

    name: str
    setup: int
    camera: int
    subject: int
    replication: int
    action: int


def parse_name(path: str) -> NtuName:
    """Setup, camera, performer, replication and action from 'SsssCcccPpppRrrrAaaa.skeleton'."""
    match = _NAME.fullmatch(path.replace("\\", "/").rsplit("/", 1)[-1].rsplit("!", 1)[-1])
    numbers = [int(group) for group in match.groups()] if match else [0]
    if min(numbers) < 1:
        raise BadFile(
            path,
            "a name that does not parse",
            "SsssCcccPpppRrrrAaaa.skeleton with three digits each, from 001",
        )
    return NtuName(match.group(0)[: len("SsssCcccPpppRrrrAaaa")], *numbers)


def read(raw: files.RawFile, gaps: str = "contiguous") -> dict:
    """One sequence: 'joints' (T, 2, 25, 3) float32, absent body zeros, and what the name says.

    Raises:
      NoBody: nobody is in the file.
      BadFile: its name or its content is not what the format promises.
    """
    name = parse_name(str(raw))
    return {"joints": read_joints(raw, gaps), **dataclasses.asdict(name)}


def read_joints(raw: files.RawFile, gaps: str = "contiguous") -> np.ndarray:
    """The joints alone, (T, 2, 25, 3) as from `read`, of a file of any name."""
    return denoise(parse(raw.read(), str(raw)), gaps)


def denoise(recording: Recording, gaps: str = "contiguous") -> np.ndarray:
    """Picks the two actors, by the field's standard procedure (datasets.md, Denoising).

    Args:
      recording: of one file.
      gaps: 'contiguous', as published: a body that vanishes and returns is written without its gap,
        from the first frame it is seen in; 'true_time' keeps every frame where it is.

    Returns:
      (T, 2, 25, 3) float32, metres; zeros where an actor is absent.

    Raises:
      NoBody: no body in any frame, or nothing but zeros.
    """
    if gaps not in GAPS:
        raise UserError(f"unknown gaps {gaps!r}; expected one of: {', '.join(GAPS)}.")
    if not recording.bodies:
        raise NoBody(recording.path, f"no body in any of its {recording.num_frames} frames")
    # Frames without any body are dropped, the rest renumbered.
    seen = np.unique(np.concatenate([body.frames for body in recording.bodies]))
    tracks = [_Track.of(body, seen, gaps) for body in recording.bodies]
    kept = _drop_noise(tracks) if len(tracks) > 1 else tracks
    actors = _assign(kept, len(seen))
    if len(tracks) > 1:
        # Quirk of the published scripts: a frame counts as empty where its values *sum* to zero,
        # over as many actors as bodies were left (the order of summing decides the rounding).
        values = actors if len(kept) > 1 else actors[:, :1]
        with np.errstate(over="ignore", invalid="ignore"):  # absurd coordinates
            actors = actors[values.reshape(len(seen), -1).sum(axis=1) != 0]
    if not actors.any():
        raise NoBody(recording.path, "bodies whose coordinates are all zero")
    return actors


@dataclasses.dataclass
class _Track:
    """A body on the renumbered frames: its joints go to `index` (n,), its span is start..end."""

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

        In float32, like the published one: its rounding decides between two that move alike.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # absurd coordinates
            return self.joints[clean].reshape(-1, 3).var(axis=0).sum()

    def clean(self) -> np.ndarray:
        """(n,) bool: the frames whose spread is that of an upright person, not of furniture."""
        by_joint = np.ascontiguousarray(self.joints[..., :2].transpose(1, 2, 0))  # faster to reduce
        with np.errstate(over="ignore"):
            width, height = by_joint.max(axis=0) - by_joint.min(axis=0)
        # The factor is a double, as it was in NumPy 1, with which the published numbers were made.
        return width <= _SPREAD * height.astype(np.float64)


def _drop_noise(tracks: list[_Track]) -> list[_Track]:
    """Step 2, without the short and the spread-out ones; in the order of step 3, by motion."""
    # The published script fails where all are short: the longest is kept here.
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
    """Step 3: (num_frames, 2, 25, 3); each track goes to the first actor that is free, or nowhere.

    Quirks of the published script, kept: two tracks of one actor may share one frame (the later one
    overwrites it), the second actor's span begins at frame 0, and a span covers the gaps within it.
    """
    actors = np.zeros((num_frames, NUM_ACTORS, NUM_JOINTS, 3), np.float32)
    spans = [(tracks[0].start, tracks[0].start), (0, 0)]
    for track in tracks:
        for actor, (start, end) in enumerate(spans):
            if min(end, track.end) - max(start, track.start) <= 0:
                # A bodyID that stands twice in a frame may run past the end, where the published
                # script fails: it is cut there.
                inside = track.index < num_frames
                actors[track.index[inside], actor] = track.joints[inside]
                spans[actor] = (min(start, track.start), max(end, track.end))
                break
    return actors
