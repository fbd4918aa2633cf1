"""Bicubic interpolation, against values of PyTorch and properties."""

import numpy as np
import pytest

from amr_jax.ops import resample

VALUES = np.array([0.0, 1.0, 4.0, 2.0, -1.0, 0.5], np.float32)


@pytest.mark.parametrize(
    "expected",
    [
        # torch 2.13.0: interpolate(x.reshape(1, 1, 6, 1), (n, 1), mode='bicubic') for n = 1, 4, 9.
        [3.5625],
        [0.121094, 3.566406, 1.056641, 0.054688],
        [-0.086806, 0.21875, 1.552083, 3.760417, 3.5625, 1.369792, -0.734374, -0.53125, 0.630209],
    ],
)
def test_values_of_torch(expected):
    np.testing.assert_allclose(resample.bicubic(VALUES, len(expected)), expected, atol=2e-6)


def test_the_same_size_changes_nothing_and_columns_are_independent():
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_array_equal(resample.bicubic(values, 7), values)
    both = resample.bicubic(values, 11)
    assert both.dtype == np.float32
    for column in range(3):
        np.testing.assert_array_equal(both[:, column], resample.bicubic(values[:, column], 11))
    np.testing.assert_allclose(resample.bicubic(np.full(5, 2.5), 12), 2.5, rtol=1e-6)
