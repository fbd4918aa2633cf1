"""Bone lengths, noise and dropped axes: against loops, and what they must leave alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import augment, distort, presence
from amr_jax.skeleton import layouts

NTU = layouts.NTU_25
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=(6, 2, 25, 3)).astype(np.float32)
CLIP[2:4, 1] = 0  # the second body is away for two frames
FACTORS = RNG.uniform(0.8, 1.2, 25).astype(np.float32)
ROOT = NTU.joints.index("spine shoulder")
HALVES = (NTU.parts["trunk"], NTU.parts["left arm"] + NTU.parts["right arm"])

TRANSFORMS = {
    "bones": lambda key, clip, p, c: distort.random_scale_bones(
        key, clip, p, 0.5, 1.5, HALVES, NTU.parents, c
    ),
    "noise": lambda key, clip, p, c: distort.random_noise(key, clip, p, 0.1, c),
    "axis": lambda key, clip, p, c: distort.random_drop_axis(key, clip, p, c),
}
every = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


def rebuilt(pose, factors):
    """One pose, (V, C), joint by joint from the root, in float64."""
    new = {ROOT: np.float64(pose[ROOT])}

    def of(joint):
        if joint not in new:
            parent = NTU.parents[joint]
            new[joint] = of(parent) + factors[joint] * (np.float64(pose[joint]) - pose[parent])
        return new[joint]

    return np.stack([of(joint) for joint in range(len(pose))])


def test_joints_are_rebuilt_from_the_root():
    scaled = jax.jit(distort.scale_bones, static_argnums=(2, 3))(CLIP, FACTORS, NTU.parents, False)
    for t in range(6):
        for body in range(2):
            expected = rebuilt(CLIP[t, body], FACTORS)
            np.testing.assert_allclose(scaled[t, body], expected, atol=3e-6)
    np.testing.assert_array_equal(scaled[:, :, ROOT], CLIP[:, :, ROOT])
    lengths, new = (
        np.linalg.norm(augment.bone(jnp.asarray(x), NTU.parents), axis=-1) for x in (CLIP, scaled)
    )
    np.testing.assert_allclose(new, lengths * FACTORS, atol=3e-6)


def test_frames_may_have_factors_and_a_dropped_axis_of_their_own():
    factors = np.linspace(0.5, 1.5, 6, dtype=np.float32)[:, None] * FACTORS  # (T, V)
    scaled = distort.scale_bones(jnp.asarray(CLIP), factors[:, None], NTU.parents, False)
    axes = jnp.array([-1, 0, 1, 2, 0, -1]).reshape(6, 1, 1, 1)
    dropped = distort.drop_axis(jnp.asarray(CLIP), axes, False)
    for t in range(6):
        alone = distort.scale_bones(jnp.asarray(CLIP), factors[t], NTU.parents, False)[t]
        np.testing.assert_allclose(scaled[t], alone, atol=1e-6)
        alone = distort.drop_axis(jnp.asarray(CLIP), axes.ravel()[t], False)[t]
        np.testing.assert_array_equal(dropped[t], alone)


def test_factors_of_1_change_nothing_to_the_bit():
    same = distort.scale_bones(jnp.asarray(CLIP), jnp.ones(25), NTU.parents, False)
    np.testing.assert_array_equal(same, CLIP)


def test_one_factor_for_each_part_within_its_bounds():
    draw = jax.jit(jax.vmap(lambda key: TRANSFORMS["bones"](key, jnp.asarray(CLIP), 1.0, False)))
    scaled = draw(jax.random.split(jax.random.key(0), 200))
    length = np.linalg.norm(augment.bone(jnp.asarray(CLIP[0, 0]), NTU.parents), axis=-1)
    ratio = np.linalg.norm(augment.bone(scaled[:, 0, 0], NTU.parents), axis=-1)
    ratio = np.delete(ratio, ROOT, 1) / np.delete(length, ROOT)
    joints = [joint for joint in range(25) if joint != ROOT]
    for part in HALVES:
        own = ratio[:, [joints.index(joint) for joint in part if joint != ROOT]]
        np.testing.assert_allclose(own, own[:, :1].repeat(own.shape[1], 1), atol=1e-4)
        assert 0.5 - 1e-4 < own.min() < 0.53
        assert 1.47 < own.max() < 1.5 + 1e-4
    legs = [joints.index(joint) for joint in NTU.parts["left leg"]]
    np.testing.assert_allclose(ratio[:, legs], 1, atol=1e-4)


@pytest.mark.parametrize("coordinates", [2, 3])
def test_bones_to_joints_that_are_unknown_keep_their_neighbours_in_place(coordinates):
    clip = CLIP[..., :coordinates].copy()
    elbow, wrist, hand = (NTU.joints.index(f"left {name}") for name in ("elbow", "wrist", "hand"))
    clip[:, :, wrist] = 0  # not found, or not in this data set
    scaled = np.asarray(
        distort.scale_bones(jnp.asarray(clip), jnp.full(25, 1.5), NTU.parents, False)
    )
    full = distort.scale_bones(
        jnp.asarray(CLIP[..., :coordinates]), jnp.full(25, 1.5), NTU.parents, False
    )
    assert not scaled[:, :, wrist].any()
    np.testing.assert_array_equal(scaled[:, :, elbow], full[:, :, elbow])
    moved = (scaled - clip)[:, 0]
    np.testing.assert_allclose(moved[:, hand], moved[:, elbow], atol=1e-6)
    np.testing.assert_array_equal(scaled[2:4, 1], 0)


@every
def test_the_probability_is_that_of_a_change(transform):
    clip = jnp.asarray(CLIP)
    draw = jax.jit(jax.vmap(lambda key: transform(key, clip, 0.25, False)))
    views = draw(jax.random.split(jax.random.key(0), 400))
    changed = np.asarray((views != clip).any((1, 2, 3, 4)))
    assert 70 < changed.sum() < 130
    assert (transform(jax.random.key(0), clip, 0.0, False) == clip).all()


@every
def test_absent_frames_stay_zero_and_nothing_else_becomes_absent(transform):
    for key in jax.random.split(jax.random.key(1), 5):
        out = transform(key, jnp.asarray(CLIP), 1.0, False)
        here = presence.of_clip(jnp.asarray(CLIP), False)
        np.testing.assert_array_equal(presence.of_clip(out, False), here)


@every
def test_a_confidence_stays_and_tells_which_joints_were_found(transform):
    clip = RNG.uniform(0.2, 1, size=(6, 2, 25, 3)).astype(np.float32)
    clip[1, 0, 4] = clip[3, 1] = 0
    key = jax.random.key(2)
    out = np.asarray(transform(key, jnp.asarray(clip), 1.0, True))
    np.testing.assert_array_equal(out[..., 2], clip[..., 2])
    assert not out[1, 0, 4].any()
    assert not out[3, 1].any()
    assert (out != clip).any()


def test_noise_is_normal_and_independent():
    clip = jnp.asarray(RNG.normal(size=(50, 25, 3)), jnp.float32)
    noise = TRANSFORMS["noise"](jax.random.key(0), clip, 1.0, False) - clip
    assert np.std(noise) == pytest.approx(0.1, rel=0.05)
    assert abs(np.mean(noise)) < 0.005
    for axis in range(3):
        assert abs(np.corrcoef(noise[:-1, :, axis].ravel(), noise[1:, :, axis].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("coordinates", [2, 3])
def test_one_axis_is_dropped_each_as_often(coordinates):
    clip = jnp.asarray(CLIP[..., :coordinates])
    draw = jax.jit(jax.vmap(lambda key: TRANSFORMS["axis"](key, clip, 1.0, False)))
    views = draw(jax.random.split(jax.random.key(0), 300))
    gone = np.asarray(~views.any((1, 2, 3)))
    assert (gone.sum(1) == 1).all()
    assert (abs(gone.sum(0) - 300 / coordinates) < 45).all()
    np.testing.assert_array_equal(views, jnp.where(gone[:, None, None, None], 0, clip))


def linear_maps(kind, clip, number=100):
    """The matrix of each joint of each draw, by least squares: (number, V, C, C)."""
    draw = {
        "shear": lambda key: distort.random_shear(key, clip, 0.7, False),
        "corruption": lambda key: distort.random_corruption(key, clip, 15, False),
    }[kind]
    views = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), number))
    start = np.float64(clip).reshape(-1, 25, clip.shape[-1])
    ends = np.float64(views).reshape(number, -1, 25, clip.shape[-1])
    inverse = np.linalg.pinv(start.swapaxes(0, 1))  # (V, C, frames and bodies)
    return (inverse @ ends.swapaxes(1, 2)).swapaxes(-1, -2)


@pytest.mark.parametrize("coordinates", [2, 3])
def test_a_shear_adds_shares_of_the_other_coordinates(coordinates):
    maps = linear_maps("shear", jnp.asarray(CLIP[..., :coordinates]))
    np.testing.assert_allclose(maps, maps[:, :1].repeat(25, 1), atol=1e-4)
    diagonal = np.eye(coordinates, dtype=bool)
    np.testing.assert_allclose(maps[..., diagonal], 1, atol=1e-4)
    shares = maps[:, 0][:, ~diagonal]
    assert 0.6 < abs(shares).max() < 0.7 + 1e-4
    assert shares.min() < -0.6 < 0.6 < shares.max()


def test_a_corruption_zeroes_or_maps_some_joints_and_keeps_the_others():
    maps = linear_maps("corruption", jnp.asarray(CLIP))
    kept = (abs(maps - np.eye(3)) < 1e-4).all((-1, -2))
    assert (kept.sum(1) == 10).all()
    assert (abs(kept.mean(0) - 0.4) < 0.2).all()
    lost = (abs(maps) < 1e-6).all((-1, -2))
    whole = lost.sum(1) == 15
    assert (lost.any(1) == whole).all()
    assert 30 < whole.sum() < 70
    assert 0.9 < abs(maps[~whole]).max() < 1 + 1e-4


@pytest.mark.parametrize("kind", [distort.random_shear, distort.random_corruption])
def test_shear_and_corruption_keep_confidence_and_absence(kind):
    clip = jnp.concatenate([jnp.asarray(CLIP), jnp.full((6, 2, 25, 1), 0.5)], -1)
    out = kind(jax.random.key(0), clip, 15, True)
    np.testing.assert_array_equal(out[..., 3], clip[..., 3])
    assert not out[2:4, 1, :, :3].any()
    assert (out != clip).any()


@every
def test_transforms_agree_eagerly_compiled_and_mapped(transform):
    how = functools.partial(transform, p=0.5, c=False)
    keys, clips = jax.random.split(jax.random.key(3), 4), jnp.stack([CLIP, CLIP, 2 * CLIP, CLIP])
    mapped = jax.jit(jax.vmap(how))(keys, clips)
    for i in range(4):
        np.testing.assert_allclose(mapped[i], how(keys[i], clips[i]), atol=1e-5)
