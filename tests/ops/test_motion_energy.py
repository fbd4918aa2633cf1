"""Motion energy and its weights against the definitions, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.ops import motion_energy

DEFAULT = {
    "windows": (4, 8, 12),
    "kind": "ratio",
    "k": 0.01,
    "epsilon": 1e-8,
    "energy_threshold": "body",
}
KINDS = ["ratio", "power", "exponential"]

weight = jax.jit(motion_energy.weight, static_argnames="kind")
motion_weights = jax.jit(
    motion_energy.motion_weights, static_argnames=("windows", "kind", "energy_threshold")
)
_rng = np.random.default_rng(0)
# Three joints: strongly moving, trembling, still; three metres from the camera.
CLIP = _rng.normal(size=(24, 3, 3)).cumsum(0) * np.array([0.1, 0.003, 0.0])[:, None]
CLIP = (CLIP + np.array([0.5, -1.0, 3.0])).astype(np.float32)


def ones(clip):
    """The presence of a body that is always there."""
    return jnp.ones(clip.shape[:-1], bool)


def reference_weights(clip, windows, kind, k, epsilon, pooled_over_joints):
    """W by loops over windows and joints, in float64."""
    clip = np.asarray(clip, np.float64)
    frames, joints, _ = clip.shape
    weights = np.zeros((frames, joints))
    for n in windows:
        energy = np.zeros((frames // n, joints))
        for window in range(frames // n):
            for joint in range(joints):
                s = clip[window * n : (window + 1) * n, joint]
                s = s[~np.isnan(s).any(1)]  # NaN: absent
                squares = [((p - s.mean(0)) ** 2).sum() for p in s]
                energy[window, joint] = np.mean(squares) if squares else np.nan
        for joint in range(joints):
            e_t = np.nanmean(energy if pooled_over_joints else energy[:, joint])
            for window in range(frames // n):
                e_s = energy[window, joint]
                if e_t == 0:
                    w = 0
                elif kind == "ratio":
                    w = 1 / (1 + k * e_t / (e_s + epsilon))
                elif kind == "power":
                    w = min(1, (e_s / e_t) ** k)
                else:
                    w = 1 - np.exp(-k * e_s / e_t)
                weights[window * n : (window + 1) * n, joint] += w / len(windows)
    return weights


def test_energy_by_hand():
    # One joint on a line: 0, 2 | 5, 5 -> mean squared distance to the mean 1 and 0.
    clip = jnp.array([0.0, 2.0, 5.0, 5.0])[:, None, None]
    np.testing.assert_array_equal(motion_energy.window_energy(clip, ones(clip), 2)[:, 0], [1, 0])
    # In the plane, 3-4-5: displacements of ±2.5 m.
    clip = jnp.array([[[0.0, 0.0]], [[3.0, 4.0]]])
    np.testing.assert_allclose(motion_energy.window_energy(clip, ones(clip), 2), [[6.25]])


def test_weights_by_hand():
    one, two = jnp.array(1.0), jnp.array(2.0)
    assert motion_energy.weight(one, two, "ratio", k=0.5, epsilon=1e-12) == 0.5
    assert motion_energy.weight(one, jnp.array(4.0), "power", k=0.5, epsilon=1e-8) == 0.5
    assert motion_energy.weight(two, one, "power", k=0.5, epsilon=1e-8) == 1
    np.testing.assert_allclose(
        motion_energy.weight(two, one, "exponential", k=0.5, epsilon=1e-8),
        1 - np.exp(-1),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match="kind = 'linear': expected"):
        motion_energy.weight(one, two, "linear", k=0.5, epsilon=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("energy_threshold", ["body", "joint"])
def test_weights_follow_the_definitions(kind, energy_threshold):
    def weights(clips):
        return motion_energy.motion_weights(
            clips, ones(clips), (4, 8, 12), kind, 0.1, 1e-6, energy_threshold
        )

    clips = jnp.stack([CLIP, CLIP[::-1] * 2])
    expected = np.stack(
        [
            reference_weights(clip, (4, 8, 12), kind, 0.1, 1e-6, energy_threshold == "body")
            for clip in clips
        ]
    )
    np.testing.assert_allclose(jax.jit(weights)(clips), expected, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("energy_threshold", ["body", "joint"])
def test_absent_frames_count_in_no_mean(kind, energy_threshold):
    present = np.ones((24, 3), bool)
    present[4:13, 0] = present[1::2, 1] = present[:20, 2] = False
    expected = reference_weights(
        np.where(present[..., None], np.float64(CLIP), np.nan),
        (4, 8, 12),
        kind,
        0.1,
        1e-6,
        energy_threshold == "body",
    )
    settings = {"kind": kind, "k": 0.1, "epsilon": 1e-6, "energy_threshold": energy_threshold}
    for filling in (0, CLIP.mean(), 1e6):  # whatever stands there
        clip = np.where(present[..., None], CLIP, np.float32(filling))
        weights = motion_weights(clip, present, (4, 8, 12), **settings)
        np.testing.assert_allclose(weights, np.where(present, expected, 0), atol=2e-6)


@pytest.mark.parametrize(("distance", "low", "high"), [(0.0, 0.22, 0.38), (3.0, 0.04, 0.06)])
def test_a_body_that_is_away_for_18_of_120_frames_keeps_its_weights(distance, low, high):
    """Centred, and as PKU-MMD is, in camera coordinates. Zeros taken as positions lose them."""
    rng = np.random.default_rng(0)
    pose = rng.normal(size=(25, 3)) * np.array([0.2, 0.4, 0.1]) + np.array([0, 0, distance])
    steps = np.geomspace(0.05, 1, 25)[:, None] * rng.normal(scale=0.005, size=(120, 25, 3))
    clip = (pose + steps.cumsum(0)).astype(np.float32)
    present = np.ones((120, 25), bool)
    present[50:68] = False
    away = np.where(present[..., None], clip, 0)

    always = motion_weights(clip, ones(clip), **DEFAULT)
    counted = motion_weights(away, ones(clip), **DEFAULT)
    ignored = motion_weights(away, present, **DEFAULT)
    assert 0.88 < always[present].mean() < 0.92
    assert low < counted[present].mean() < high
    assert abs(ignored[present].mean() - always[present].mean()) < 0.005
    whole = np.r_[0:48, 72:120]  # frames whose windows have no absent one
    np.testing.assert_allclose(ignored[whole], always[whole], atol=0.03)
    assert not ignored[~present].any()


def test_weights_agree_eagerly_compiled_and_mapped():
    clips = jnp.stack([CLIP, CLIP[::-1] * 2])
    settings = DEFAULT | {"windows": (4,)}

    def weights(clips):
        return motion_energy.motion_weights(clips, ones(clips), **settings)

    eager = jnp.stack([weights(clip) for clip in clips])
    np.testing.assert_allclose(jax.jit(weights)(clips), eager, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(weights)(clips), eager, atol=1e-6)


def test_default_weights_order_the_joints():
    strong, trembling, still = motion_weights(CLIP, ones(CLIP), **DEFAULT).mean(0)
    assert strong > 0.9
    assert trembling < 0.5
    assert still < 1e-2


@pytest.mark.parametrize("window", [1, 4, 12])
def test_what_stands_still_has_no_energy_wherever_it_stands(window):
    pose = _rng.normal(size=(1, 25, 3)).astype(np.float32) * 7 + 3
    clip = jnp.repeat(pose, 24, 0)
    assert not motion_energy.window_energy(clip, ones(clip), window).any()


def test_energy_does_not_depend_on_the_origin():
    shift = np.array([1.0, -2.0, 4.0], np.float32)
    here = motion_energy.window_energy(CLIP, ones(CLIP), 4)
    there = motion_energy.window_energy(CLIP + shift, ones(CLIP), 4)
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 1e3, width=32), min_size=4, max_size=4),
    st.floats(0, 1e3, width=32),
    st.floats(1e-4, 100),
    st.sampled_from(KINDS),
)
def test_weights_are_in_range_and_grow_with_energy(energies, threshold, k, kind):
    w = np.asarray(weight(np.sort(np.float32(energies)), threshold, kind, k=k, epsilon=1e-8))
    assert ((w >= 0) & (w <= 1)).all()
    assert (w[1:] >= w[:-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_does_not_move_has_weight_zero(kind):
    absent = jnp.zeros((24, 3, 3))
    still = jnp.full((24, 3, 3), 1.7)
    clips = jnp.stack([absent, still, CLIP])
    weights = motion_weights(clips, ones(clips), **DEFAULT | {"kind": kind})
    assert not weights[:2].any()
    assert weights[2].any()


@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_no_gradient_flows_through_the_weights(kind):
    how = DEFAULT | {"kind": kind}
    slope = jax.jit(jax.grad(lambda x: motion_energy.motion_weights(x, ones(CLIP), **how).sum()))
    for clip in (CLIP, jnp.zeros((24, 3, 3))):
        assert not slope(clip).any()


def test_no_weighting_is_plain_mean_squared_error():
    # Window lengths are not read: 5 does not divide 24.
    settings = DEFAULT | {"windows": (5,), "kind": "none"}
    assert (motion_weights(CLIP, ones(CLIP), **settings) == 1).all()
