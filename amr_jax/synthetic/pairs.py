"""Actions of two persons who face each other; the first acts, the second may react."""

import numpy as np

from amr_jax.synthetic.acting import (
    FRAMES_PER_SECOND,
    LEFT,
    RIGHT,
    Act,
    Action,
    action,
    keyframes,
    smooth,
)
from amr_jax.synthetic.body import Pose
from amr_jax.synthetic.solo import kick_out

ACTIONS: dict[int, Action] = {}


def _stagger(act: Act, p: Pose, start: float, back: float) -> None:
    """From time `start` on, a person leans back and steps back by `back` metres."""
    hit = keyframes(act.u, (start, 0.0), (start + 0.14, 1.0), (min(start + 0.5, 0.99), 0.0))
    gone = smooth((act.u - start) / 0.25)
    p.bend -= 0.3 * act.size * hit
    p.travel[:, 2] -= back * gone
    p.foot[:, act.rng.integers(2), 1] += 0.08 * hit
    for side in (LEFT, RIGHT):
        p.reach(side, act.near(0.25, -0.5, 0.45), 0.6 * hit)


@action(ACTIONS, 50, "punch/slap other person", 1.3, 2.4, apart=0.85)
def punch(act: Act, p: Pose, other: Pose) -> None:
    guard, face = act.near(-0.05, -0.15, 0.35), act.near(-0.2, 0.1, 1.0)
    path = keyframes(act.u, (0.0, guard), (0.35, guard), (0.48, face), (0.65, guard))
    p.reach(act.side, path, act.hold(0.2), pole=(0.9, -0.6, -0.3))
    turn = keyframes(act.u, (0.2, 0.0), (0.35, -0.5), (0.48, 1.0), (0.8, 0.0))
    p.twist += (1 if act.side == RIGHT else -1) * 0.4 * act.size * turn
    p.bend += 0.15 * np.maximum(turn, 0.0)
    _stagger(act, other, start=0.46, back=act.rng.uniform(0.0, 0.2))
    other.head[:, 0] += 0.5 * keyframes(act.u, (0.46, 0.0), (0.56, 1.0), (0.9, 0.0))


@action(ACTIONS, 51, "kicking other person", 1.3, 2.4, apart=1.0)
def kick_other(act: Act, p: Pose, other: Pose) -> None:
    kick_out(act, p, height=act.rng.uniform(0.3, 0.6), forward=act.rng.uniform(0.55, 0.7))
    _stagger(act, other, start=0.52, back=act.rng.uniform(0.05, 0.3))


@action(ACTIONS, 52, "pushing other person", 1.3, 2.4, apart=0.8)
def push(act: Act, p: Pose, other: Pose) -> None:
    path = keyframes(
        act.u,
        (0.0, act.near(-0.05, -0.25, 0.3)),
        (0.3, act.near(-0.05, -0.2, 0.25)),
        (0.5, act.near(-0.15, 0.0, 1.0)),
    )
    for side in (LEFT, RIGHT):
        p.reach(side, path, act.hold(0.25), pole=(0.9, -0.6, -0.2))
    lean = keyframes(act.u, (0.25, 0.0), (0.5, 1.0), (0.9, 0.0))
    p.bend += 0.22 * act.size * lean
    p.travel[:, 2] += 0.12 * lean
    _stagger(act, other, start=0.42, back=act.rng.uniform(0.2, 0.45))


def _walk(act: Act, p: Pose, way: np.ndarray, forward: float = 1.0) -> None:
    """Walks along `way` (T,), metres in the person's first heading, with steps and swinging arms.

    Args:
      act: the performance.
      p: the person's pose.
      way: position at each frame.
      forward: -1 for a person who has turned around.
    """
    speed = np.abs(np.gradient(way)) * FRAMES_PER_SECOND
    stride = 0.55 * act.size
    phase = np.pi * np.cumsum(speed) / FRAMES_PER_SECOND / stride + act.rng.uniform(0, 2 * np.pi)
    moving = np.clip(speed / 0.6, 0.0, 1.0)
    p.travel[:, 2] += way
    for side in (LEFT, RIGHT):
        swing = moving * np.sin(phase + np.pi * side)
        lifted = moving * np.maximum(np.cos(phase + np.pi * side), 0.0)
        p.foot[:, side] += np.stack([0 * swing, 0.11 * lifted, 0.5 * stride * swing], axis=-1)
        p.toe[:, side] -= 0.25 * swing
        p.hand[:, side, 2] -= 0.35 * act.size * swing
    p.twist += forward * 0.08 * moving * np.sin(phase)


@action(ACTIONS, 55, "hugging other person", 2.2, 3.8, apart=1.3)
def hug(act: Act, p: Pose, other: Pose) -> None:
    close = keyframes(act.u, (0.0, 0.0), (0.35, 0.46), (0.7, 0.46), (1.0, 0.08))
    embrace = keyframes(act.u, (0.12, 0.0), (0.4, 1.0), (0.68, 1.0), (0.9, 0.0))
    for person, lift in ((p, 0.2), (other, -0.3)):
        _walk(act, person, close)
        for side in (LEFT, RIGHT):
            up = lift if side == act.side else -lift
            person.reach(side, act.near(-0.25, up, 0.75), embrace, pole=(1, -0.5, 0.0))
        person.bend += 0.12 * embrace
        person.lean += (0.1 if act.side else -0.1) * embrace


@action(ACTIONS, 58, "shaking hands", 1.8, 3.2, apart=1.05)
def shake_hands(act: Act, p: Pose, other: Pose) -> None:
    beat = act.hold(0.3) * act.wave(2.1)
    for person in (p, other):
        grip = act.near(-0.25, -0.45, 0.78, spread=0.03) + act.along(0.0, 0.1 * beat)
        person.reach(RIGHT, grip, act.hold(0.25), pole=(0.6, -0.8, -0.4))
        person.bend += 0.08 * act.hold(0.25)


def _steady(u: np.ndarray) -> np.ndarray:
    """Rises from 0 to 1 with `u`, at constant speed except at the start and the end."""
    speed = smooth(u / 0.15) * smooth((1.0 - u) / 0.15)
    return np.cumsum(speed) / np.sum(speed)


@action(ACTIONS, 59, "walking towards each other", 1.8, 3.4, apart=2.6)
def walk_towards(act: Act, p: Pose, other: Pose) -> None:
    for person in (p, other):
        _walk(act, person, act.rng.uniform(0.75, 0.95) * _steady(act.u))


@action(ACTIONS, 60, "walking apart from each other", 1.8, 3.4, apart=0.9)
def walk_apart(act: Act, p: Pose, other: Pose) -> None:
    for person in (p, other):
        turn = act.rng.choice([-1, 1]) * np.pi * act.rng.uniform(0.85, 1.0)
        person.yaw += turn * smooth(act.u / 0.25)
        _walk(act, person, -act.rng.uniform(0.75, 0.95) * _steady((act.u - 0.12) / 0.88), -1.0)
