"""Whitening of frozen features by the principal axes of the training split.

A few directions in which features vary most decide a cosine, and slow down the gradient descent of
a linear probe on thousands of features. Whitening gives every direction a say. With the singular
value decomposition X − m = U diag(s) Vᵀ of the n training features around their mean m, and
λ = s² / (n − 1),

    x  ↦  Vᵀ (x − m) / √(λ + SHRINKAGE · mean(λ)),

or, turned back to the axes of the features, V times that. The means are over the directions in
which the training features vary; others are left out. With the second term those in which they
hardly vary stay small: they are mostly noise. With more features than sequences, all training
sequences would even be equally far from each other without it.
"""

import dataclasses

import jax
import numpy as np

# The variance that is added, over the mean of all directions; chosen on validation parts of three
# small sets, for all read-outs: docs/protocols.md.
SHRINKAGE = 0.1


@dataclasses.dataclass(frozen=True)
class Whitening:
    """A fitted whitening of F features along R axes, in float64.

    Attributes:
      mean: m, (F,).
      axes: V, (F, R).
      scale: √(λ + …), (R,).
    """

    mean: np.ndarray
    axes: np.ndarray
    scale: np.ndarray

    def coordinates(self, x: np.ndarray) -> np.ndarray:
        """Features (n, F) -> (n, R), along the principal axes."""
        return (x - self.mean) @ (self.axes / self.scale)

    def turned_back(self, x: np.ndarray) -> np.ndarray:
        """Features (n, F) -> (n, F), whitened, along the features' own axes."""
        return self.coordinates(x) @ self.axes.T

    def folded(self, kernel: np.ndarray) -> np.ndarray:
        """The kernel (F, K) that does with x − m what the given one does with `turned_back(x)`."""
        return (self.axes / self.scale) @ (self.axes.T @ kernel)


def fit(features: jax.Array | np.ndarray, shrinkage: float = SHRINKAGE) -> Whitening:
    """The whitening of training features (n, F)."""
    x = np.asarray(features, np.float64)
    mean = x.mean(axis=0)
    _, s, directions = np.linalg.svd(x - mean, full_matrices=False)
    varies = s > np.finfo(np.float32).eps * max(x.shape) * s.max()  # features are float32
    variance = s[varies] ** 2 / max(len(x) - 1, 1)
    scale = np.sqrt(variance + shrinkage * (variance.sum() / max(len(variance), 1)))
    return Whitening(mean, directions[varies].T, scale)
