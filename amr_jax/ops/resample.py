"""Bicubic interpolation along the first axis, as published code resizes time embeddings."""

import numpy as np

_A = -0.75  # PyTorch's; Keys' own choice, which `jax.image` takes, is -0.5


def bicubic(values: np.ndarray, size: int) -> np.ndarray:
    """Resamples (n, …) to (size, …) as `torch.nn.functional.interpolate(mode='bicubic')` does.

    With `align_corners=False`: result i lies at (i + 0.5)·n/size − 0.5, and is a cubic convolution
    of the four values around it; beyond the ends, the first and the last value are repeated.

    Returns:
      float32.
    """
    n = len(values)
    place = (np.arange(size) + 0.5) * n / size - 0.5
    before = np.floor(place).astype(int)
    taps = before[:, None] + np.arange(-1, 3)
    weights = _kernel(np.abs(place[:, None] - taps))
    return np.einsum("ij,ij...->i...", weights, values[taps.clip(0, n - 1)]).astype(np.float32)


def _kernel(x: np.ndarray) -> np.ndarray:
    """The weight of a value at the distance x ≥ 0, at most 2."""
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x <= 1, near, far)
