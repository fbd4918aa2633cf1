"""The recording of a performance by a depth sensor: noise, and lost or spurious bodies.

Geometry and errors are those of NTU RGB+D 60: three Kinect v2 at the same height, camera 1 in the
middle, 2 and 3 at 45 degrees to either side; height and distance depend on the setup.
"""

import dataclasses

import numpy as np

from amr_jax.skeleton import layouts
from amr_jax.synthetic.performance import Take

TRACKED, INFERRED = 2, 1  # the sensor's states of a joint

# Standard deviation of a joint's position in metres, at 3 m; it grows with distance from the trunk.
_JITTER = {"hand tip": 0.022, "thumb": 0.022, "hand": 0.014, "wrist": 0.011, "foot": 0.018,
           "ankle": 0.012, "knee": 0.008, "elbow": 0.008}  # fmt: skip
JITTER = np.array(
    [
        _JITTER.get(j.removeprefix("left ").removeprefix("right "), 0.005)
        for j in layouts.NTU_25.joints
    ]
)
LIMBS = tuple(v for part, v in layouts.NTU_25.parts.items() if part != "trunk")


@dataclasses.dataclass(frozen=True)
class Camera:
    """Position of a sensor, and its axes (3, 3) in the room: left, up, forward as rows."""

    place: np.ndarray
    axes: np.ndarray

    def see(self, joints: np.ndarray) -> np.ndarray:
        """Transforms joints (..., 3) from the room's to the camera's coordinate system."""
        return (joints - self.place) @ self.axes.T


def camera(seed: int, setup: int, number: int) -> Camera:
    """Camera 1, 2 or 3 of a setup; it points at the middle of a person."""
    rng = np.random.default_rng((seed, setup, 0, 0, 0, 0))
    height, distance, aim = rng.uniform(0.7, 2.2), rng.uniform(2.6, 4.2), rng.uniform(0.85, 1.1)
    angle = rng.normal([0.0, np.pi / 4, -np.pi / 4], 0.05)
    distances = distance * rng.uniform(0.95, 1.05, 3)
    place = distances[number - 1] * np.array(
        [np.sin(angle[number - 1]), 0, np.cos(angle[number - 1])]
    )
    place[1] = height
    forward = np.array([0.0, aim, 0.0]) - place
    forward /= np.linalg.norm(forward)
    left = np.cross([0.0, 1.0, 0.0], forward)
    left /= np.linalg.norm(left)
    return Camera(place, np.stack([left, np.cross(forward, left), forward]))


@dataclasses.dataclass
class Track:
    """One body as tracked under one bodyID.

    Attributes:
      body_id: near 7.2e16: does not fit a float64.
      frames: (n,) indices of the frames that contain it, ascending.
      joints: (n, 25, 3) metres in the camera's coordinate system.
      state: (n, 25) TRACKED or INFERRED.
    """

    body_id: int
    frames: np.ndarray
    joints: np.ndarray
    state: np.ndarray

    def cut(self, keep: np.ndarray, body_id: int | None = None) -> "Track":
        """The frames where `keep` (n,) holds."""
        body_id = self.body_id if body_id is None else body_id
        return Track(body_id, self.frames[keep], self.joints[keep], self.state[keep])


