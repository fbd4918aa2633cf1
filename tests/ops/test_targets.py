"""Motion and normalisations against references in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import targets

NORMALISATIONS = ("none", "patch", "timestamps", "patch_timestamps", "body")
CLIP = np.random.default_rng(0).normal(size=(24, 3, 2)).cumsum(0).astype(np.float32)


def ones(clip):
    """The presence of a body that is always there."""
    return jnp.ones(clip.shape[:-1], bool)


def test_motion_is_the_step_to_the_next_frame():
    clip = jnp.array([1.0, 4.0, 9.0])[:, None, None]
    np.testing.assert_array_equal(targets.motion(clip, axis=-3, stride=1)[:, 0, 0], [3, 5, 0])


def test_motion_over_several_frames_ends_in_as_many_zeros():
    """As MAMP's `extract_motion` with its argument `motion_stride`."""
    clip = jnp.array([1.0, 4.0, 9.0, 16.0, 25.0])[:, None, None]
    found = targets.motion(clip, axis=-3, stride=2)[:, 0, 0]
    np.testing.assert_array_equal(found, [8, 12, 16, 0, 0])
    target, known = targets.reconstruction_target(clip, ones(clip), 5, "motion", "none", 2)
    np.testing.assert_array_equal(target[0, 0, :, 0], [8, 12, 16, 0, 0])
    here = jnp.array([1, 1, 1, 0, 1], bool)[:, None]
    target, known = targets.reconstruction_target(clip, here, 5, "motion", "none", 2)
    np.testing.assert_array_equal(known[0, 0, :, 0], [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(target[0, 0, :, 0], [8, 0, 16, 0, 0])


def reference(clip, patch_len, kind, normalisation):
    """The definitions, one patch after the other, in float64."""
    x = np.asarray(clip, np.float64)
    if kind == "motion":
        x = np.concatenate([np.diff(x, axis=0), np.zeros_like(x[:1])])

    def standardise(values, axis):
        mean, variance = values.mean(axis), values.var(axis, ddof=1)
        return (values - mean) / np.sqrt(variance + 1e-6)

    if normalisation == "timestamps":
        x = standardise(x, axis=0)
    if normalisation == "body":
        x = x / np.sqrt(np.square(x).mean() + 1e-6)
    frames, joints, channels = x.shape
    out = np.empty((frames // patch_len, joints, patch_len, channels))
    for time in range(len(out)):
        for joint in range(joints):
            patch = x[time * patch_len : (time + 1) * patch_len, joint]
            if normalisation == "patch":
                patch = standardise(patch.reshape(-1), axis=0).reshape(patch.shape)
            if normalisation == "patch_timestamps":
                patch = standardise(patch, axis=0)
            out[time, joint] = patch
    return out


@pytest.mark.parametrize("kind", ["joint", "motion"])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_targets_follow_their_definitions(kind, normalisation):
    def target(clip):
        return targets.reconstruction_target(clip, ones(clip), 6, kind, normalisation, 1)[0]

    clips = jnp.stack([CLIP, CLIP[::-1] + 3])
    expected = np.stack([reference(clip, 6, kind, normalisation) for clip in clips])
    for out in (target(clips), jax.jit(jax.vmap(target))(clips)):
        np.testing.assert_allclose(out, expected, atol=2e-5)


@pytest.mark.parametrize("kind", ["joint", "motion"])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_absent_frames_have_no_target_and_change_no_other(kind, normalisation):
    present = np.ones((24, 3), bool)
    present[4:9, 0] = present[12:18, 1] = present[23, 1] = present[:, 2] = False
    present[7, 2] = True  # the only frame of this joint
    zeros = np.where(present[..., None], CLIP, 0)
    gaps = np.where(present[..., None], np.float64(CLIP), np.nan)
    known = present & np.append(present[1:], present[-1:], 0) if kind == "motion" else present
    if kind == "motion":  # the last frame's is 0 by definition
        gaps = np.where(
            known[..., None], np.append(np.diff(gaps, axis=0), 0 * gaps[-1:], 0), np.nan
        )

    def standardise(values, axis):
        count = np.isfinite(values).sum(axis, keepdims=True)
        mean = np.nansum(values, axis, keepdims=True) / np.maximum(count, 1)
        squares = np.nansum((values - mean) ** 2, axis, keepdims=True)
        return (values - mean) / np.sqrt(squares / np.maximum(count - 1, 1) + 1e-6)

    if normalisation == "timestamps":
        gaps = standardise(gaps, 0)
    if normalisation == "body":
        gaps = gaps / np.sqrt(np.nanmean(np.square(gaps)) + 1e-6)
    gaps = gaps.reshape(4, 6, 3, 2).swapaxes(1, 2)
    if normalisation.startswith("patch"):
        gaps = standardise(gaps, (-2, -1) if normalisation == "patch" else -2)
    compute = jax.jit(targets.reconstruction_target, static_argnums=(2, 3, 4, 5))
    target, where = compute(zeros, present, 6, kind, normalisation, 1)
    np.testing.assert_array_equal(where[..., 0], known.reshape(4, 6, 3).swapaxes(1, 2))
    np.testing.assert_allclose(target, np.nan_to_num(gaps), atol=2e-5)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_an_absent_body_has_a_target_of_zeros(normalisation):
    absent = jnp.zeros((24, 3, 2))
    target, _ = targets.reconstruction_target(absent, ones(absent), 6, "joint", normalisation, 1)
    assert not target.any()


def test_normalised_by_the_body_a_target_keeps_relative_amplitude_and_loses_the_scale():
    def target(clip):
        return targets.reconstruction_target(clip, ones(clip), 6, "motion", "body", 1)[0]

    fast = CLIP * jnp.array([1.0, 3.0, 9.0])[:, None]  # three joints
    found = target(fast)
    ratio = found[:, 1] / target(CLIP)[:, 1] * target(CLIP)[:, 0] / found[:, 0]
    np.testing.assert_allclose(ratio[:-1], 3, rtol=1e-4)  # the last frame's motion is 0
    np.testing.assert_allclose(target(100 * fast), target(1000 * fast), rtol=1e-4, atol=1e-5)


def test_targets_are_float32_and_carry_no_gradient():
    half = jnp.asarray(CLIP, jnp.bfloat16)
    target, _ = targets.reconstruction_target(half, ones(half), 6, "joint", "none", 1)
    assert target.dtype == jnp.float32
    gradient = jax.grad(
        lambda x: targets.reconstruction_target(x, ones(x), 6, "motion", "patch", 1)[0].sum()
    )
    assert not gradient(jnp.asarray(CLIP)).any()
