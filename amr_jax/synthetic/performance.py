"""A performance: one action by one performer (and a partner), in metres, in the room.

In the room's coordinate system y points up, and the origin is on the ground where the persons
stand. Cameras 2, 1 and 3 look at it from the left, the middle and the right (`sensor.camera`).
"""

import dataclasses

import numpy as np

from amr_jax.synthetic.acting import FRAMES_PER_SECOND, LEFT, RIGHT, Act, smooth
from amr_jax.synthetic.actions import ACTIONS
from amr_jax.synthetic.body import HANGING, Person, Pose, rotation

MIN_FRAMES, MAX_FRAMES = 30, 200
NUM_PERFORMERS = 40  # as in NTU RGB+D 60


@dataclasses.dataclass(frozen=True)
class Take:
    """The numbers in a file name except the camera, all counted from 1."""

    setup: int
    performer: int
    replication: int
    action: int

    def file_name(self, camera: int) -> str:
        return (
            f"S{self.setup:03d}C{camera:03d}P{self.performer:03d}"
            f"R{self.replication:03d}A{self.action:03d}.skeleton"
        )

    def generator(self, seed: int, camera: int = 0) -> np.random.Generator:
        """A random generator for this take (camera 0), or for its recording by one camera."""
        names = (self.setup, camera, self.performer, self.replication, self.action)
        return np.random.default_rng((seed, *names))


@dataclasses.dataclass(frozen=True)
class Subject:
    """Properties of a performer that are the same in all takes.

    Attributes:
      tempo: factor for speed.
      size: factor for the reach of movements.
      sway: factor for idle motion.
      stoop: forward lean of the chest at rest, radians.
      left_handed: fraction of one-handed actions done with the left hand.
    """

    person: Person
    tempo: float
    size: float
    sway: float
    stoop: float
    left_handed: float

    @staticmethod
    def random(seed: int, performer: int) -> "Subject":
        rng = np.random.default_rng((seed, 0, 0, performer, 0, 0))
        return Subject(
            person=Person.random(rng),
            tempo=rng.uniform(0.8, 1.25),
            size=rng.uniform(0.8, 1.2),
            sway=rng.uniform(0.6, 1.5),
            stoop=rng.uniform(-0.03, 0.1),
            left_handed=0.85 if rng.uniform() < 0.15 else 0.15,
        )


def _drift(rng: np.random.Generator, num_frames: int, width: int) -> np.ndarray:
    """Slow random curves (T, width) of about unit size."""
    time = np.arange(num_frames) / FRAMES_PER_SECOND
    hertz = rng.uniform(0.08, 0.6, (3, width))
    phase = rng.uniform(0, 2 * np.pi, (3, width))
    waves = np.sin(2 * np.pi * np.multiply.outer(time, hertz) + phase)
    return np.einsum("tkw,kw->tw", waves, rng.uniform(0.3, 0.8, (3, width)))


def _idle(rng: np.random.Generator, subject: Subject, num_frames: int) -> Pose:
    """An idle person: a random posture, swaying."""
    pose = Pose(num_frames)
    sway = subject.sway * _drift(rng, num_frames, 15)
    pose.bend += subject.stoop + 0.02 * sway[:, 0]
    pose.lean += rng.normal(0.0, 0.02) + 0.015 * sway[:, 1]
    pose.twist += rng.normal(0.0, 0.06) + 0.03 * sway[:, 2]
    pose.head += rng.normal(0.0, 0.08, 3) + 0.05 * sway[:, 3:6]
    pose.pelvis[:, [0, 2]] += 0.012 * sway[:, 6:8]
    pose.yaw += 0.03 * sway[:, 8]
    for side in (LEFT, RIGHT):
        pose.hand[:, side] += rng.normal(0.0, 0.05, 3) + 0.035 * sway[:, 9 + 3 * side :][:, :3]
        pose.pole[:, side] += rng.normal(0.0, 0.15, 3)
        pose.foot[:, side] += rng.normal(0.0, 0.03, 3) * [1, 0, 1]
        if rng.uniform() < 0.15:  # one hand on the hip, or in front of the belly
            posture = np.array([(0.3, -0.6, 0.05), (-0.2, -0.55, 0.42)])[rng.integers(2)]
            pose.hand[:, side] += posture - HANGING
    return pose


