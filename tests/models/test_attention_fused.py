"""The TPU kernel, interpreted on CPUs: values and gradients in float64, devices, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.benchmark import full_size
from amr_jax.config import checks
from amr_jax.errors import UserError
from amr_jax.models import attention, attention_fused
from amr_jax.run import sharding
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL
from tests.models.test_attention_blocks import exact

AMR = full_size.Row("amr", "amr")


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    monkeypatch.setattr(attention_fused, "INTERPRET", True)


def drawn(bodies, queries, keys, dtype=jnp.float32, heads=8, width=32):
    """Queries, keys, values, and the gradient of what is mixed."""
    shapes = [(bodies, n, heads, width) for n in (queries, keys, keys, queries)]
    return [jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate(shapes)]


def some_of(bodies, keys):
    """A mask of keys in which every body has one."""
    found = np.random.default_rng(0).random((bodies, keys)) < 0.6
    found[:, 3] = True
    return found


def found(q, k, v, d_out, attended=None, kernel="fused"):
    out, gradient = jax.vjp(lambda *x: attention.attend(*x, kernel, attended), q, k, v)
    return out, *gradient(d_out)


def close(given, expected, atol=2e-5, rtol=2e-5):
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_allclose(np.float32(one), np.float32(other), atol=atol, rtol=rtol)


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "width"),
    [
        (125, 75, 8, 32),  # AMR's decoder: two tiles of four heads
        (13, 13, 3, 8),  # one tile narrower than the registers
        (7, 5, 2, 128),  # a tile of its own for each head
        (7, 5, 2, 96),  # heads that do not fill tiles
    ],
)
def test_values_and_gradients_are_exact(queries, keys, heads, width, some):
    inputs = drawn(2, queries, keys, heads=heads, width=width)
    attended = some_of(2, keys) if some else None
    close(jax.jit(found)(*inputs, attended), exact(*inputs, attended))
    close(jax.jit(found)(*inputs, attended), found(*inputs, attended, kernel="xla"))


def test_bodies_beyond_the_last_full_program(monkeypatch):
    inputs = drawn(5, 7, 5)
    expected = jax.jit(found)(*inputs)
    monkeypatch.setattr(attention_fused, "_BLOCK_BYTES", 10 * 7 * 256 * 4)
    close(jax.jit(lambda *x: found(*x))(*inputs), expected)  # two bodies a program, or one


def test_sixteen_bits_cost_what_their_rounding_explains():
    inputs = drawn(2, 125, 75, jnp.bfloat16)
    for one, expected in zip(jax.jit(found)(*inputs), exact(*inputs), strict=True):
        assert one.dtype == jnp.bfloat16
        # Weights, logits' gradients and results are rounded once each, by 2⁻⁹ of their size.
        error, size = np.float64(one) - expected, np.abs(expected).max()
        assert np.abs(error).max() < 3 * 2**-9 * size
        assert np.sqrt(np.square(error).mean()) < 2**-9 * np.sqrt(np.square(expected).mean()) * 2


def test_the_attention_matrices_reach_no_array_of_the_program():
    q, k, v, d_out = drawn(2, 125, 75)
    text = jax.jit(found).trace(q, k, v, d_out).jaxpr.eqns
    shapes = [v.aval.shape for eqn in text for v in eqn.outvars]
    assert shapes
    assert not any({125, 75} <= set(shape) for shape in shapes)


@pytest.mark.parametrize("bodies", [8, 3])
@pytest.mark.parametrize("some", [False, True])
def test_each_device_computes_its_own_bodies(bodies, some):
    mesh = sharding.make_mesh(jax.devices()[:4], fsdp=2)
    inputs = (*drawn(bodies, 13, 7), some_of(bodies, 7) if some else None)
    expected = jax.jit(found)(*inputs)

    def within(*inputs):
        with sharding.tracing(mesh):
            return found(*inputs)

    where = sharding.over_data(mesh) if bodies == 8 else sharding.replicated(mesh)
    program = jax.jit(within).lower(*jax.device_put(inputs, where)).compile()
    collectives = any(x in program.as_text() for x in ("all-gather", "all-reduce", "all-to-all"))
    assert collectives == (bodies == 3)  # computed on all devices, which then agree
    close(program(*jax.device_put(inputs, where)), expected)


def test_a_training_step_is_the_same():
    losses = {}
    for kernel in ("xla", "fused"):
        config = full_size.config_of(AMR, 4, "float32", kernel, SMALL)
        dispatch, state, batch = costs.training_step(config)
        losses[kernel] = dispatch(state, {}, batch)[1]
    for name, value in losses["xla"].items():
        np.testing.assert_allclose(losses["fused"][name], value, rtol=1e-4, err_msg=name)


def test_a_step_on_several_devices_exchanges_no_activations():
    mesh = sharding.make_mesh(jax.devices()[:4])
    config = full_size.config_of(AMR, 8, "float32", "fused", SMALL)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    text = dispatch.lower(state, {}, batch).as_text()
    assert "sdy.manual_computation" in text
    assert '{"data", "fsdp"}, {}, {}]' in text


def test_other_devices_are_refused():
    config = full_size.config_of(AMR, 8, "bfloat16", "fused", SMALL)
    checks.require_kernel_runs(config, "tpu")
    with pytest.raises(UserError, match=r"attention_kernel = 'fused': expected 'auto'.*'cpu'"):
        checks.require_kernel_runs(config, "cpu")
