"""Where a sequence stands: its origin, and in an image its size."""

import numpy as np
import pytest

from amr_jax.data import records
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
    np.testing.assert_array_equal(records.centre(joints, 3), expected)


def test_the_first_actor_that_never_comes():
    joints = sequence(6, 2, 5, 3)
    joints[:, 0] = 0
    assert records.centre(joints, 3) is joints


def test_several_joints_have_their_mean_at_the_origin():
    joints = sequence(4, 1, 5, 3)
    centred = records.centre(joints, (1, 4))
    np.testing.assert_allclose(centred[0, 0, [1, 4]].mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(centred, joints - joints[0, 0, [1, 4]].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(records.centre(joints, (2,)), records.centre(joints, 2))


def test_joints_that_were_not_found_stay_zero_and_make_no_origin():
    joints = sequence(4, 2, 5, 2)
    joints[0, 0, 1] = joints[2, 0, 0] = joints[:, 1, 3] = 0
    centred = records.centre(joints, (1, 2), "xy")
    origin = joints[1, 0, [1, 2]].mean(axis=0)  # frame 0 lacks joint 1
    found = joints.any(axis=-1)
    np.testing.assert_array_equal(centred[~found], 0)
    np.testing.assert_allclose(centred[found], (joints - origin)[found], atol=1e-6)


def test_confidence_says_what_was_found_and_is_not_moved():
    joints = sequence(4, 1, 5, 3)
    joints[..., 2] = RNG.uniform(0.1, 1, size=(4, 1, 5))
    joints[0, 0, 1, 2] = 0  # a place without confidence is none
    centred = records.centre(joints, 1, "xyc")
    np.testing.assert_array_equal(centred[..., 2], joints[..., 2])
    np.testing.assert_array_equal(centred[1, 0, 1, :2], 0)
    np.testing.assert_array_equal(centred[0, 0, 1], 0)


def test_an_origin_that_is_never_found():
    joints = sequence(4, 1, 5, 2)
    joints[:, 0, 1] = joints[0] = 0
    centred = records.centre(joints, 1, "xy")
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
    assert records.body_size(joints, channels) == pytest.approx(np.sqrt((2 + 18) / 2))
    lost = joints.copy()
    lost[1] = 0  # not found: does not count
    assert records.body_size(lost, channels) == pytest.approx(np.sqrt(2))
    other = np.concatenate([joints, 50 * joints], axis=1)  # the first actor's alone
    assert records.body_size(other, channels) == pytest.approx(np.sqrt(10))
    assert records.body_size(np.zeros_like(joints), channels) == 1


def test_neither_place_nor_size_in_the_image_matter():
    joints = sequence(6, 2, 5, 3) + 3
    joints[..., 2] = RNG.uniform(0.1, 1, size=(6, 2, 5))
    joints[1, 1] = joints[3, 0, 2] = 0

    def loaded(joints):
        size = records.body_size(joints, "xyc")
        return records.in_body_sizes(records.centre(joints, (0, 1), "xyc"), size, "xyc")

    found = joints[..., 2:] > 0
    elsewhere = np.where(
        found, joints * np.float32([250, 250, 1]) + np.float32([900, 400, 0]), 0
    ).astype(np.float32)
    np.testing.assert_allclose(loaded(elsewhere), loaded(joints), atol=1e-4)
    assert layouts.num_coordinates("xyc") == 2
