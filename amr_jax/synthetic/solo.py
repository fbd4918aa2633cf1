"""Actions of one person. Hand positions are in arm lengths, all others in metres (`body.Pose`)."""

import numpy as np

from amr_jax.synthetic.acting import LEFT, RIGHT, Act, Action, action, keyframes, smooth
from amr_jax.synthetic.body import Pose

ACTIONS: dict[int, Action] = {}


@action(ACTIONS, 1, "drink water", 2.2, 3.8)
def drink_water(act: Act, p: Pose) -> None:
    p.reach(act.side, act.near(-0.05, -0.25, 0.55), act.hold(0.15))
    sip = keyframes(act.u, (0.25, 0.0), (0.42, 1.0), (0.65, 1.0), (0.8, 0.0))
    p.reach(act.side, act.near(-0.2, 0.3, 0.33), sip, pole=(0.9, -0.5, 0.1))
    p.head[:, 1] -= 0.35 * act.size * sip
    p.bend -= 0.06 * sip


@action(ACTIONS, 3, "brushing teeth", 2.4, 4.5)
def brush_teeth(act: Act, p: Pose) -> None:
    mouth = act.near(-0.2, 0.25, 0.36) + act.along(0.07 * act.wave(3.2), 0.03 * act.wave(3.2))
    p.reach(act.side, mouth, act.hold(0.15), pole=(1.0, -0.3, 0.1))
    p.bend += 0.1 * act.hold(0.2)
    p.head[:, 1] += 0.1 * act.hold(0.2)


@action(ACTIONS, 6, "pickup", 1.8, 3.0)
def pick_up(act: Act, p: Pose) -> None:
    down = keyframes(act.u, (0.0, 0.0), (0.45, 1.0), (0.55, 1.0), (1.0, 0.0))
    crouch = act.rng.uniform(0.15, 0.45)
    p.bend += (1.5 - 1.2 * crouch) * act.size * down
    p.pelvis += np.outer(down, [0.0, -crouch, -0.12 - 0.3 * crouch])
    p.reach(act.side, act.near(0.0, -0.45, 0.8), down, arc=0.0)
    p.reach(1 - act.side, act.near(0.1, -0.65, 0.4), 0.6 * down, arc=0.0)
    p.twist += (1 - 2 * act.side) * -0.2 * down


@action(ACTIONS, 7, "throw", 1.5, 2.6)
def throw(act: Act, p: Pose) -> None:
    path = keyframes(
        act.u,
        (0.0, act.near(0.0, -0.4, 0.5)),
        (0.4, act.near(0.45, 0.35, -0.35)),
        (0.58, act.near(-0.05, 0.45, 0.85)),
        (0.75, act.near(-0.35, -0.5, 0.6)),
    )
    p.reach(act.side, path, act.hold(0.15), pole=(1.0, 0.0, -0.3))
    swing = keyframes(act.u, (0.1, 0.0), (0.4, -1.0), (0.6, 1.0), (0.95, 0.0))
    p.twist += (1 if act.side == RIGHT else -1) * 0.45 * act.size * swing
    p.bend += 0.18 * act.size * swing
    step = keyframes(act.u, (0.3, 0.0), (0.5, 1.0), (0.75, 1.0), (1.0, 0.0))
    p.foot[:, 1 - act.side, 2] += 0.25 * act.size * step
    p.pelvis[:, 2] += 0.12 * step


def _seat(act: Act, p: Pose, sitting: np.ndarray) -> None:
    """A person who sits while `sitting` (T,) is 1, and leans forward in between."""
    depth = act.rng.uniform(0.36, 0.46)
    p.pelvis += np.outer(sitting, [0.0, -depth, -0.38])
    p.bend += 0.9 * act.size * 2 * sitting * (1 - sitting) - 0.05 * sitting
    for side in (LEFT, RIGHT):
        p.foot[:, side, 2] += 0.05 * sitting
        p.reach(side, act.near(-0.05, -0.62, 0.55), sitting, arc=0.05)


@action(ACTIONS, 8, "sitting down", 1.6, 3.0)
def sit_down(act: Act, p: Pose) -> None:
    _seat(act, p, smooth((act.u - 0.1) / 0.6))


