"""Presence: from a clip as loaded through crop and stream, and statistics of present values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.config import base
from amr_jax.ops import augment, presence
from amr_jax.skeleton import layouts

RNG = np.random.default_rng(0)
PARENTS = (0, 0, 1)
HOW = {
    "min_fraction": 0.5,
    "max_fraction": 1.0,
    "min_frames": 20,
    "max_angles": (0.0, 0.0, 0.0),
    "stream": "joint",
    "parents": PARENTS,
}


def test_in_space_a_body_has_all_joints_or_none():
    clip = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
    clip[1, 0] = 0
    clip[2, 1, :2] = 0  # two joints at the origin, the third elsewhere
    clip[3] = 0
    expected = np.array([[True, True], [False, True], [True, True], [False, False]])
    for f in (presence.of_clip, jax.jit(presence.of_clip, static_argnums=1)):
        np.testing.assert_array_equal(f(jnp.asarray(clip), False)[..., 0], expected)


def test_in_an_image_each_joint_was_found_or_not():
    clip = jnp.array([[[0.0, 0.0], [0.0, 0.1], [-0.2, 0.0]]])
    np.testing.assert_array_equal(presence.of_clip(clip, False), [[False, True, True]])
    # With confidence, this tells: the origin of a centred image is a place.
    scored = jnp.array([[[0.0, 0.0, 0.9], [0.4, 0.1, 0.0], [0.0, 0.0, 0.0]]])
    np.testing.assert_array_equal(presence.of_clip(scored, True), [[True, False, False]])


def test_motion_is_known_from_a_present_frame_to_a_present_frame():
    present = jnp.array([1, 1, 0, 0, 1, 1], bool)[:, None]
    np.testing.assert_array_equal(presence.of_motion(present, 1)[:, 0], [1, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(presence.of_motion(~present, 1)[:, 0], [0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(presence.of_motion(present, 2)[:, 0], [0, 0, 0, 0, 1, 1])


def test_a_bone_is_there_if_both_of_its_ends_are():
    present = jnp.array([[True, True, True], [False, True, True], [True, False, True]])
    expected = [[True, True, True], [False, False, True], [True, False, False]]
    np.testing.assert_array_equal(presence.of_stream(present, "bone", PARENTS), expected)
    np.testing.assert_array_equal(presence.of_stream(present, "joint", PARENTS), present)


@pytest.mark.parametrize("length", [70, 33, 20, 1])
def test_a_frame_of_a_view_is_present_if_all_frames_that_it_was_made_from_are(length):
    clip = np.zeros((70, 2, 3, 3), np.float32)
    clip[:length, :, :, 0] = np.arange(1, length + 1)[:, None, None]
    here = RNG.random(70) < 0.8
    clip[~here, 1] = 0  # slot 0 is always there, and shows the crop
    view = jax.jit(functools.partial(augment.train_view, num_frames=40, **HOW))
    for seed in range(12):
        out, present = map(np.asarray, view(jax.random.key(seed), jnp.asarray(clip), length))
        place = out[:, 0, 0, 0].astype(np.float64) - 1
        near = np.rint(place)
        place = np.where(abs(place - near) < 1e-4, near, place)
        low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
        assert present.shape == (40, 2, 3)
        assert present[:, 0].all()
        expected = here[low] & here[high]
        np.testing.assert_array_equal(present[:, 1], np.repeat(expected[:, None], 3, 1))


def test_a_crop_of_the_right_length_keeps_every_frame():
    clip = RNG.normal(size=(40, 5, 3)).astype(np.float32)
    clip[11:13] = clip[39] = 0
    how = HOW | {"min_fraction": 1.0}
    _, present = augment.train_view(jax.random.key(0), jnp.asarray(clip), 40, num_frames=40, **how)
    np.testing.assert_array_equal(present, clip.any(-1))


@pytest.mark.parametrize("stream", base.STREAMS)
def test_rotation_and_stream_change_values_but_not_who_is_there(stream):
    how = {"stream": stream, "parents": layouts.NTU_25.parents, "max_angles": (0.3, 0.3, 0.3)}
    clip = RNG.normal(size=(60, 25, 3)).astype(np.float32)
    clip[20:30] = 0
    view = jax.jit(functools.partial(augment.train_view, num_frames=60, **HOW | how))
    out, present = view(jax.random.key(3), jnp.asarray(clip), 60)
    plain = jax.jit(functools.partial(augment.train_view, num_frames=60, **HOW))
    joints, there = plain(jax.random.key(3), jnp.asarray(clip), 60)
    assert 0 < (~there).sum() < there.size / 2
    assert not np.allclose(out, joints)
    expected = np.asarray(there)
    if stream == "motion":
        expected = expected & np.append(expected[1:], expected[-1:], 0)
    np.testing.assert_array_equal(present, expected)


@pytest.mark.parametrize("stream", base.STREAMS)
def test_the_presence_of_a_stream_is_that_of_each_body_alone(stream):
    clip = RNG.normal(size=(30, 2, 3, 3)).astype(np.float32)
    clip[5:9, 0] = clip[20:, 1] = 0
    how = HOW | {"min_fraction": 1.0, "stream": stream}

    def view(clip):
        return augment.train_view(jax.random.key(0), jnp.asarray(clip), 30, num_frames=30, **how)[1]

    both = view(clip)
    for body in range(2):
        np.testing.assert_array_equal(both[:, body], view(clip[:, body]))
        np.testing.assert_array_equal(view(clip[:, body, None])[:, 0], both[:, body])
    away = 5 if stream == "motion" else 4  # the step to the first of four frames, too
    assert (~both[:, 0, 0]).sum() == away


def test_every_body_and_joint_has_a_presence_of_its_own_in_an_image():
    clip = RNG.uniform(0.1, 1, size=(30, 2, 3, 3)).astype(np.float32)
    clip[3, 0, 1] = 0
    clip[:, 1, 2, 2] = 0  # never found, whatever its place
    how = HOW | {"min_fraction": 1.0, "confidence": True}
    _, present = augment.train_view(jax.random.key(0), jnp.asarray(clip), 30, num_frames=30, **how)
    np.testing.assert_array_equal(present, clip[..., 2] > 0)


def test_mean_and_variance_of_present_values():
    values, present = RNG.normal(size=(7, 5, 3)).astype(np.float32), RNG.random((7, 5, 1)) < 0.6
    values[~present[..., 0]] = 1e9  # must not matter
    gaps = np.where(present, values, np.nan).astype(np.float64)
    for axis in (None, 0, (0, 1), (1, 2)):
        mean = presence.mean(jnp.asarray(values), jnp.asarray(present), axis)
        np.testing.assert_allclose(mean, np.nanmean(gaps, axis), rtol=1e-5)
        for ddof in (0, 1):
            found = presence.variance(jnp.asarray(values), jnp.asarray(present), axis, ddof=ddof)
            np.testing.assert_allclose(found, np.nanvar(gaps, axis, ddof=ddof), rtol=1e-5)


def test_statistics_of_nothing_are_0_and_so_is_their_gradient():
    values, nothing = jnp.asarray(RNG.normal(size=(4, 3))), jnp.zeros((4, 1), bool)
    for statistic in (presence.mean, presence.variance):
        value, slope = jax.value_and_grad(lambda x, f=statistic: f(x, nothing, (0, 1)))(values)
        assert value == 0
        assert not slope.any()
