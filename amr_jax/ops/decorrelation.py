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
    real, rows = counted[..., None], tuple(range(a.ndim - 1))

    def standardised(x):
        x = x.astype(jnp.float32)
        deviation = jax.lax.rsqrt(presence.variance(x, real, rows) + _CORRELATION_FLOOR)
        return jnp.where(real, (x - presence.mean(x, real, rows)) * deviation, 0)

    return _product(standardised(a), standardised(b)) / jnp.maximum(counted.sum(), 1)


def barlow(correlation: jax.Array, off_diagonal: float) -> jax.Array:
    """Σ_i (C_ii − 1)² + `off_diagonal` · Σ_{i≠j} C_ij² of a (D, D) correlation (Barlow Twins)."""
    on = jnp.square(jnp.diagonal(correlation) - 1).sum()
    return on + off_diagonal * _off_diagonal(correlation)


def variance_hinge(features: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean over features of max(0, 1 − √(variance + 1e-4)) (VICReg); unbiased variance."""
    rows = tuple(range(features.ndim - 1))
    x, real = features.astype(jnp.float32), counted[..., None]
    variance = presence.variance(x, real, rows, ddof=1)
    return jax.nn.relu(1 - jnp.sqrt(variance + _VARIANCE_FLOOR)).mean()


def covariance(features: jax.Array, counted: jax.Array) -> jax.Array:
    """Σ_{i≠j} Cov_ij² / D of the unbiased covariance of the features (VICReg)."""
    rows = tuple(range(features.ndim - 1))
    x, real = features.astype(jnp.float32), counted[..., None]
    x = jnp.where(real, x - presence.mean(x, real, rows), 0)
    return _off_diagonal(_product(x, x) / jnp.maximum(counted.sum() - 1, 1)) / x.shape[-1]


def feature_std(features: jax.Array, counted: jax.Array) -> jax.Array:
    """Standard deviation of each feature over the counted rows, then the mean over features.

    0 tells of a collapse: all rows are the same.
    """
    rows = tuple(range(features.ndim - 1))
    return jnp.sqrt(presence.variance(features, counted[..., None], rows)).mean()


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Σ over all rows of a_i · b_j, (D, D)."""
    return jnp.einsum("...i,...j->ij", a, b, precision=_EXACT)


def _off_diagonal(matrix: jax.Array) -> jax.Array:
    """The sum of squares outside of the diagonal."""
    return jnp.where(jnp.eye(len(matrix), dtype=bool), 0, jnp.square(matrix)).sum()
