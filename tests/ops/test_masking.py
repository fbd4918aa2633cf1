"""Masks: the number of visible patches, which ones, and their distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from amr_jax.config import checks
from amr_jax.ops import masking


def everywhere(patches):
    """The presence of patches of a body that is always there."""
    return jnp.ones((*patches.shape[:-1], 1), bool)


def test_number_of_visible_patches():
    assert checks.num_visible(750, 0.9, None, "nearest") == 75
    assert checks.num_visible(750, 0.9, None, "down") == 74  # as published: 74.99999999999999
    assert checks.num_visible(750, 0.9, 0, "nearest") == 75
    assert checks.num_visible(750, 0.9, 60, "down") == 60
    assert checks.num_visible(600, 0.8, None, "nearest") == 120


@functools.partial(jax.jit, static_argnames=("kind", "shape", "visible"))
def mask_of_random_clip(seed, kind, shape, visible):
    key = jax.random.key(seed)
    patches = jax.random.normal(key, (1, *shape, 2, 3))
    ids = masking.draw(key, patches, everywhere(patches), visible, kind, 0.75)[0]
    return ids, masking.is_hidden(ids, shape[0] * shape[1])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from(["random", "motion_aware"]),
    # Few shapes: every further one is compiled.
    st.sampled_from([((2, 1), 1), ((30, 25), 75)]),
)
def test_a_mask_has_the_right_number_of_different_patches(seed, kind, shape_and_visible):
    shape, visible = shape_and_visible
    num_patches = shape[0] * shape[1]
    ids, hidden = mask_of_random_clip(seed, kind, shape, visible)
    hidden = np.asarray(hidden)
    assert ids.dtype == jnp.int32
    assert ids.shape == (visible,)
    assert set(ids.tolist()) <= set(range(num_patches))
    assert len(set(ids.tolist())) == visible
    assert {i for i in range(num_patches) if not hidden[i]} == set(ids.tolist())


def test_random_masks_are_uniform():
    keys = jax.random.split(jax.random.key(0), 4000)
    ids = jax.jit(jax.vmap(lambda key: masking.random_mask(key, 20, 5)))(keys)
    share = np.bincount(np.ravel(ids), minlength=20) / 4000
    np.testing.assert_allclose(share, 0.25, atol=0.035)  # five standard deviations


def test_motion_aware_probability_follows_its_definition():
    patches = np.random.default_rng(0).normal(size=(5, 3, 2, 3)).astype(np.float32)
    intensity = np.empty((5, 3))
    for time in range(5):
        later = max(time, 1)  # the first patch copies the second
        for joint in range(3):
            intensity[time, joint] = np.abs(
                patches[later, joint] - patches[later - 1, joint]
            ).mean()
    logit = intensity.reshape(-1) / (intensity.max() * 0.8 + 1e-10)
    expected = np.exp(logit) / np.exp(logit).sum()
    out = jnp.exp(masking.motion_log_probability(jnp.asarray(patches), everywhere(patches), 0.8))
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_a_jump_to_an_absence_is_no_motion():
    # One joint that moves by 1 a patch, in patches of 2 frames; a second one stands still.
    position = np.repeat(np.arange(1.0, 7.0), 2).reshape(6, 2)
    patches = np.stack([position, np.full((6, 2), 9.0)], axis=1)[..., None]
    present = np.ones((6, 2, 2, 1), bool)
    present[2:4, 0] = False  # two patches away, back in the second frame of patch 4
    present[4, 0, 0] = False
    present[:4, 1] = False  # the still joint's patches 0 to 3
    patches = jnp.where(present, patches, 0)
    log_p = masking.motion_log_probability(patches, jnp.asarray(present), 0.5).reshape(6, 2)
    # Joint 0: patch 1 moves by 1, which patch 0 copies; 2 and 3 are away; of patch 4, the change
    # since patch 3 is unknown: it copies that of patch 5, known in the second frame, 1.
    intensity = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [1, 0], [1, 0]])
    np.testing.assert_allclose(log_p, jax.nn.log_softmax(intensity / 0.5, (0, 1)), rtol=1e-5)
    # Taken as positions, the zeros are the largest motion there is.
    counted = masking.motion_log_probability(patches, everywhere(patches), 0.5).reshape(6, 2)
    assert counted[4, 1] == counted.max() > counted[1, 0] + 1


def test_moving_patches_tend_to_be_hidden():
    moving = jnp.arange(10.0)[:, None, None]
    patches = jnp.zeros((10, 2, 1, 3)).at[:, 1].set(moving)  # joint 1 moves
    keys = jax.random.split(jax.random.key(0), 2000)
    here = everywhere(patches)
    ids = jax.vmap(lambda key: masking.motion_aware_mask(key, patches, here, 4, 0.2))(keys)
    assert (ids % 2).mean() < 0.05
    still = jax.vmap(lambda key: masking.motion_aware_mask(key, 0 * patches, here, 4, 0.2))(keys)
    assert 0.45 < (still % 2).mean() < 0.55  # nothing moves: as random as can be


@pytest.mark.parametrize("kind", ["random", "motion_aware"])
def test_masks_of_a_batch_do_not_depend_on_devices(kind):
    patches = jax.random.normal(jax.random.key(1), (16, 6, 5, 1, 3))

    def draw(key, patches):
        return masking.draw(key, patches, everywhere(patches), 7, kind, 0.75)

    eager = draw(jax.random.key(0), patches)
    assert len({tuple(ids) for ids in eager.tolist()}) == 16  # every body its own
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    compiled = jax.jit(draw, in_shardings=(None, spread), out_shardings=spread)
    np.testing.assert_array_equal(compiled(jax.random.key(0), patches), eager)
    text = compiled.lower(jax.random.key(0), patches).compile().as_text()
    assert "all-gather" not in text
    assert "all-to-all" not in text


def test_one_body_eagerly_compiled_and_mapped():
    key, patches = jax.random.key(3), jax.random.normal(jax.random.key(1), (6, 5, 1, 3))

    def mask(key, patches):
        return masking.motion_aware_mask(key, patches, everywhere(patches), 7, 0.75)

    eager = mask(key, patches)
    np.testing.assert_array_equal(jax.jit(mask)(key, patches), eager)
    np.testing.assert_array_equal(jax.vmap(mask)(key[None], patches[None])[0], eager)


def test_hidden_patches_are_drawn_uniformly_and_never_a_visible_one():
    keep = jnp.array([[1, 4, 7], [0, 2, 9]])
    draw = jax.jit(lambda key: masking.draw_hidden(key, keep, 10, 3))
    drawn = np.stack([draw(jax.random.key(seed)) for seed in range(400)])
    for body in range(2):
        ids = drawn[:, body]
        assert all(len(set(row)) == 3 for row in ids)
        counts = np.bincount(ids.ravel(), minlength=10)
        assert (counts[np.asarray(keep[body])] == 0).all()
        hidden = np.delete(counts, np.asarray(keep[body]))
        assert abs(hidden - 400 * 3 / 7).max() < 5 * np.sqrt(400 * 3 / 7 * 4 / 7)
    assert (np.sort(draw(jax.random.key(0))[0]) == np.sort(drawn[0, 0])).all()
    everything = masking.draw_hidden(jax.random.key(0), keep, 10, 7)
    assert set(np.asarray(everything[0])) == set(range(10)) - {1, 4, 7}


def test_hidden_patches_by_a_budget_are_uniform_and_of_the_given_joints():
    joints = jnp.array([True, True, False, True])

    def draw(key, budget):
        return masking.random_hidden(key, budget, jnp.tile(joints, (5, 1)))

    keys = jax.random.split(jax.random.key(0), 400)
    for budget in (0, 6, 15):
        hidden = jax.jit(jax.vmap(draw, in_axes=(0, None)))(keys, jnp.int32(budget))
        assert hidden.shape == (400, 5, 4)
        assert (hidden.sum((1, 2)) == budget).all()
        assert not hidden[..., 2].any()
        share = hidden[..., jnp.array([0, 1, 3])].mean(0)
        assert abs(share - budget / 15).max() < 5 * np.sqrt(0.25 / 400)
