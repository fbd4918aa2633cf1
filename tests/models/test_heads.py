"""The heads against the definitions, and pooling over bodies against loops."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.models import heads


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_mean_over_bodies(sequence):
    features = 2.0 ** np.arange(len(sequence))[:, None] * [[1.0, 3.0]]
    found = heads.mean_over_bodies(jnp.array(features), jnp.array(sequence), 4)
    for s in range(4):
        own = features[np.array(sequence) == s]
        np.testing.assert_allclose(found[s], own.mean(axis=0) if len(own) else 0, rtol=1e-6)


@pytest.mark.parametrize(
    ("head", "axes"),
    [
        (heads.LinearHead(3), (1, 2)),
        (heads.FinetuneHead(3, num_joints=4, hidden=5, dropout=0.3), (1,)),
    ],
)
def test_a_body_is_the_mean_over_time_and_for_the_linear_head_over_joints(head, axes):
    tokens = np.random.default_rng(0).normal(size=(2, 5, 4, 3))  # bodies, times, joints, width
    expected = tokens.mean(axis=axes).reshape(2, -1)
    found = head.of_body(jnp.float32(tokens.reshape(2, 20, 3)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def batch_norm(x, real, scale, bias, epsilon):
    """In float64, over the rows that are real; with it the running statistics after one batch."""
    x, rows = np.float64(x), np.float64(x)[np.array(real)]
    out = (x - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + epsilon) * scale + bias
    return out, 0.1 * rows.mean(axis=0), 0.9 + 0.1 * rows.var(axis=0, ddof=1)


def test_batch_norm_counts_real_rows_alone():
    x = 3 + 2 * np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    real = np.array([1, 1, 0, 1, 1, 0], bool)
    x[~real] = 1e3
    norm = heads.BatchNorm(epsilon=1e-5)
    scale, bias = np.array([1.0, 2.0, -1.0]), np.array([0.5, 0.0, 1.0])
    variables = norm.init(jax.random.key(0), x)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1)
    variables["params"] = {"scale": jnp.float32(scale), "bias": jnp.float32(bias)}
    found, changed = norm.apply(variables, x, real, train=True, mutable=["batch_stats"])
    expected, mean, var = batch_norm(x, real, scale, bias, 1e-5)
    np.testing.assert_allclose(found[real], expected[real], rtol=1e-4)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["var"], var, rtol=1e-5)
    # The test normalises by what was remembered.
    tested = norm.apply({**variables, **changed}, x[:1])
    np.testing.assert_allclose(
        tested, (x[:1] - mean) / np.sqrt(var + 1e-5) * scale + bias, rtol=1e-4
    )


def test_a_batch_of_one_row_has_no_nan():
    norm = heads.BatchNorm(epsilon=1e-5)
    x = jnp.array([[3.0, -1.0]])
    variables = norm.init(jax.random.key(0), x)
    found, changed = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_allclose(changed["batch_stats"]["var"], 0.9)


def test_finetune_head_is_its_layers_in_order():
    head = heads.FinetuneHead(3, num_joints=2, hidden=5, dropout=0.5)
    x = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    variables = head.init(jax.random.key(0), x)
    p = jax.tree.map(np.float64, variables["params"])
    assert p["fc1"].keys() == {"kernel"}
    assert p["fc1"]["kernel"].shape == (6, 5)
    # Running statistics are still 0 and 1.
    hidden = x @ p["fc1"]["kernel"] / np.sqrt(1 + 1e-5)
    expected = np.maximum(hidden, 0) @ p["fc2"]["kernel"] + p["fc2"]["bias"]
    np.testing.assert_allclose(head.apply(variables, x), expected, rtol=1e-4, atol=1e-5)

    def trained(key):
        rngs = {"dropout": jax.random.key(key)}
        return head.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])[0]

    np.testing.assert_array_equal(trained(0), trained(0))
    assert np.abs(trained(0) - trained(1)).max() > 1e-3


def test_build():
    assert heads.build("linear", {"num_classes": 4}) == heads.LinearHead(4)