@action(ACTIONS, 9, "standing up", 1.6, 3.0)
def stand_up(act: Act, p: Pose) -> None:
    _seat(act, p, smooth((0.85 - act.u) / 0.6))


@action(ACTIONS, 10, "clapping", 1.6, 3.4)
def clap(act: Act, p: Pose) -> None:
    apart = 0.17 * (1 + act.wave(2.4))
    height = act.rng.uniform(-0.35, 0.15)
    for side in (LEFT, RIGHT):
        hands = act.near(-0.3, height, 0.55, spread=0.03) + act.along(apart)
        p.reach(side, hands, act.hold(0.2), pole=(0.7, -0.8, -0.3))


@action(ACTIONS, 22, "cheer up", 1.8, 3.4)
def cheer_up(act: Act, p: Pose) -> None:
    bounce = act.wave(1.7)
    for side in (LEFT, RIGHT):
        hands = act.near(0.15, 0.7, 0.15) + act.along(0.0, 0.18 * bounce, 0.1 * bounce)
        p.reach(side, hands, act.hold(0.2), pole=(1.0, 0.0, 0.2), arc=0.35)
    p.pelvis[:, 1] -= 0.04 * act.hold(0.2) * (1 + bounce)
    p.bend -= 0.08 * act.hold(0.2)


@action(ACTIONS, 23, "hand waving", 1.8, 3.6)
def wave_hand(act: Act, p: Pose) -> None:
    swing = act.wave(1.9)
    p.reach(
        act.side,
        act.near(0.25, 0.5, 0.3) + act.along(0.24 * swing, -0.05 * swing**2),
        act.hold(0.18),
        pole=(0.8, -0.8, 0.0),
    )


def kick_out(act: Act, p: Pose, height: float, forward: float) -> None:
    foot = keyframes(
        act.u,
        (0.1, (0.0, 0.0, 0.0)),
        (0.35, (0.0, 0.22, -0.28)),
        (0.55, (0.0, height * act.size, forward * act.size)),
        (0.65, (0.0, height * act.size, forward * act.size)),
        (0.95, (0.0, 0.0, 0.0)),
    )
    p.foot[:, act.side] += foot
    p.toe[:, act.side] -= foot[:, 2]
    p.bend -= 0.25 * foot[:, 2]
    p.pelvis[:, 2] += 0.1 * foot[:, 2]
    for side in (LEFT, RIGHT):
        swing = foot[:, 2] * (1 if side != act.side else -1)
        p.hand[:, side] += np.outer(swing, [0.0, 0.1, 0.45]) + np.outer(foot[:, 1], [0.3, 0.2, 0])


@action(ACTIONS, 24, "kicking something", 1.3, 2.4)
def kick(act: Act, p: Pose) -> None:
    kick_out(act, p, height=act.rng.uniform(0.18, 0.4), forward=act.rng.uniform(0.5, 0.65))


@action(ACTIONS, 26, "hopping", 1.8, 3.4)
def hop(act: Act, p: Pose) -> None:
    raised, beat = act.hold(0.15), act.wave(1.9)
    free = act.side
    p.foot[:, free] += np.outer(raised, act.near(0.0, 0.25, -0.3, spread=0.04))
    flight = raised * np.maximum(beat, 0.0) * 0.11 * act.size
    p.travel[:, 1] += flight
    p.travel[:, 2] += act.rng.uniform(-0.1, 0.5) * np.clip(act.u, 0, 1)
    p.pelvis[:, 1] -= 0.07 * raised * np.maximum(-beat, 0.0)
    p.bend += 0.15 * raised
    for side in (LEFT, RIGHT):
        p.reach(side, act.near(0.3, -0.65, 0.3), raised * (0.8 + 0.2 * beat))


