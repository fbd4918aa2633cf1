"""Crops, resizing and rotation against references in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.config import base
from amr_jax.errors import UserError
from amr_jax.ops import augment
from amr_jax.skeleton import layouts

LONGEST = 300
_walk = np.random.default_rng(0).normal(size=(LONGEST, 2, 3)).cumsum(0) * 0.05
WALK = (_walk + np.array([0.3, -1.0, 3.0])).astype(np.float32)

CROP = {"min_fraction": 0.5, "max_fraction": 1.0, "min_frames": 64}
ANGLES = (0.3, 0.3, 0.3)
TRAIN_VIEW = CROP | {"max_angles": ANGLES, "stream": "joint", "parents": ()}

crop_resize = jax.jit(augment.crop_resize, static_argnames="num_frames")


def resample(frames, num_frames):
    """Linear interpolation at half-pixel centres, in float64: (n, ...) -> (num_frames, ...)."""
    n = len(frames)
    position = ((np.arange(num_frames) + 0.5) * n / num_frames - 0.5).clip(0, n - 1)
    columns = np.asarray(frames, np.float64).reshape(n, -1).T
    resampled = [np.interp(position, np.arange(n), column) for column in columns]
    return np.stack(resampled, -1).reshape(num_frames, *frames.shape[1:])


def only(start, length):
    """WALK with NaN in every frame outside the crop: reading one of them shows."""
    clip = np.full_like(WALK, np.nan)
    clip[start : start + length] = WALK[start : start + length]
    return clip


@settings(max_examples=60, deadline=None)
@given(st.integers(1, LONGEST), st.floats(0, 1), st.sampled_from([1, 7, 120]))
def test_crop_resize_is_linear_interpolation_inside_the_crop(length, where, num_frames):
    start = int(where * (LONGEST - length))
    out = crop_resize(only(start, length), start, length, num_frames=num_frames)
    expected = resample(WALK[start : start + length], num_frames)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_every_length_at_once():
    lengths = np.arange(1, LONGEST + 1)
    out = jax.vmap(lambda n: crop_resize(WALK, 0, n, num_frames=120))(lengths)
    for n in lengths:
        np.testing.assert_allclose(out[n - 1], resample(WALK[:n], 120), atol=1e-6)


def test_a_crop_of_the_right_length_comes_back_bit_for_bit():
    assert np.array_equal(crop_resize(WALK, 33, 120, num_frames=120), WALK[33:153])


def test_frames_of_several_crops_are_those_of_each():
    clip = jnp.asarray(np.random.default_rng(4).normal(size=(30, 2)), jnp.float32)
    crops = ((3, 20, 8), (0, 30, 4), (11, 2, 5))  # start, length, frames
    of_frames = np.repeat(np.array(crops), [8, 4, 5], axis=0).T
    places = jnp.concatenate([jnp.arange(n) for *_, n in crops])
    together = augment.frames_of_crops(clip, *map(jnp.array, of_frames), places)
    alone = [augment.crop_resize(clip, *crop) for crop in crops]
    np.testing.assert_allclose(together, jnp.concatenate(alone), atol=1e-6)


def test_positions_worked_out_by_hand():
    out = augment.crop_resize(jnp.array([[0.0], [10.0]]), 0, 2, 4)
    np.testing.assert_allclose(out[:, 0], [0, 2.5, 7.5, 10])
    out = augment.crop_resize(jnp.arange(6.0)[:, None], 0, 6, 3)
    np.testing.assert_allclose(out[:, 0], [0.5, 2.5, 4.5])


def test_what_stands_still_stays_bit_for_bit():
    pose = WALK[:1]
    still = np.repeat(pose, LONGEST, 0)
    for length in (1, 77, 299):
        assert (crop_resize(still, 0, length, num_frames=120) == pose).all()


def test_an_empty_body_stays_zero():
    assert not augment.crop_resize(jnp.zeros((50, 5, 3)), 0, 0, 120).any()


@pytest.mark.parametrize("fraction", [0.95, 0.9, 0.7])
def test_centre_crop_matches_python_arithmetic_at_every_length(fraction):
    # 0.9 and 0.7 are where float32 would round (1 − p)·n/2 across an integer.
    lengths = np.arange(1, LONGEST + 1)
    frame_numbers = jnp.arange(LONGEST, dtype=jnp.float32)[:, None]

    def view(n):
        return augment.test_view(
            frame_numbers, n, num_frames=60, fraction=fraction, stream="joint", parents=()
        )

    out = np.asarray(jax.jit(jax.vmap(view))(lengths))
    for n in lengths.tolist():
        bias = int((1 - fraction) * n / 2)
        expected = resample(np.arange(bias, n - bias)[:, None], 60)
        np.testing.assert_allclose(out[n - 1], expected, atol=1e-4)


def test_crop_length():
    assert augment.crop_length(200, 0.5, 64) == 100
    assert augment.crop_length(201, 0.5, 64) == 100
    assert augment.crop_length(100, 0.5, 64) == 64
    assert augment.crop_length(50, 0.5, 64) == 50
    assert augment.crop_length(50, 0.5, 10) == 25
    assert augment.crop_length(300, 1.0, 64) == 300


def test_random_crops_stay_inside_and_vary():
    frame_numbers = jnp.arange(LONGEST, dtype=jnp.float32)[:, None]
    keys = jax.random.split(jax.random.key(0), 400)
    lengths = jnp.tile(jnp.array([1, 63, 64, 65, 128, 200, 299, 300]), 50)

    def view(key, length):
        real = jnp.arange(LONGEST)[:, None] < length
        clip = jnp.where(real, frame_numbers, jnp.nan)
        return augment.random_crop_resize(key, clip, length, 300, **CROP)[:, 0]

    out = np.asarray(jax.jit(jax.vmap(view))(keys, lengths))
    assert np.isfinite(out).all()
    first, last = out[:, 0], out[:, -1]
    # 300 frames out of at most 300: the ends of the view are the ends of the crop.
    cropped = last - first + 1
    short = lengths <= 64
    assert (first[short] == 0).all()
    np.testing.assert_array_equal(cropped[short], lengths[short])
    assert (cropped >= np.minimum(np.maximum(lengths // 2, 64), lengths)).all()
    longest = lengths == 300
    assert len(set(cropped[longest])) > 20
    assert first[longest].min() < 20
    assert last[longest].max() > 280
    assert 215 < cropped[longest].mean() < 235  # uniform in 150 … 300


def test_rotation_by_quarter_turns():
    quarter = np.pi / 2
    x, y, z = np.eye(3)

    def turned(vector, *angles):
        return np.asarray(augment.rotate(jnp.asarray(vector), jnp.array(angles)))

    np.testing.assert_allclose(turned(y, quarter, 0, 0), -z, atol=1e-6)
    np.testing.assert_allclose(turned(z, 0, quarter, 0), -x, atol=1e-6)
    np.testing.assert_allclose(turned(x, 0, 0, quarter), -y, atol=1e-6)
    # About x first, then y, then z: another order would give another vector.
    np.testing.assert_allclose(turned(z, quarter, 0, quarter), x, atol=1e-6)
    np.testing.assert_allclose(turned(z, quarter, quarter, 0), y, atol=1e-6)


def test_rotation_keeps_distances_and_zeros():
    angles = jnp.array([0.3, -1.2, 2.0])
    matrix = augment.rotation_matrix(angles)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)
    two = jnp.stack([WALK, jnp.zeros_like(WALK)], axis=1)
    turned = augment.rotate(two, angles)
    assert not turned[:, 1].any()
    np.testing.assert_allclose(
        jnp.linalg.norm(turned[:, 0], axis=-1), np.linalg.norm(WALK, axis=-1), rtol=1e-5
    )


def test_angles_stay_in_range():
    clip = jnp.eye(3)[None]
    turned = jax.jit(jax.vmap(lambda key: augment.random_rotate(key, clip, ANGLES)))(
        jax.random.split(jax.random.key(1), 500)
    )
    about_y = np.arcsin(np.clip(turned[:, 0, 0, 2], -1, 1))  # the x axis' new z: sin of y angle
    assert 0.28 < np.abs(about_y).max() < 0.3 + 1e-5


def test_places_in_an_image_turn_about_z_alone():
    clip = jnp.array(np.random.default_rng(0).normal(size=(7, 5, 3)), jnp.float32)
    places, deep = clip[..., :2], clip.at[..., 2].set(0)
    angles = jnp.array([0.0, 0.0, 0.7])
    expected = augment.rotate(deep, angles)[..., :2]
    np.testing.assert_allclose(augment.rotate(places, angles), expected, atol=1e-6)
    np.testing.assert_allclose(
        augment.rotate(places, jnp.array([0.4, -0.2, 0.7])), expected, atol=1e-6
    )
    turned = augment.random_rotate(jax.random.key(1), places, (0.0, 0.0, 3.0))
    assert np.abs(turned - places).max() > 0.1
    with pytest.raises(UserError, match=r"\(7, 5, 1\); expected joints of 2 or 3 coordinates"):
        augment.rotate(clip[..., :1], angles)


@pytest.mark.parametrize("coordinates", [2, 3])
def test_confidence_is_neither_turned_nor_shifted(coordinates):
    values = np.random.default_rng(0).normal(size=(7, 2, 5, coordinates + 1))
    clip, key = jnp.array(values, jnp.float32), jax.random.key(3)
    max_angles = (0.3 * (coordinates == 3),) * 2 + (0.3,)
    for transform in (
        lambda x, confidence: augment.random_rotate(key, x, max_angles, confidence),
        lambda x, confidence: augment.random_shift(key, x, 0.2, confidence),
    ):
        with_confidence = transform(clip, True)
        np.testing.assert_array_equal(with_confidence[..., -1], clip[..., -1])
        np.testing.assert_array_equal(with_confidence[..., :-1], transform(clip[..., :-1], False))
        assert np.abs(with_confidence - clip).max() > 0.01
    mirrored = augment.mirror(clip, (0, 2, 1, 4, 3))
    np.testing.assert_array_equal(mirrored[..., -1], clip[..., jnp.array([0, 2, 1, 4, 3]), -1])


def test_a_training_view_keeps_confidence_between_0_and_1():
    clip = jnp.array(np.random.default_rng(0).uniform(0, 1, size=(70, 5, 3)), jnp.float32)
    how = TRAIN_VIEW | {"num_frames": 12, "max_angles": (0.0, 0.0, 1.5), "confidence": True}
    views, _ = jax.jit(jax.vmap(lambda key: augment.train_view(key, clip, 70, **how)))(
        jax.random.split(jax.random.key(0), 16)
    )
    assert 0 <= views[..., 2].min() < views[..., 2].max() <= 1
    assert views[..., :2].min() < -0.1  # those were turned


def test_two_bodies_share_their_view():
    key = jax.random.key(4)
    train_view = jax.jit(functools.partial(augment.train_view, num_frames=40, **TRAIN_VIEW))
    view, _ = train_view(key, jnp.stack([WALK, WALK[::-1]], 1), 200)
    alone, _ = train_view(key, jnp.asarray(WALK[::-1]), 200)
    assert view.shape == (40, 2, 2, 3)
    np.testing.assert_allclose(view[:, 1], alone, atol=1e-6)


def test_views_agree_eagerly_compiled_and_mapped():
    keys = jax.random.split(jax.random.key(2), 3)
    clips = jnp.stack([WALK, WALK + 1, 2 * WALK])
    lengths = jnp.array([300, 61, 150])

    def train(key, clip, length):
        return augment.train_view(key, clip, length, num_frames=40, **TRAIN_VIEW)[0]

    def test(key, clip, length):
        return augment.test_view(
            clip, length, num_frames=40, fraction=0.95, stream="joint", parents=()
        )

    for view in (train, test):
        compiled = jax.jit(jax.vmap(view))(keys, clips, lengths)
        for i in range(3):
            eager = view(keys[i], clips[i], lengths[i])
            np.testing.assert_allclose(compiled[i], eager, atol=1e-5)


def test_each_axis_has_its_own_largest_angle():
    clip = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3)), jnp.float32)
    turned = augment.random_rotate(jax.random.key(0), clip, (0.0, 3.0, 0.0))
    np.testing.assert_allclose(turned[..., 1], clip[..., 1], atol=1e-6)  # heights stay
    assert float(jnp.abs(turned[..., 0] - clip[..., 0]).max()) > 0.1


def test_a_mirror_swaps_the_sides_and_is_its_own_inverse():
    clip = jnp.asarray(WALK)  # two joints
    out = augment.mirror(clip, (1, 0))
    np.testing.assert_array_equal(out[:, 0], WALK[:, 1] * [-1, 1, 1])
    np.testing.assert_array_equal(augment.mirror(out, (1, 0)), clip)
    np.testing.assert_array_equal(augment.mirror(clip, (0, 1))[..., 1:], clip[..., 1:])
    draw = jax.jit(jax.vmap(lambda key: augment.random_mirror(key, clip, (1, 0))))
    views = draw(jax.random.split(jax.random.key(0), 200))
    flipped = (views == out).all((1, 2, 3))
    assert ((views == clip).all((1, 2, 3)) | flipped).all()
    assert 70 < flipped.sum() < 130


def test_a_shift_moves_the_whole_clip_by_one_vector_within_its_bound():
    clip = jnp.asarray(WALK)
    shift = jax.jit(jax.vmap(lambda key: augment.random_shift(key, clip, 0.2)))
    moved = shift(jax.random.split(jax.random.key(0), 300)) - clip
    np.testing.assert_allclose(moved, jnp.broadcast_to(moved[:, :1, :1], moved.shape), atol=2e-6)
    vectors = np.asarray(moved[:, 0, 0])
    assert abs(vectors).max() < 0.2 + 1e-5
    assert (vectors.max(0) > 0.19).all()
    assert (vectors.min(0) < -0.19).all()


NTU = layouts.NTU_25
_poses = np.random.default_rng(3).normal(size=(12, 25, 3))
DANCE = (_poses.cumsum(0) * 0.05 + np.array([0.2, -0.5, 3.0])).astype(np.float32)


def streams_by_hand(clip, stream):
    """Loops over bones and frames, in float64: (T, V, C) -> same shape."""
    clip, out = np.float64(clip), np.zeros(clip.shape)
    if stream == "bone":
        for child, parent in NTU.bones:
            out[:, child] = clip[:, child] - clip[:, parent]
    if stream == "motion":
        for t in range(len(clip) - 1):
            out[t] = clip[t + 1] - clip[t]
    return clip if stream == "joint" else out


@pytest.mark.parametrize("stream", base.STREAMS)
def test_streams_equal_a_hand_computation_eagerly_compiled_and_mapped(stream):
    def one(clip):
        return augment.to_stream(clip, stream, NTU.parents)

    two = jnp.stack([DANCE, jnp.zeros_like(DANCE)], axis=1)  # (T, M, V, C): the second is absent
    for f in (one, jax.jit(one)):
        np.testing.assert_allclose(f(DANCE), streams_by_hand(DANCE, stream), atol=1e-6)
        np.testing.assert_allclose(f(two)[:, 0], streams_by_hand(DANCE, stream), atol=1e-6)
        assert not f(two)[:, 1].any()
    mapped = jax.jit(jax.vmap(one))(jnp.stack([DANCE, 2 * DANCE]))
    np.testing.assert_allclose(mapped[1], streams_by_hand(2 * DANCE, stream), atol=1e-6)


@pytest.mark.parametrize("stream", base.STREAMS)
def test_rotating_and_mirroring_a_stream_is_the_stream_of_the_rotated_and_mirrored(stream):
    def moved(clip):
        turned = augment.rotate(clip, jnp.array([0.3, -1.2, 0.5]))
        return augment.mirror(turned, NTU.mirrored)

    np.testing.assert_allclose(
        moved(augment.to_stream(DANCE, stream, NTU.parents)),
        augment.to_stream(moved(DANCE), stream, NTU.parents),
        atol=3e-6,
    )


def test_bones_and_motion_do_not_change_where_a_body_is_moved():
    shifted = DANCE + np.float32([0.5, 1.0, -0.25])
    for stream in ("bone", "motion"):
        was, now = (augment.to_stream(clip, stream, NTU.parents) for clip in (DANCE, shifted))
        np.testing.assert_allclose(was, now, atol=2e-6)


def test_views_take_the_stream_last():
    key = jax.random.key(5)

    @functools.partial(jax.jit, static_argnames="stream")
    def views(stream):
        how = {"num_frames": 30, "stream": stream, "parents": NTU.parents}
        clip, length = jnp.asarray(DANCE), jnp.int32(11)
        train, _ = augment.train_view(key, clip, length, **TRAIN_VIEW | how)
        return train, augment.test_view(clip, length, fraction=0.8, **how)

    joints = views("joint")
    np.testing.assert_allclose(joints[1], augment.centre_crop_resize(DANCE, 11, 30, 0.8), atol=1e-6)
    for stream in base.STREAMS:
        for view, joint in zip(views(stream), joints, strict=True):
            np.testing.assert_allclose(view, streams_by_hand(joint, stream), atol=1e-6)


def test_parents_of_another_layout_are_refused():
    with pytest.raises(ValueError, match="20 parents for 25 joints"):
        augment.to_stream(DANCE, "bone", layouts.KINECT_20.parents)


@given(
    start=st.integers(0, 50),
    length=st.integers(1, 300),
    fraction=st.floats(0, 1),
    place=st.floats(0, 1, exclude_max=True, width=32),
    least=st.integers(1, 20),
)
@settings(max_examples=50, deadline=None)
def test_an_interval_lies_within_the_other(start, length, fraction, place, least):
    first, found = augment.interval_within(
        start, length, jnp.float32(fraction), jnp.float32(place), least
    )
    assert found == augment.crop_length(length, jnp.float32(fraction), least)
    assert start <= first <= first + found <= start + length


def test_places_of_an_interval_are_uniform():
    place = jnp.arange(900) / 900
    first, found = augment.interval_within(5, 10, jnp.full(900, 0.8), place, 1)
    assert (found == 8).all()
    np.testing.assert_array_equal(np.bincount(first), [0] * 5 + [300] * 3)
