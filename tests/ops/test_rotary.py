"""Rotary positions against float64, and what they are for: only differences of times count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import rotary
from tests.models import reference

Q, K = (jax.random.normal(jax.random.key(i), (2, 6, 3, 8)) for i in range(2))
TIMES = jnp.array([0, 1, 2, 5, 11, 40])


def turned(x, times):
    return rotary.turn(x, rotary.angles(times, 8, 10_000.0))


def test_pairs_of_features_turn_by_time():
    found = jax.jit(turned)(Q, TIMES)
    for body in range(2):
        flat = np.asarray(Q[body], np.float64).reshape(6, 24)
        expected = reference.turned(flat, np.asarray(TIMES), num_heads=3)
        np.testing.assert_allclose(found[body].reshape(6, 24), expected, atol=1e-5)


def test_speeds_fall_from_one_radian_to_nearly_the_base():
    angles = rotary.angles(jnp.array([1, 3]), 8, 10_000.0)
    np.testing.assert_allclose(angles, np.outer([1, 3], [1, 0.1, 0.01, 0.001]), rtol=1e-6)


@pytest.mark.parametrize("shift", [1, 7, 100])
def test_scores_depend_on_differences_of_times_only(shift):
    def scores(times):
        return jnp.einsum("bqhd,bkhd->bhqk", turned(Q, times), turned(K, times))

    np.testing.assert_allclose(scores(TIMES), scores(TIMES + shift), atol=1e-4)
    assert jnp.abs(scores(TIMES) - scores(2 * TIMES)).max() > 0.1


def test_nothing_turns_at_time_zero_and_lengths_stay():
    np.testing.assert_array_equal(turned(Q, jnp.zeros(6, int)), Q)
    norm = jnp.linalg.norm(turned(Q, TIMES), axis=-1)
    np.testing.assert_allclose(norm, jnp.linalg.norm(Q, axis=-1), rtol=1e-5)


def test_half_precision_turns_in_float32():
    half = turned(Q.astype(jnp.bfloat16), TIMES)
    assert half.dtype == jnp.bfloat16
    exact = turned(Q.astype(jnp.bfloat16).astype(jnp.float32), TIMES)
    np.testing.assert_array_equal(half, exact.astype(jnp.bfloat16))
