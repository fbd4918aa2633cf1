"""The origin of a sequence and, in an image, its size; the same in NumPy and in JAX."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import normalise as normalise_module
from amr_jax.ops.normalise import body_size, move_origin, normalise
from amr_jax.skeleton import layouts

RNG = np.random.default_rng(0)


def sequence(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_one_joint_becomes_the_origin_and_absent_bodies_stay_zero():
    joints = sequence(6, 2, 5, 3)
    joints[:2, 0] = 0  # the first actor comes in the third frame
    joints[4, 1] = 0
    expected = joints - joints[2, 0, 3]
    expected[:2, 0] = expected[4, 1] = 0
    np.testing.assert_array_equal(move_origin(joints, 3, "xyz"), expected)


@pytest.mark.parametrize("channels", ["xyz", "xy", "xyc"])
@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("xp", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_the_first_actor_stands_in_any_slot(channels, slot, xp):
    alone = np.abs(sequence(6, 1, 5, len(channels))) + 1
    others = np.abs(sequence(6, 1, 5, len(channels)))  # a second body, where there is a place
    joints = np.zeros((6, 4, 5, len(channels)), np.float32)
    joints[1:, slot], joints[:, slot + 1] = alone[1:, 0], others[:, 0]  # the second comes first
    expected = normalise(np.concatenate([joints[:, slot : slot + 2]], axis=1), (1, 3), channels)
    found = normalise(xp(joints), (1, 3), channels)
    np.testing.assert_allclose(found[:, slot : slot + 2], expected, atol=1e-5)
    assert not np.delete(found, (slot, slot + 1), axis=1).any()
    np.testing.assert_allclose(found[1, slot, [1, 3]][:, :2].mean(axis=0), 0, atol=1e-5)
    size = body_size(xp(joints), channels)
    assert size == pytest.approx(body_size(joints[:, slot : slot + 1], channels), rel=1e-6)


@pytest.mark.parametrize("channels", ["xyz", "xy", "xyc"])
@pytest.mark.parametrize("centre", [None, 1])
def test_nobody_is_nowhere(channels, centre):
    joints = np.zeros((6, 2, 5, len(channels)), np.float32)
    if channels == "xyc":  # neither a place without confidence nor the reverse is a body
        joints[..., 0, :2], joints[..., 1, 2] = 7, 0.9
    assert not normalise(joints, centre, channels).any()
    assert not normalise_module.found(joints, channels).any()


@pytest.mark.parametrize("centre", [None, 1, (0, 1)])
@pytest.mark.parametrize("xp", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_a_key_point_at_the_corner_was_not_found_whatever_its_confidence(centre, xp):
    joints = sequence(6, 1, 5, 3) + np.float32([300, 200, 0])
    joints[..., 2] = 0.8
    joints[2:4, 0, 1] = (0, 0, 0.3)
    without = joints.copy()
    without[2:4, 0, 1] = 0
    np.testing.assert_array_equal(
        normalise(xp(joints), centre, "xyc"), normalise(xp(without), centre, "xyc")
    )
    np.testing.assert_array_equal(normalise(xp(joints), centre, "xyc")[2:4, 0, 1], 0)
    assert np.abs(normalise(joints, 1, "xyc")[..., :2]).max() < 10  # no jump to the corner


def test_a_joint_at_the_origin_of_a_centred_sequence_was_found():
    joints = np.abs(sequence(3, 1, 5, 3)) + 1
    centred = normalise(joints, 1, "xyc")
    np.testing.assert_array_equal(centred[0, 0, 1, :2], 0)
    assert centred[0, 0, 1, 2] == joints[0, 0, 1, 2]


def test_several_joints_have_their_mean_at_the_origin():
    joints = sequence(4, 1, 5, 3)
    centred = move_origin(joints, (1, 4), "xyz")
    np.testing.assert_allclose(centred[0, 0, [1, 4]].mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(centred, joints - joints[0, 0, [1, 4]].mean(axis=0), atol=1e-6)
    alone = move_origin(joints, 2, "xyz")
    np.testing.assert_array_equal(move_origin(joints, (2,), "xyz"), alone)


def test_joints_that_were_not_found_stay_zero_and_make_no_origin():
    joints = sequence(4, 2, 5, 2)
    joints[0, 0, 1] = joints[2, 0, 0] = joints[:, 1, 3] = 0
    centred = move_origin(joints, (1, 2), "xy")
    origin = joints[1, 0, [1, 2]].mean(axis=0)  # frame 0 lacks joint 1
    found = joints.any(axis=-1)
    np.testing.assert_array_equal(centred[~found], 0)
    np.testing.assert_allclose(centred[found], (joints - origin)[found], atol=1e-6)


def test_confidence_says_what_was_found_and_is_not_moved():
    joints = sequence(4, 1, 5, 3)
    joints[..., 2] = RNG.uniform(0.1, 1, size=(4, 1, 5))
    joints[0, 0, 1, 2] = 0  # a place without confidence is none
    centred = move_origin(joints, 1, "xyc")
    np.testing.assert_array_equal(centred[..., 2], joints[..., 2])
    np.testing.assert_array_equal(centred[1, 0, 1, :2], 0)
    np.testing.assert_array_equal(centred[0, 0, 1], 0)


def test_an_origin_that_is_never_found():
    joints = sequence(4, 1, 5, 2)
    joints[:, 0, 1] = joints[0] = 0
    centred = move_origin(joints, 1, "xy")
    others = [0, 2, 3, 4]
    np.testing.assert_allclose(
        centred[1, 0, others], joints[1, 0, others] - joints[1, 0, others].mean(axis=0), atol=1e-6
    )


@pytest.mark.parametrize("channels", ["xy", "xyc"])
def test_body_size(channels):
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float32)  # corners: √2 off the middle
    joints = np.stack([100 + square, 300 + 3 * square])[:, None]  # (2, 1, 4, 2)
    if channels == "xyc":
        joints = np.concatenate([joints, np.full((2, 1, 4, 1), 0.5, np.float32)], axis=-1)
    assert body_size(joints, channels) == pytest.approx(np.sqrt((2 + 18) / 2))
    lost = joints.copy()
    lost[1] = 0  # not found: does not count
    assert body_size(lost, channels) == pytest.approx(np.sqrt(2))
    other = np.concatenate([joints, 50 * joints], axis=1)  # the first actor's alone
    assert body_size(other, channels) == pytest.approx(np.sqrt(10))
    assert body_size(np.zeros_like(joints), channels) == 1


def test_neither_place_nor_size_in_the_image_matter():
    joints = sequence(6, 2, 5, 3) + 3
    joints[..., 2] = RNG.uniform(0.1, 1, size=(6, 2, 5))
    joints[1, 1] = joints[3, 0, 2] = 0

    found = joints[..., 2:] > 0
    elsewhere = np.where(
        found, joints * np.float32([250, 250, 1]) + np.float32([900, 400, 0]), 0
    ).astype(np.float32)
    one, other = (normalise(where, (0, 1), "xyc") for where in (joints, elsewhere))
    np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_array_equal(one[..., 2], joints[..., 2])


def test_values_by_hand():
    # Two joints of one body in two frames: origin (1, 1); distances 1, 1 to the mean, then 3, 3.
    joints = np.array([[[1, 1], [3, 1]], [[4, 1], [4, 7]]], np.float32)[:, None]
    size = np.sqrt((1 + 1 + 9 + 9) / 4)
    expected = np.array([[[0, 0], [2, 0]], [[3, 0], [3, 6]]])[:, None] / size
    np.testing.assert_allclose(normalise(joints, 0, "xy"), expected, rtol=1e-6)
    np.testing.assert_allclose(normalise(joints, None, "xy"), joints / size, rtol=1e-6)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    joints=hnp.arrays(np.float32, (4, 2, 3, 3), elements=st.sampled_from([-1.5, 0, 0, 2])),
    absent=hnp.arrays(bool, (4, 2)),
    centre=st.sampled_from([None, 0, 2, (0, 2), (0, 1, 2)]),
    channels=st.sampled_from(layouts.CHANNELS),
)
def test_jax_computes_what_numpy_computes(joints, absent, centre, channels):
    joints[absent] = 0
    joints = joints[..., : len(channels)]
    expected = normalise(joints, centre, channels)
    traced = jax.jit(normalise, static_argnums=(1, 2))(joints, centre, channels)
    assert expected.dtype == traced.dtype == np.float32
    np.testing.assert_allclose(traced, expected, rtol=1e-5, atol=1e-6)
    if channels == "xyz" and not isinstance(centre, tuple):
        np.testing.assert_array_equal(traced, expected)
