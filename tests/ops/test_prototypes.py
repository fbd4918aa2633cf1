"""Assignments to prototypes against plain loops in double precision, and their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import prototypes
from amr_jax.ops.unit_length import unit_length

RNG = np.random.default_rng(0)
REAL = np.array([True, True, False, True, True, False, True])
LOGITS = RNG.normal(size=(7, 5)).astype(np.float32)

sinkhorn = jax.jit(prototypes.sinkhorn_knopp, static_argnums=2)


def balanced(logits, temperature, iterations):
    """The iteration as published, on exponentials: prototypes, then rows, K and B times."""
    q = np.exp(np.float64(logits) / temperature)
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(0, keepdims=True) * q.shape[1]
        q /= q.sum(1, keepdims=True) * q.shape[0]
    return q * len(q)


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("temperature", [0.04, 1.0])
def test_targets_equal_the_published_iteration_over_the_counted_rows(temperature, iterations):
    found = sinkhorn(LOGITS, temperature, iterations, REAL)
    expected = balanced(LOGITS[REAL], temperature, iterations)
    np.testing.assert_allclose(found[REAL], expected, rtol=2e-4, atol=1e-6)
    assert not found[~REAL].any()


def test_rows_that_are_not_counted_change_no_other_whatever_they_hold():
    other = np.where(REAL[:, None], LOGITS, 1e4 * RNG.normal(size=LOGITS.shape)).astype(np.float32)
    np.testing.assert_array_equal(sinkhorn(LOGITS, 0.1, 3, REAL), sinkhorn(other, 0.1, 3, REAL))


def test_many_iterations_use_all_prototypes_equally():
    found = sinkhorn(LOGITS, 0.5, 100, REAL)
    np.testing.assert_allclose(found.sum(0), REAL.sum() / 5, rtol=1e-4)
    np.testing.assert_allclose(found.sum(1), REAL, rtol=1e-5)


def test_patches_of_bodies_are_rows_like_others():
    flat = sinkhorn(LOGITS[:6], 0.1, 3, REAL[:6])
    found = sinkhorn(LOGITS[:6].reshape(2, 3, 5), 0.1, 3, REAL[:6].reshape(2, 3))
    np.testing.assert_allclose(found.reshape(6, 5), flat, rtol=1e-5)


def test_extreme_logits_neither_overflow_nor_vanish():
    logits = jnp.array([[3e4, 0, -3e4], [3e4, 1, -3e4], [-3e4, 0, 0]])
    found = sinkhorn(logits, 0.04, 3, jnp.ones(3, bool))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert not sinkhorn(logits, 0.04, 3, jnp.zeros(3, bool)).any()


def test_targets_have_no_gradient():
    def loss(z):
        return jnp.square(prototypes.sinkhorn_knopp(z, 0.1, 3, REAL)).sum()

    assert not jax.grad(loss)(jnp.asarray(LOGITS)).any()


def test_cross_entropy_is_that_of_distributions():
    target = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 1]])
    z = np.exp(np.float64(LOGITS[:2]) / 0.1)
    expected = -(target * np.log(z / z.sum(1, keepdims=True))).sum(1)
    found = prototypes.cross_entropy(jnp.asarray(target), jnp.asarray(LOGITS[:2]), 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_usage_is_1_if_all_prototypes_are_used_equally_and_0_if_one_is():
    each, same = np.eye(5, dtype=np.float32)[[0, 1, 0, 2, 3, 0, 4]], np.zeros((7, 5), np.float32)
    same[:, 2] = 1
    assert prototypes.usage(jnp.asarray(each), REAL) == pytest.approx(1)
    assert prototypes.usage_entropy(jnp.asarray(each), REAL) == pytest.approx(np.log(5))
    assert prototypes.usage(jnp.asarray(same), REAL) == pytest.approx(0, abs=1e-7)
    half = np.zeros((2, 3, 4), np.float32)
    half[0, :, 0] = half[1, :, 3] = 1
    counted = jnp.array([[True, True, False], [True, True, True]])
    expected = -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))
    assert prototypes.usage_entropy(jnp.asarray(half), counted) == pytest.approx(expected, rel=1e-5)


def koleo_by_hand(x):
    x = np.float64(x)
    nearest = [
        min(np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i) for i in range(len(x))
    ]
    return -np.log(nearest).mean()


def test_koleo_measures_the_distance_to_the_nearest_counted_feature():
    x = unit_length(jnp.asarray(LOGITS))
    found = jax.jit(prototypes.koleo)(x, REAL)
    assert found == pytest.approx(koleo_by_hand(x[REAL]), rel=1e-4)
    moved = jnp.where(REAL[:, None], x, x[0])  # on top of a real one
    assert prototypes.koleo(moved, REAL) == pytest.approx(float(found), rel=1e-6)


def test_koleo_pushes_neighbours_apart_and_survives_equal_ones():
    x = unit_length(jnp.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]]))
    real = jnp.ones(3, bool)
    slope = jax.grad(prototypes.koleo)(x, real)
    assert slope[0, 1] < 0 < slope[1, 1]  # a step against the gradient parts them
    same = jnp.ones((3, 2)) / np.sqrt(2)
    value, slope = jax.value_and_grad(prototypes.koleo)(same, real)
    assert value == pytest.approx(-np.log(1e-8), rel=1e-4)
    assert np.isfinite(slope).all()
    assert prototypes.koleo(x, jnp.array([True, False, False])) == 0


def test_unit_length():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-3, 0.0]])
    np.testing.assert_allclose(unit_length(x), [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)
    assert unit_length(x.astype(jnp.bfloat16)).dtype == jnp.float32
    assert np.isfinite(jax.grad(lambda x: unit_length(x).sum())(x)).all()
