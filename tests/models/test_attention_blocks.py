"""Attention in groups: its values and gradients in float64, whatever the groups, keys and dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.models import attention, attention_blocks
from amr_jax.models.attention_blocks import Groups
from amr_jax.run import sharding

HEADS, WIDTH = 4, 8


def drawn(bodies, queries, keys, dtype=jnp.float32):
    """Queries, keys, values, and the gradient of what is mixed."""
    shapes = [(bodies, n, HEADS, WIDTH) for n in (queries, keys, keys, queries)]
    return [
        2 * jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate(shapes)
    ]


def exact(q, k, v, d_out, attended=None):
    """Output and gradients in float64, body by body and head by head."""
    q, k, v, d_out = (np.float64(x) for x in (q, k, v, d_out))
    out, grads = np.zeros_like(q), [np.zeros_like(x) for x in (q, k, v)]
    scale = q.shape[-1] ** -0.5
    for body in range(len(q)):
        here = slice(None) if attended is None else np.flatnonzero(attended[body])
        for head in range(q.shape[2]):
            one, of_keys, of_values = q[body, :, head], k[body, here, head], v[body, here, head]
            logits = scale * one @ of_keys.T
            weights = np.exp(logits - logits.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[body, :, head] = weights @ of_values
            given = d_out[body, :, head]
            d_weights = given @ of_values.T
            jacobian = np.einsum("qk,kl->qkl", weights, np.eye(weights.shape[1]))
            jacobian -= np.einsum("qk,ql->qkl", weights, weights)
            d_logits = scale * np.einsum("qk,qkl->ql", d_weights, jacobian)
            grads[0][body, :, head] = d_logits @ of_keys
            grads[1][body, here, head] = d_logits.T @ one
            grads[2][body, here, head] = weights.T @ given
    return out, *grads


def found(q, k, v, d_out, attended=None):
    out, gradient = jax.vjp(lambda *x: attention_blocks.attend(*x, attended), q, k, v)
    return out, *gradient(d_out)


@pytest.fixture(params=[4e6, 4 * 5 * 7 * 3, 1], ids=["all bodies", "three bodies", "one body"])
def group_bytes(request, monkeypatch):
    monkeypatch.setattr(attention_blocks, "_GROUP_BYTES", request.param)


@pytest.mark.usefixtures("group_bytes")
@pytest.mark.parametrize("some", [False, True])
def test_values_and_gradients_are_exact(some):
    inputs = drawn(6, 5, 7)
    attended = np.random.default_rng(0).random((6, 7)) < 0.6 if some else None
    if some:
        attended[:, 3] = True
    for one, expected in zip(found(*inputs, attended), exact(*inputs, attended), strict=True):
        np.testing.assert_allclose(one, expected, atol=2e-5, rtol=2e-5)


def test_groups_hold_as_many_bodies_as_fit_and_their_bodies_lie_apart():
    assert Groups.of(9, 125, 75) == (1, 9)
    assert Groups.of(64, 125, 75) == (8, 8)
    assert Groups.of(128, 240, 240) == (128, 1)
    assert Groups.of(5, 750, 750) == (5, 1)
    x = jnp.arange(6 * 2 * 3 * 1).reshape(6, 2, 3, 1)
    apart = Groups(3, 2)
    split = apart.split(x)
    assert split.shape == (9, 2, 2, 1)
    np.testing.assert_array_equal(split[1, :, :, 0], x[jnp.array([1, 4]), :, 0, 0])
    np.testing.assert_array_equal(apart.join(split, 3), x)


def test_sixteen_bits_come_and_go_and_the_softmax_is_in_float32():
    inputs = drawn(3, 5, 7, jnp.bfloat16)
    for one, expected in zip(found(*inputs), exact(*inputs), strict=True):
        assert one.dtype == jnp.bfloat16
        np.testing.assert_allclose(one.astype(jnp.float32), expected, atol=0.15, rtol=0.03)
    text = jax.jit(attention_blocks.attend).lower(*inputs[:3], None).as_text()
    lines = [line for line in text.splitlines() if "exponential" in line]
    assert lines
    assert not any("bf16" in line for line in lines)


def test_this_kernel_is_a_cpu_s(monkeypatch):
    assert attention.for_backend() == "blocks"
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert attention.for_backend() == "xla"
    q, k, v, _ = drawn(2, 125, 75)
    found, plain = (attention.attend(q, k, v, kernel) for kernel in ("blocks", "xla"))
    np.testing.assert_allclose(found, plain, atol=1e-5)
    for kernel, loops in (("blocks", True), ("xla", False)):
        lowered = jax.jit(attention.attend, static_argnums=3).lower(q, k, v, kernel)
        assert ("stablehlo.while" in lowered.as_text()) == loops


def test_a_batch_over_several_devices_gives_the_same():
    inputs = drawn(8, 165, 165)
    split = sharding.over_data(sharding.make_mesh(jax.devices()[:4]))
    on_all = jax.jit(found)(*(jax.device_put(x, split) for x in inputs))
    for one, expected in zip(on_all, jax.jit(found)(*inputs), strict=True):
        np.testing.assert_allclose(one, expected, atol=2e-5, rtol=2e-5)


def test_the_matrices_of_one_group_are_all_the_memory():
    q, k, v, d_out = drawn(8, 600, 600)

    def memory(kernel):
        def backward(q, k, v, d_out):
            return jax.vjp(lambda *x: attention.attend(*x, kernel), q, k, v)[1](d_out)

        compiled = jax.jit(backward).lower(q, k, v, d_out).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory("blocks") < memory("xla") / 4
