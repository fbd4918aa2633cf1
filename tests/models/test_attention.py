"""Attention against its definition, its precision, and padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.models.attention import attend, attend_padded
from tests.models import reference

Q, K, V = (3 * jax.random.normal(jax.random.key(i), (2, n, 4, 8)) for i, n in enumerate([5, 7, 7]))


def test_attention_follows_the_definition():
    out = jax.jit(attend)(Q, K, V)
    for body in range(2):
        q, k, v = (np.asarray(x[body], np.float64).reshape(-1, 32) for x in (Q, K, V))
        expected = reference.attention(q, k, v, num_heads=4)
        np.testing.assert_allclose(out[body].reshape(-1, 32), expected, atol=1e-5)


def test_what_is_not_attended_to_might_as_well_be_absent():
    attended = jnp.array([[1, 1, 0, 1, 0, 1, 1], [1, 0, 1, 1, 1, 1, 0]], bool)
    out = attend(Q, K, V, attended=attended)
    for body in range(2):
        k, v = (x[body, attended[body]][None] for x in (K, V))
        np.testing.assert_allclose(out[body], attend(Q[body][None], k, v)[0], atol=1e-6)
    with pytest.raises(UserError, match="expected 'xla' for this method"):
        attend(Q, K, V, "cudnn", attended)


def test_softmax_runs_in_float32_whatever_goes_in():
    half = [x.astype(jnp.bfloat16) for x in (Q, K, V)]
    out = attend(*half)
    assert out.dtype == jnp.bfloat16
    exact = attend(*[x.astype(jnp.float32) for x in half])
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.04)
    text = jax.jit(attend).lower(*half).as_text()
    assert "exponential" in text
    assert all("bf16" not in line for line in text.splitlines() if "exponential" in line)


def test_padding_changes_nothing():
    # On a GPU cuDNN gets its inputs this way.
    def padded(*inputs):
        return attend_padded(*inputs, multiple=8, kernel="xla")

    # Logits reach 30 here, whose rounding moves a weight by a few millionths.
    np.testing.assert_allclose(jax.jit(padded)(Q, K, V), attend(Q, K, V), atol=1e-5)
    gradient, expected = (
        jax.grad(lambda inputs, f=f: jnp.square(f(*inputs)).sum())((Q, K, V))
        for f in (padded, attend)
    )
    for a, b in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