@action(ACTIONS, 27, "jump up", 1.2, 2.2)
def jump_up(act: Act, p: Pose) -> None:
    jumps = act.rng.integers(1, 3)
    height = act.rng.uniform(0.16, 0.34) * act.size
    for jump in range(jumps):
        u = act.u * jumps - jump
        crouch = keyframes(u, (0.05, 0.0), (0.32, 1.0), (0.46, 0.0))
        crouch = crouch + keyframes(u, (0.62, 0.0), (0.75, 0.8), (1.0, 0.0))
        flight = np.clip(u - 0.46, 0, 0.2) * np.clip(0.66 - u, 0, 0.2) / 0.01
        p.travel[:, 1] += height * flight
        p.toe += 0.7 * flight[:, None]
        p.pelvis[:, 1] -= 0.24 * crouch
        p.bend += 0.5 * crouch
        back_and_up = keyframes(u, (0.05, 0.0), (0.3, -1.0), (0.56, 1.4), (0.9, 0.0))
        for side in (LEFT, RIGHT):
            p.hand[:, side] += np.outer(back_and_up, [0.05, 0.1, 0.45])


@action(ACTIONS, 35, "nod head/bow", 1.5, 2.8)
def nod_or_bow(act: Act, p: Pose) -> None:
    if act.rng.uniform() < 0.5:
        p.head[:, 1] += 0.45 * act.size * act.hold(0.15) * (0.5 + 0.5 * act.wave(1.3))
        p.bend += 0.08 * act.hold(0.15)
    else:
        bow = keyframes(act.u, (0.0, 0.0), (0.4, 1.0), (0.55, 1.0), (1.0, 0.0))
        p.bend += act.rng.uniform(0.5, 0.95) * bow
        p.head[:, 1] += 0.25 * bow
        p.pelvis[:, 2] -= 0.12 * bow
        for side in (LEFT, RIGHT):
            p.reach(side, act.near(0.08, -0.8, 0.4), bow, arc=0.0)


@action(ACTIONS, 36, "shake head", 1.5, 3.0)
def shake_head(act: Act, p: Pose) -> None:
    shake = act.hold(0.15) * act.wave(1.4) * act.size
    p.head[:, 0] += 0.75 * shake
    p.head[:, 2] += 0.1 * shake
    p.twist += 0.12 * shake


@action(ACTIONS, 38, "salute", 1.5, 2.6)
def salute(act: Act, p: Pose) -> None:
    raised = keyframes(act.u, (0.1, 0.0), (0.3, 1.0), (0.75, 1.0), (0.95, 0.0))
    p.reach(act.side, act.near(0.0, 0.42, 0.2, spread=0.04), raised, pole=(1.0, -0.1, 0.0), arc=0.3)
    p.bend -= 0.08 * raised


@action(ACTIONS, 44, "touch head", 2.0, 3.8)
def touch_head(act: Act, p: Pose) -> None:
    both = act.rng.uniform() < 0.5
    for side in (LEFT, RIGHT) if both else (act.side,):
        p.reach(side, act.near(-0.12, 0.5, 0.1), act.hold(0.22), pole=(0.9, -0.1, 0.5))
    p.head[:, 1] += 0.35 * act.size * act.hold(0.3)
    p.head[:, 2] += 0.12 * act.hold(0.3) * act.wave(0.8)
    p.bend += 0.14 * act.size * act.hold(0.3)


@action(ACTIONS, 45, "touch chest", 2.0, 3.6)
def touch_chest(act: Act, p: Pose) -> None:
    rub = act.along(0.05 * act.wave(0.9), 0.05 * act.wave(0.9))
    p.reach(act.side, act.near(-0.25, -0.2, 0.27) + rub, act.hold(0.22), pole=(0.8, -0.7, -0.1))
    if act.rng.uniform() < 0.3:
        p.reach(1 - act.side, act.near(-0.25, -0.25, 0.3), act.hold(0.25), pole=(0.8, -0.7, -0.1))
    p.bend += 0.2 * act.size * act.hold(0.3)


@action(ACTIONS, 46, "touch back", 2.0, 3.8)
def touch_back(act: Act, p: Pose) -> None:
    rub = act.along(0.03 * act.wave(1.0), 0.06 * act.wave(1.0))
    both = act.rng.uniform() < 0.4
    for side in (LEFT, RIGHT) if both else (act.side,):
        p.reach(
            side, act.near(-0.1, -0.65, -0.32) + rub, act.hold(0.22), pole=(1, -0.2, -0.5), arc=-0.1
        )
    p.bend -= 0.16 * act.size * act.hold(0.3)
