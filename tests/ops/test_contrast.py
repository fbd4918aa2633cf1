"""The queue against a list that is written row by row, and InfoNCE against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.ops import contrast
from amr_jax.ops.unit_length import unit_length

RNG = np.random.default_rng(0)


def features(*shape):
    return unit_length(jnp.asarray(RNG.normal(size=shape), jnp.float32))


def empty(size, width):
    return jnp.zeros((size, width)), jnp.full(size, contrast.EMPTY), jnp.int32(0)


def test_the_nearest_entry_is_of_another_sequence_and_was_written():
    queue, z = features(6, 4), features(5, 4)
    queue_ids = np.array([3, 0, contrast.EMPTY, 1, 3, 2])
    ids = np.array([0, 3, 1, 9, 2])
    found = jax.jit(contrast.nearest)(queue, queue_ids, z, ids)
    for own, mine, entry in zip(ids, np.float64(z), found, strict=True):
        allowed = [i for i in range(6) if queue_ids[i] not in (own, contrast.EMPTY)]
        best = max(allowed, key=lambda i: mine @ np.float64(queue[i]))
        np.testing.assert_array_equal(entry, queue[best])


def test_without_another_sequence_a_body_is_its_own_neighbour():
    z, ids = features(3, 4), jnp.array([0, 1, 2])
    np.testing.assert_array_equal(contrast.nearest(*empty(8, 4)[:2], z, ids), z)
    queue_ids = jnp.array([1, 1, contrast.EMPTY])
    found = contrast.nearest(features(3, 4), queue_ids, z, ids)
    np.testing.assert_array_equal(found[1], z[1])
    assert (found[0] != z[0]).any()


def test_neighbours_have_no_gradient():
    queue, ids = features(6, 4), jnp.arange(6)

    def loss(queue, z):
        return jnp.square(contrast.nearest(queue, ids, z, jnp.array([0, 9]))).sum()

    for slope in jax.grad(loss, (0, 1))(queue, features(2, 4)):
        assert not slope.any()


def info_nce_by_hand(keys, predictions, temperature):
    logits = np.float64(keys) @ np.float64(predictions).T / temperature
    return np.mean([np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logits)])


def test_info_nce_runs_over_the_counted_bodies():
    keys, predictions = features(6, 4), features(6, 4)
    real = np.array([True, False, True, True, False, True])
    found = jax.jit(contrast.info_nce)(keys, predictions, 0.07, real)
    expected = info_nce_by_hand(keys[real], predictions[real], 0.07)
    assert found == pytest.approx(expected, rel=1e-5)
    junk = jnp.where(real[:, None], predictions, 100 * predictions)
    value, slope = jax.value_and_grad(contrast.info_nce, 1)(keys, junk, 0.07, real)
    assert value == pytest.approx(float(found), rel=1e-6)
    assert not slope[~real].any()
    assert slope[real].any()


def test_info_nce_of_bodies_that_tell_nothing_apart_is_the_log_of_their_number():
    same = jnp.ones((8, 4)) / 2
    real = jnp.arange(8) < 6
    assert contrast.info_nce(same, same, 0.07, real) == pytest.approx(np.log(6), rel=1e-5)
    value, slope = jax.value_and_grad(contrast.info_nce)(same, same, 0.07, real & False)
    assert value == 0
    assert np.isfinite(slope).all()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 3, 5, 8]),
    st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6),
)
def test_the_queue_is_a_list_written_row_by_row(size, batches):
    state, slots, at = empty(size, 1), [(0.0, contrast.EMPTY)] * size, 0
    for number, counted in enumerate(batches):
        ids = np.arange(4) + 4 * number
        z = ids[:, None].astype(np.float32) + 0.5
        state = jax.jit(contrast.enqueue)(*state, z, ids, np.array(counted))
        for own, real in zip(ids, counted, strict=True):
            if real:
                slots[at], at = (own + 0.5, own), (at + 1) % size
        queue, queue_ids, pointer = state
        assert [
            (*map(float, row), int(i)) for row, i in zip(queue, queue_ids, strict=True)
        ] == slots
        assert int(pointer) == at
