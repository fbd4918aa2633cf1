"""Statistics of features over a batch, and losses that keep them spread and uncorrelated.

Features are (..., D); their leading axes together are the rows, `counted` (...) bool those that are
real. All statistics are float32 and those of the whole batch, however it is split over devices.
"""

import jax
import jax.numpy as jnp

from amr_jax.ops import presence

_EXACT = jax.lax.Precision.HIGHEST
_CORRELATION_FLOOR = 1e-5  # of a variance: of Barlow Twins' batch normalisation
_VARIANCE_FLOOR = 1e-4  # as published with VICReg


def cross_correlation(a: jax.Array, b: jax.Array, counted: jax.Array) -> jax.Array:
    """Correlation of each feature of `a` with each of `b` over the counted rows, (D, D).

    Both are standardised by their mean and biased variance first.

    Args:
      a, b: (..., D), the same rows in two views.
    """
    real = counted[..., None]

    def standardised(x):
        x = x.astype(jnp.float32)
        deviation = jax.lax.rsqrt(presence.variance(x, real, _rows(x)) + _CORRELATION_FLOOR)
        return jnp.where(real, (x - presence.mean(x, real, _rows(x))) * deviation, 0)

    return _product(standardised(a), standardised(b)) / jnp.maximum(counted.sum(), 1)


def barlow(correlation: jax.Array, off_diagonal: float) -> jax.Array:
    """Σ_i (C_ii − 1)² + `off_diagonal` · Σ_{i≠j} C_ij² of a (D, D) correlation (Barlow Twins)."""
    on = jnp.square(jnp.diagonal(correlation) - 1).sum()
    return on + off_diagonal * _off_diagonal(correlation)


def variance_hinge(features: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean over features of max(0, 1 − √(variance + 1e-4)) (VICReg); biased variance.

    0 if nothing counts.
    """
    x, real = features.astype(jnp.float32), counted[..., None]
    std = jnp.sqrt(presence.variance(x, real, _rows(x)) + _VARIANCE_FLOOR)
    return jnp.where(counted.any(), jnp.maximum(0.0, 1 - std).mean(), 0.0)


def covariance(features: jax.Array, counted: jax.Array) -> jax.Array:
    """Σ_{i≠j} Cov_ij² / D of the unbiased covariance of the features (VICReg)."""
    x, real = features.astype(jnp.float32), counted[..., None]
    x = jnp.where(real, x - presence.mean(x, real, _rows(x)), 0)
    return _off_diagonal(_product(x, x) / jnp.maximum(counted.sum() - 1, 1)) / x.shape[-1]


def feature_std(features: jax.Array, counted: jax.Array) -> jax.Array:
    """Standard deviation of each feature over the counted rows, then the mean over features.

    0 tells of a collapse: all rows are the same.
    """
    return jnp.sqrt(presence.variance(features, counted[..., None], _rows(features))).mean()


def _rows(features: jax.Array) -> tuple[int, ...]:
    return tuple(range(features.ndim - 1))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Σ over all rows of a_i · b_j, (D, D)."""
    a, b = (x.reshape(-1, x.shape[-1]) for x in (a, b))
    return jnp.matmul(a.T, b, precision=_EXACT)


def _off_diagonal(matrix: jax.Array) -> jax.Array:
    """The sum of squares outside of the diagonal."""
    squares = jnp.square(matrix)
    return squares.sum() - jnp.trace(squares)