def _noisy(rng: np.random.Generator, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds jitter that depends on joint, distance and occlusion; also returns states."""
    num_frames = len(joints)
    depth = joints[..., 2]
    behind = np.clip((depth - depth[:, :1] - 0.08) / 0.2, 0.0, 1.0)
    sigma = JITTER * (0.4 + 0.6 * depth / 3.0) * (1.0 + 1.5 * behind)
    white = rng.standard_normal((num_frames + 2, *joints.shape[1:]))
    # The sensor smooths, so errors of neighbouring frames correlate. The weights keep the variance.
    noise = (0.5 * white[:-2] + 0.7 * white[1:-1] + 0.5 * white[2:]) / np.sqrt(0.99)
    state = np.where(behind > 0.9, INFERRED, TRACKED)
    return joints + sigma[..., None] * noise, state


def _hide_limbs(rng: np.random.Generator, track: Track) -> None:
    """Hides random limbs for some frames; the sensor reports them elsewhere."""
    for _ in range(rng.poisson(len(track.frames) / 90)):
        limb = np.array(LIMBS[rng.integers(len(LIMBS))])[1:]
        start = rng.integers(len(track.frames))
        hidden = slice(start, start + rng.integers(2, 11))
        track.joints[hidden, limb] += (
            rng.normal(0.0, 0.09, 3) * np.linspace(0.4, 1.0, len(limb))[:, None]
        )
        track.state[hidden, limb] = INFERRED


def _stray(rng: np.random.Generator, body_id: int, num_frames: int, model: np.ndarray) -> Track:
    """A spurious body beside the persons, for at most 11 frames."""
    length = int(rng.integers(3, 12))
    start = int(rng.integers(0, num_frames - length + 1))
    frames = np.arange(start, start + length)
    joints = model[frames] + rng.normal(0.0, 0.8, 3) * [1.0, 0.2, 0.6]
    joints = joints + rng.normal(0.0, 0.05, joints.shape)
    return Track(body_id, frames, joints, np.full((length, 25), INFERRED))


def _furniture(rng: np.random.Generator, body_id: int, num_frames: int) -> Track:
    """A table tracked as a body: wide, flat, noisy, for half of the file or more."""
    length = int(rng.integers(num_frames // 2, num_frames + 1))
    start = int(rng.integers(0, num_frames - length + 1))
    width, height, depth = rng.uniform(0.9, 1.5), rng.uniform(0.15, 0.4), 0.4
    shape = rng.uniform(-0.5, 0.5, (25, 3)) * [width, height, depth]
    shape[:2] = [[-width / 2, 0, 0], [width / 2, 0, 0]]
    place = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.4), -0.6, rng.uniform(2.5, 4.0)])
    joints = place + shape + rng.normal(0.0, 0.012, (length, 25, 3))
    return Track(body_id, np.arange(start, start + length), joints, np.full((length, 25), INFERRED))


def _lose(rng: np.random.Generator, track: Track, body_id: int) -> list[Track]:
    """Splits a track in the middle third: the body is lost, and found under a new bodyID."""
    length = len(track.frames)
    lost = int(rng.integers(length // 3, 2 * length // 3 + 1))
    found = lost + int(rng.integers(0, 4))
    index = np.arange(length)
    return [track.cut(index < lost), track.cut(index >= found, body_id)]


def record(seed: int, take: Take, number: int, people: list[np.ndarray]) -> tuple[int, list[Track]]:
    """The recording of a take by one camera: the number of frames, and the tracked bodies.

    Of 100 files, about 12 have frames without a body, 8 lose a person and find it under a new
    bodyID, 6 have a spurious short-lived body, and 4 a piece of furniture; 1 in 250 has no body.
    """
    rng = take.generator(seed, number)
    num_frames = len(people[0])
    # The ids of a file are closer together than the spacing of float64 there.
    ids = iter(2**56 + int(rng.integers(1_000, 60_000)) + np.cumsum(rng.integers(1, 4, 8)))
    position = camera(seed, take.setup, number)
    seen = [position.see(joints) for joints in people]

    tracks = []
    for joints in seen:
        track = Track(int(next(ids)), np.arange(num_frames), *_noisy(rng, joints))
        _hide_limbs(rng, track)
        tracks.append(track)
    if rng.uniform() < 0.08:
        tracks[-1:] = _lose(rng, tracks[-1], int(next(ids)))
    if rng.uniform() < 0.06:
        tracks.append(_stray(rng, int(next(ids)), num_frames, seen[0]))
    if rng.uniform() < 0.04:
        tracks.append(_furniture(rng, int(next(ids)), num_frames))
    if rng.uniform() < 0.12:  # no body, at the beginning or elsewhere
        start = 0 if rng.uniform() < 0.5 else int(rng.integers(num_frames - 8))
        stop = start + int(rng.integers(1, 7))
        tracks = [t.cut((t.frames < start) | (t.frames >= stop)) for t in tracks]
    if rng.uniform() < 0.004:
        tracks = []
    return num_frames, [track for track in tracks if len(track.frames)]
