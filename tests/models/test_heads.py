"""The heads against the definitions, and pooling over bodies against loops."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.config import evaluation
from amr_jax.models import heads
from amr_jax.run import sharding


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


def test_readouts_agree_with_loops_over_bodies_and_joints():
    tokens = np.random.default_rng(0).normal(size=(3, 5, 4, 2))  # bodies, times, joints, width
    expected = {name: [] for name in heads.READOUTS}
    for body in tokens:
        by_joint = [body[:, v, d] for v in range(4) for d in range(2)]
        means = [sum(series) / 5 for series in by_joint]
        squares = [
            sum((x - m) ** 2 for x in series) for series, m in zip(by_joint, means, strict=True)
        ]
        expected["mean"].append([sum(means[d::2]) / 4 for d in range(2)])
        expected["joint"].append(means)
        expected["joint_deviation"].append([*means, *((s / 5) ** 0.5 for s in squares)])
        expected["everything"].append(list(body.flat))
    for name, readout in heads.READOUTS.items():
        found = readout(jnp.float32(tokens.reshape(3, 20, 2)), 4)
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("readout", heads.READOUTS)
def test_readouts_are_float32_of_any_tokens(readout):
    tokens = jnp.full((2, 300 * 4, 2), 1.0078125, jnp.bfloat16)  # the sum needs more than 8 bits
    found = heads.READOUTS[readout](tokens, 4)
    assert found.dtype == jnp.float32
    values = (1.0078125, 0.0) if readout == "joint_deviation" else (1.0078125,)
    np.testing.assert_allclose(np.unique(found.round(6))[::-1], values, atol=2e-6)


def test_the_settings_name_the_readouts():
    assert set(evaluation.READOUTS) == heads.READOUTS.keys() - {"everything"}


def test_dropout_acts_on_tokens_before_the_means():
    head = heads.FinetuneHead(3, num_joints=2, hidden=5, dropout=0.3)
    tokens = jnp.ones((6, 50 * 2, 400), jnp.bfloat16)
    dropped = head.of_body(tokens, jax.random.key(0))
    assert dropped.dtype == jnp.float32
    # Each is a mean of 50 values: 0 with probability 0.3, else 1 / 0.7.
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    assert dropped.std() == pytest.approx((0.3 / 0.7 / 50) ** 0.5, rel=0.05)
    np.testing.assert_allclose(np.round(dropped * 0.7 * 50), dropped * 0.7 * 50, atol=1e-4)
    # No two bodies, nor two joints, share a mask.
    rows = np.asarray(dropped).reshape(12, 400)
    assert np.abs(np.corrcoef(rows) - np.eye(12)).max() < 0.25
    np.testing.assert_array_equal(dropped, head.of_body(tokens, jax.random.key(0)))
    assert np.abs(dropped - head.of_body(tokens, jax.random.key(1))).max() > 0.05


@pytest.mark.parametrize("devices", [1, 8])
def test_padding_for_devices_leaves_the_masks_of_bodies(devices):
    head = heads.FinetuneHead(3, num_joints=4, hidden=5, dropout=0.5)
    tokens = np.random.default_rng(0).normal(size=(5, 20, 3)).astype(np.float32)
    padded = np.concatenate([tokens, np.zeros((3, 20, 3), np.float32)])
    over = sharding.put(padded, sharding.over_data(sharding.make_mesh(jax.devices()[:devices])))
    found = jax.jit(head.of_body)(over, jax.random.key(0))
    np.testing.assert_allclose(found[:5], head.of_body(tokens, jax.random.key(0)), rtol=1e-6)


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


def test_statistics_of_features_of_16_bits_are_exact():
    x = jnp.asarray(100 + np.random.default_rng(0).normal(size=(64, 3)), jnp.bfloat16)
    norm = heads.BatchNorm(epsilon=1e-5, affine=False)
    variables = norm.init(jax.random.key(0), x)
    found, changed = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    expected, mean, var = batch_norm(x, np.full(64, True), 1, 0, 1e-5)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(changed["batch_stats"]["var"], var, rtol=1e-5)


@pytest.mark.parametrize(
    "head", [heads.LinearHead(3), heads.FinetuneHead(3, num_joints=4, hidden=5, dropout=0.3)]
)
def test_every_product_is_of_full_float32_in_training_and_in_its_gradient(head):
    x = jnp.ones((6, 12))
    variables = head.init(jax.random.key(0), x)

    def loss(params, x):
        logits, _ = head.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.square(logits).sum()

    # Lowered for an accelerator, whose default is fewer bits.
    gradient = jax.jit(jax.grad(loss, (0, 1))).trace(variables["params"], x)
    program = gradient.lower(lowering_platforms=("tpu",)).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert len(products) >= 5  # two of the statistics, one of each layer, and their gradients
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


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


def test_build():
    assert heads.build("linear", {"num_classes": 4}) == heads.LinearHead(4)