def _fidget(rng: np.random.Generator, pose: Pose) -> None:
    """Adds random movements unrelated to the action: steps, turns, looks, gestures."""
    frame = np.arange(len(pose.yaw))
    for _ in range(rng.poisson(1.5)):
        since = (frame - rng.uniform(0, len(frame))) / rng.uniform(8, 20)
        done, bump, side = smooth(0.5 + 0.5 * since), smooth(1.0 - np.abs(since)), rng.integers(2)
        match rng.integers(4):
            case 0:
                pose.travel[:, [0, 2]] += np.outer(done, rng.normal(0.0, 0.16, 2))
                pose.foot[:, side, 1] += 0.08 * bump
            case 1:
                pose.yaw += rng.normal(0.0, 0.35) * done
                pose.foot[:, side, 1] += 0.06 * bump
            case 2:
                pose.head += np.outer(bump, rng.normal(0.0, 0.3, 3))
            case 3:
                somewhere = rng.uniform([-0.3, -0.9, 0.0], [0.5, 0.2, 0.6])
                pose.reach(side, somewhere, rng.uniform(0.2, 0.7) * bump)


def _place(joints: np.ndarray, heading: float, ground: np.ndarray) -> np.ndarray:
    """Transforms joints from a person's coordinate system to the room's."""
    turn = rotation(*np.array([[heading], [0.0], [0.0]]))[0]
    return joints @ turn.T + np.array([ground[0], 0.0, ground[1]])


def perform(seed: int, take: Take) -> list[np.ndarray]:
    """The joints (T, 25, 3) of each person in a take, metres, in the room's coordinate system."""
    rng = take.generator(seed)
    action = ACTIONS[take.action]
    subjects = [Subject.random(seed, take.performer)]
    if action.num_people == 2:
        others = [p for p in range(1, NUM_PERFORMERS + 1) if p != take.performer]
        subjects.append(Subject.random(seed, int(rng.choice(others))))
    lead = subjects[0]

    tempo = lead.tempo * rng.uniform(0.85, 1.18)
    seconds = rng.uniform(*action.seconds) / tempo
    before, after = rng.uniform(0.0, 1.0), rng.uniform(0.0, 0.8)
    num_frames = round(FRAMES_PER_SECOND * (before + seconds + after))
    num_frames = int(np.clip(num_frames, MIN_FRAMES, MAX_FRAMES))
    act = Act(
        u=(np.arange(num_frames) / FRAMES_PER_SECOND - before) / seconds,
        seconds=seconds,
        side=LEFT if rng.uniform() < lead.left_handed else RIGHT,
        size=lead.size * rng.uniform(0.8, 1.2),
        pace=lead.tempo * rng.uniform(0.8, 1.25),
        rng=rng,
    )
    poses = [_idle(rng, subject, num_frames) for subject in subjects]
    for pose in poses:
        _fidget(rng, pose)
    action.perform(act, *poses)
    people = [s.person.joints(pose) for s, pose in zip(subjects, poses, strict=True)]

    if action.num_people == 1:
        # As in NTU RGB+D, the first replication faces camera 2, the second camera 3.
        towards = np.pi / 4 if take.replication % 2 else -np.pi / 4
        return [_place(people[0], towards + rng.uniform(-0.9, 0.9), rng.normal(0.0, 0.2, 2))]
    # Two persons face each other, usually sideways to the middle camera.
    heading = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0.0, 0.5)
    apart = action.distance * rng.uniform(0.94, 1.06) / 2
    way = apart * np.array([np.sin(heading), np.cos(heading)])
    middle = rng.normal(0.0, 0.2, 2)
    return [
        _place(people[0], heading, middle - way),
        _place(people[1], heading + np.pi + rng.normal(0.0, 0.1), middle + way),
    ]
