"""Joints in 16 bits: how exact, and what stays exactly as it is."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amr_jax.data import fixed_point

BODY = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(2, 3)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@settings(max_examples=200, deadline=None)
@given(joints=BODY)
def test_no_coordinate_moves_by_more_than_half_a_step(joints):
    codes, step = fixed_point.encode(joints)
    assert codes.dtype == np.int16
    largest = np.abs(joints.astype(np.float64)).max(axis=(0, 1))
    # Half a step, and the rounding of one float32 product; what is next to nothing becomes zero.
    bound = np.maximum(largest * (0.5 / 32767 + 2**-22), 4e-34)
    assert (np.abs(fixed_point.decode(codes, step) - joints.astype(np.float64)) <= bound).all()


def test_a_body_three_metres_away_is_exact_to_a_twentieth_of_a_millimetre():
    joints = np.random.default_rng(0).uniform(-3, 3, size=(300, 25, 3)).astype(np.float32)
    error = np.abs(fixed_point.decode(*fixed_point.encode(joints)) - joints)
    assert 4e-5 < error.max() < 5e-5


@settings(max_examples=100, deadline=None)
@given(joints=BODY, data=st.data())
def test_equal_values_stay_equal_and_zeros_stay_zeros(joints, data):
    zeros = data.draw(arrays.arrays(np.bool_, joints.shape))
    joints = np.where(zeros, np.float32(0), joints)
    still = np.concatenate([joints, joints])
    decoded = np.asarray(fixed_point.decode(*fixed_point.encode(still)))
    np.testing.assert_array_equal(decoded[: len(joints)], decoded[len(joints) :])
    assert not decoded[: len(joints)][zeros].any()


def test_every_body_and_channel_has_a_scale_of_its_own():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(5, 4, 3)), 100 * rng.normal(size=(3, 4, 3))
    other[..., 2] = 0
    frames = np.concatenate([one, other]).astype(np.float32)
    codes, step = fixed_point.encode_bodies(frames, np.array([5, 3]))
    assert codes.shape == frames.shape
    assert step.shape == (2, 3)
    np.testing.assert_allclose(step[0], np.abs(one).max(axis=(0, 1)) / 32767, rtol=1e-6)
    np.testing.assert_allclose(step[1, :2], np.abs(other).max(axis=(0, 1))[:2] / 32767, rtol=1e-6)
    assert step[1, 2] == 0
    np.testing.assert_array_equal(np.abs(codes[:5]).max(axis=(0, 1)), 32767)


def test_decoding_is_the_same_jitted_and_vmapped():
    joints = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    codes, step = map(np.stack, zip(*map(fixed_point.encode, joints), strict=True))
    expected = codes.astype(np.float32) * step[:, None, None]
    np.testing.assert_array_equal(jax.vmap(fixed_point.decode)(codes, step), expected)
    jitted = jax.jit(fixed_point.decode)(codes, step[:, None, None])
    np.testing.assert_array_equal(jitted, expected)
