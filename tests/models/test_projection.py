"""Heads of methods that compare views, against numpy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.models import projection
from amr_jax.train import optim
from tests.models import reference

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(3, 4, 6)).astype(np.float32)
REAL = np.array([[True] * 4, [True, False, True, False], [False] * 4])


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def test_dinos_head_gives_cosines_with_its_prototypes():
    head = projection.DinoHead(hidden=10, out=5, num_prototypes=7, dtype=jnp.float32)
    params = head.init(jax.random.key(0), ROWS)["params"]
    p = jax.tree.map(np.float64, params)
    x = reference.gelu(reference.linear(np.float64(ROWS), p["fc1"]))
    x = unit(reference.linear(reference.gelu(reference.linear(x, p["fc2"])), p["fc3"]), -1)
    expected = x @ unit(p["prototypes"]["kernel"], 0)
    found = head.apply({"params": params}, ROWS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    longer = params | {"prototypes": {"kernel": 3 * params["prototypes"]["kernel"]}}
    np.testing.assert_allclose(head.apply({"params": longer}, ROWS), expected, atol=1e-5)
    assert params["prototypes"]["kernel"].shape == (5, 7)


@pytest.mark.parametrize("head", ["dino", "projector"])
def test_heads_in_16_bits_return_float32_near_those_in_32(head):
    def made(dtype):
        if head == "dino":
            return projection.DinoHead(10, 5, 7, dtype), (ROWS,)
        return projection.Projector((10, 5), dtype), (ROWS, REAL)

    exact, given = made(jnp.float32)
    params = exact.init(jax.random.key(0), *given)
    rough = made(jnp.bfloat16)[0].apply(params, *given)
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, exact.apply(params, *given), atol=0.05)


def test_a_projector_normalises_by_the_counted_rows():
    projector = projection.Projector((10, 8, 5), jnp.float32)
    params = projector.init(jax.random.key(0), ROWS, REAL)["params"]
    params = jax.tree.map(lambda x: x + 0.1 * RNG.normal(size=x.shape).astype(np.float32), params)
    p, x = jax.tree.map(np.float64, params), np.float64(ROWS[REAL])
    for i in (1, 2):
        x = x @ p[f"fc{i}"]["kernel"]
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        x = np.maximum(x * p[f"norm{i}"]["scale"] + p[f"norm{i}"]["bias"], 0)
    expected = reference.linear(x, p["fc3"])
    found = jax.jit(projector.apply)({"params": params}, ROWS, REAL)
    np.testing.assert_allclose(found[REAL], expected, atol=1e-4)
    assert np.isfinite(found).all()
    without = projection.Projector((10, 8, 5), jnp.float32, last_bias=False)
    params = params | {"fc3": {"kernel": params["fc3"]["kernel"]}}
    found = without.apply({"params": params}, ROWS, REAL)
    np.testing.assert_allclose(found[REAL], expected - p["fc3"]["bias"], atol=1e-4)


def test_heads_keep_no_state_and_only_matrices_decay():
    for head, given in (
        (projection.DinoHead(4, 3, 5, jnp.float32), (ROWS,)),
        (projection.Projector((4, 3), jnp.float32), (ROWS, REAL)),
    ):
        variables = head.init(jax.random.key(0), *given)
        assert set(variables) == {"params"}
        decays = optim.decay_mask(variables["params"], "kernels")
        matrices = jax.tree.map(lambda x: x.ndim == 2, variables["params"])
        assert decays == matrices
