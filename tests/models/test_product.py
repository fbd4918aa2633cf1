"""The product of linear layers: values and gradients in float64, on one device and as published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.models import layers, product


@pytest.mark.parametrize("shape", [(6,), (5, 6), (3, 5, 6)])
def test_values_and_gradients_are_exact(shape):
    rng = np.random.default_rng(0)
    x, kernel, d_out = (
        jnp.array(rng.normal(size=s), jnp.float32) for s in (shape, (6, 4), (*shape[:-1], 4))
    )
    out, gradient = jax.vjp(lambda x, w: product.dot_general(x, w, None), x, kernel)
    rows, d_rows = np.float64(x).reshape(-1, 6), np.float64(d_out).reshape(-1, 4)
    d_x, d_kernel = gradient(d_out)
    np.testing.assert_allclose(out, (rows @ np.float64(kernel)).reshape(d_out.shape), atol=1e-5)
    np.testing.assert_allclose(d_x, (d_rows @ np.float64(kernel).T).reshape(shape), atol=1e-5)
    np.testing.assert_allclose(d_kernel, rows.T @ d_rows, atol=1e-5)


def test_precision_reaches_all_three_products():
    x, kernel = jnp.ones((5, 6)), jnp.ones((6, 4))

    def both(x, kernel):
        dense = layers.dense(4, jnp.float32, "fc", precision="highest")
        return dense.apply({"params": {"kernel": kernel, "bias": jnp.zeros(4)}}, x).sum()

    lowered = jax.jit(jax.grad(both, (0, 1))).trace(x, kernel).lower(lowering_platforms=("tpu",))
    products = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
    assert len(products) == 2  # the output itself is not needed
    assert all("HIGHEST" in line for line in products)
    assert "optimization_barrier" not in lowered.as_text()
