"""The product of linear layers: values and gradients in float64, on one device and as published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from amr_jax.models import layers, product
from amr_jax.run import sharding


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


@pytest.mark.parametrize("devices", [1, 4])
def test_gradients_of_weights_are_summed_in_float32(devices):
    """Of bfloat16 operands, over rows and devices; sums in bfloat16 would differ by 1e-3."""
    rng = np.random.default_rng(0)
    x, d_out = (jnp.array(rng.normal(size=(64, n)), jnp.bfloat16) for n in (6, 4))
    kernel = jnp.array(rng.normal(size=(6, 4)), jnp.float32)
    dense = layers.dense(4, jnp.bfloat16, "fc")

    def loss(params, x, d_out):
        out = dense.apply({"params": params}, x)
        assert out.dtype == jnp.bfloat16
        return (out * d_out).astype(jnp.float32).sum()

    mesh = sharding.make_mesh(jax.devices()[:devices])
    split = sharding.put((x, d_out), sharding.over_data(mesh))
    params = sharding.put({"kernel": kernel, "bias": jnp.zeros(4)}, sharding.replicated(mesh))
    found = jax.jit(jax.grad(loss))(params, *split)["kernel"]
    exact = np.float64(x).T @ np.float64(d_out)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_outputs_in_bfloat16_are_those_of_a_cast_kernel():
    rng = np.random.default_rng(0)
    x = jnp.array(rng.normal(size=(5, 6)), jnp.bfloat16)
    kernel = jnp.array(rng.normal(size=(6, 4)), jnp.float32)
    plain = nn.Dense(4, dtype=jnp.bfloat16)
    params = {"params": {"kernel": kernel, "bias": jnp.full(4, 0.1)}}
    found = layers.dense(4, jnp.bfloat16, "fc").apply(params, x)
    np.testing.assert_array_equal(np.float32(found), np.float32(plain.apply(params, x)))
