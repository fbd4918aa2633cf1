"""Statistics of features against numpy in double precision, over the counted rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import decorrelation

RNG = np.random.default_rng(0)
SPREAD = np.linspace(0.1, 2, 5)
A = (RNG.normal(size=(9, 4, 5)) * SPREAD + 3).astype(np.float32)
B = (0.7 * A + RNG.normal(size=A.shape)).astype(np.float32)
REAL = RNG.random((9, 4)) < 0.7
COUNTED_A, COUNTED_B = np.float64(A[REAL]), np.float64(B[REAL])


def off_diagonal(matrix):
    return sum(matrix[i, j] ** 2 for i in range(5) for j in range(5) if i != j)


def test_cross_correlation_equals_that_of_numpy():
    found = jax.jit(decorrelation.cross_correlation)(A, B, REAL)
    expected = np.corrcoef(COUNTED_A, COUNTED_B, rowvar=False)[:5, 5:]
    np.testing.assert_allclose(found, expected, atol=2e-3)  # the floor of the variance
    np.testing.assert_allclose(found[1:, 1:], expected[1:, 1:], atol=3e-5)


def test_barlow_is_0_for_equal_features_without_correlation():
    orthogonal = RNG.normal(size=(12, 5))
    orthogonal = np.linalg.qr(orthogonal - orthogonal.mean(0))[0]  # columns of mean 0
    rows, real = jnp.asarray(10 * orthogonal, jnp.float32), jnp.ones(12, bool)
    c = decorrelation.cross_correlation(rows, rows, real)
    assert decorrelation.barlow(c, 1.0) == pytest.approx(0, abs=1e-5)
    assert decorrelation.barlow(
        decorrelation.cross_correlation(rows, -rows, real), 0.0
    ) == pytest.approx(4 * 5, rel=1e-4)


def test_barlow_worked_out_by_hand():
    c = jnp.array([[1.0, 0.5], [-0.1, 0.8]])
    assert decorrelation.barlow(c, 0.005) == pytest.approx(0.04 + 0.005 * 0.26, rel=1e-5)


def test_variance_and_covariance_equal_those_of_numpy():
    std = np.sqrt(COUNTED_A.var(0) + 1e-4)
    hinge = jax.jit(decorrelation.variance_hinge)(A, REAL)
    assert (std < 1).any()
    assert (std > 1).any()
    assert hinge == pytest.approx(np.maximum(1 - std, 0).mean(), rel=1e-5)
    found = jax.jit(decorrelation.covariance)(B, REAL)
    expected = off_diagonal(np.cov(COUNTED_B, rowvar=False)) / 5
    assert found == pytest.approx(expected, rel=1e-4)
    assert decorrelation.feature_std(A, REAL) == pytest.approx(COUNTED_A.std(0).mean(), rel=1e-5)


BOTH = jnp.ones(2, bool)


def test_variance_by_hand_eagerly_compiled_and_mapped():
    features = jnp.array([[0.0, 3.0, 1.0], [1.0, -3.0, 1.0]])  # std 1/2, 3, 0
    expected = (1 - np.sqrt(0.25 + 1e-4) + 0 + 1 - 0.01) / 3
    for f in (decorrelation.variance_hinge, jax.jit(decorrelation.variance_hinge)):
        np.testing.assert_allclose(f(features, BOTH), expected, rtol=1e-5)
    mapped = jax.vmap(decorrelation.variance_hinge, (0, None))(
        jnp.stack([features, 10 * features]), BOTH
    )
    np.testing.assert_allclose(mapped, [expected, 0.99 / 3], rtol=1e-5)
    # Collapsed features have a gradient that is finite, so that training can leave them.
    assert jnp.isfinite(jax.grad(decorrelation.variance_hinge)(jnp.ones((2, 3)), BOTH)).all()


def test_covariance_by_hand_eagerly_compiled_and_mapped():
    features = jnp.array([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])  # covariance 4/2 = 2, twice
    for f in (decorrelation.covariance, jax.jit(decorrelation.covariance)):
        np.testing.assert_allclose(f(features, jnp.ones(3, bool)), 2 * 2**2 / 2, rtol=1e-6)
    apart = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(
        jax.vmap(decorrelation.covariance)(apart[None], jnp.ones((1, 4), bool)), [0.0], atol=1e-7
    )


def losses(a, b, real):
    return (
        decorrelation.barlow(decorrelation.cross_correlation(a, b, real), 0.005)
        + decorrelation.variance_hinge(a, real)
        + decorrelation.covariance(a, real)
        + decorrelation.feature_std(a, real)
    )


def test_rows_that_are_not_counted_change_nothing_and_have_no_gradient():
    other = [np.where(REAL[..., None], x, 50 * RNG.normal(size=x.shape)) for x in (A, B)]
    value, slope = jax.value_and_grad(losses)(jnp.asarray(other[0], jnp.float32), other[1], REAL)
    assert value == pytest.approx(float(losses(A, B, REAL)), rel=1e-5)
    assert not slope[~REAL].any()
    assert slope[REAL].any()


def test_equal_rows_one_row_and_none_have_finite_gradients():
    same = jnp.ones((9, 4, 5))
    assert decorrelation.variance_hinge(same, REAL) == pytest.approx(0.99, rel=1e-5)
    for real in (REAL, jnp.zeros_like(REAL).at[0, 0].set(True), jnp.zeros_like(REAL)):
        without_std = [decorrelation.variance_hinge, decorrelation.covariance]
        for loss in without_std:
            assert np.isfinite(jax.grad(loss)(same, real)).all()
        slope = jax.grad(lambda x, real=real: decorrelation.cross_correlation(x, x, real).sum())
        assert np.isfinite(slope(same)).all()
        assert decorrelation.feature_std(same, real) == 0
