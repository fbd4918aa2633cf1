"""Attention and position embeddings; blocks are tested through encoder and decoder."""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.models import layers
from tests.models import reference

Q, K, V = (3 * jax.random.normal(jax.random.key(i), (2, n, 4, 8)) for i, n in enumerate([5, 7, 7]))


def test_attention_follows_the_definition():
    out = jax.jit(layers.attend)(Q, K, V)
    for body in range(2):
        q, k, v = (np.asarray(x[body], np.float64).reshape(-1, 32) for x in (Q, K, V))
        expected = reference.attention(q, k, v, num_heads=4)
        np.testing.assert_allclose(out[body].reshape(-1, 32), expected, atol=1e-5)


def test_softmax_runs_in_float32_whatever_goes_in():
    half = [x.astype(jnp.bfloat16) for x in (Q, K, V)]
    out = layers.attend(*half)
    assert out.dtype == jnp.bfloat16
    exact = layers.attend(*[x.astype(jnp.float32) for x in half])
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.04)
    text = jax.jit(layers.attend).lower(*half).as_text()
    assert "exponential" in text
    assert all("bf16" not in line for line in text.splitlines() if "exponential" in line)


def test_positions_are_looked_up_exactly():
    grid = layers.GridEmbedding(num_times=4, num_joints=5, width=8)
    params = grid.init(jax.random.key(0))
    everywhere = grid.apply(params)
    time, joint = params["params"]["time"], params["params"]["joint"]
    np.testing.assert_array_equal(everywhere[13], time[2] + joint[3])
    ids = jnp.array([[0, 19, 13], [5, 4, 4]])
    np.testing.assert_array_equal(grid.apply(params, ids), everywhere[ids])
