"""The linear probe against the definitions, and the protocol around it."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from amr_jax.evaluation import packing
from amr_jax.evaluation.protocols import linear
from amr_jax.models import heads
from tests.evaluation import tiny


def config(**changes):
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "bodies": "packed",
            "second_body": "zeros",
            "encode_batch_size": 16,
            "features": "augmented",
            "cached_views": 1,
            "epochs": 3,
            "batch_size": 8,
            "learning_rate": 0.1,
            **changes,
        }
    )


def separable(seed, num_sequences=24):
    """Sequences whose class can be read off the first coordinate."""
    label = np.arange(num_sequences) % 3
    values = label - 1.0 + 0.1 * np.random.default_rng(seed).normal(size=num_sequences)
    return tiny.make_bodies(
        [(True, False)] * num_sequences, label=label, constant=values, num_classes=4
    )


def reference(kernel, x, labels, orders, rate):
    """The probe in float64, batch by batch, example by example, from the definitions."""
    x = np.float64(x)
    kernel, bias = np.float64(kernel), np.zeros(kernel.shape[1])
    velocity = [np.zeros_like(kernel), np.zeros_like(bias)]
    mean, var = np.zeros(x.shape[1]), np.ones(x.shape[1])
    losses, step, num_steps = [], 0, sum(len(order) for order in orders)
    for order in orders:
        total = 0.0
        for batch in order:
            rows = [i for i in batch if i < len(x)]
            batch_mean = sum(x[i] for i in rows) / len(rows)
            squares = sum((x[i] - batch_mean) ** 2 for i in rows)
            gradient = [np.zeros_like(kernel), np.zeros_like(bias)]
            for i in rows:
                z = (x[i] - batch_mean) / np.sqrt(squares / len(rows) + 1e-6)
                e = np.exp(z @ kernel + bias)
                p = e / e.sum()
                total -= np.log(p[labels[i]])
                error = (p - np.eye(len(p))[labels[i]]) / len(rows)
                gradient[0] += np.outer(z, error)
                gradient[1] += error
            mean = 0.9 * mean + 0.1 * batch_mean
            var = 0.9 * var + 0.1 * squares / (len(rows) - 1)
            lr = rate * 0.5 * (1 + np.cos(np.pi * step / num_steps))
            velocity = [0.9 * v + g for v, g in zip(velocity, gradient, strict=True)]
            kernel, bias = kernel - lr * velocity[0], bias - lr * velocity[1]
            step += 1
        losses.append(total / len(x))
    return kernel, bias, mean, var, losses


def test_training_agrees_with_the_definitions_in_float64():
    generator = np.random.default_rng(0)
    x = (3 + 2 * generator.normal(size=(23, 6))).astype(np.float32)
    labels = generator.integers(0, 5, 23)
    orders = [packing.epoch_order(0, e, 23, 5) for e in range(4)]
    head = heads.LinearHead(5)
    state = linear.init(jax.random.key(1), head, 6)
    kernel = np.asarray(state.params["dense"]["kernel"])
    found = []
    for order in orders:
        state, loss = linear.train_epoch(
            state,
            jnp.asarray(x),
            jnp.asarray(labels),
            order,
            head=head,
            learning_rate=0.5,
            num_steps=20,
        )
        found.append(float(loss))
    kernel, bias, mean, var, losses = reference(kernel, x, labels, orders, 0.5)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    np.testing.assert_allclose(state.params["dense"]["kernel"], kernel, atol=2e-6)
    np.testing.assert_allclose(state.params["dense"]["bias"], bias, atol=2e-6)
    np.testing.assert_allclose(state.batch_stats["norm"]["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(state.batch_stats["norm"]["var"], var, rtol=1e-5)
    # Testing normalises with what was remembered, not with the test set's own statistics.
    logits = (x[:1] - mean) / np.sqrt(var + 1e-6) @ kernel + bias
    np.testing.assert_allclose(
        linear.predict(state, jnp.asarray(x[:1]), head=head), logits, atol=1e-5
    )


@functools.cache
def trained(devices):
    """A training on so many devices, whose encoder stays as it is."""
    task = tiny.make_task(separable(0), separable(1), encoder=tiny.ENCODER, devices=devices)
    before = jax.tree.map(lambda x: np.array(x, copy=True), task.params)
    outcome = linear.run(task, config(), lambda *_: None)
    jax.tree.map(np.testing.assert_array_equal, before, task.params)
    return outcome


def test_the_trained_classifier_gives_the_scores_of_the_test():
    outcome, test = trained(1), separable(1)
    found = outcome.classifier
    head = heads.build(found.head, found.head_settings)
    clips = np.repeat(tiny.first_frames(test)[:, None], tiny.FRAMES, axis=1)
    tokens = jax.jit(tiny.ENCODER.apply)({"params": found.params["encoder"]}, clips)
    x = heads.mean_over_bodies(head.of_body(tokens), test.sequence, len(test.label))
    variables = {"params": found.params["head"], "batch_stats": found.batch_stats["head"]}
    np.testing.assert_allclose(head.apply(variables, x), outcome.scores, atol=1e-5)
    np.testing.assert_array_equal(outcome.scores.argmax(axis=1), outcome.predictions)


def test_devices_change_nothing_but_rounding():
    one, eight = trained(1), trained(8)
    assert one.metrics == pytest.approx(eight.metrics, abs=1e-5)
    np.testing.assert_array_equal(one.predictions, eight.predictions)


def test_fresh_head_is_small_and_unbiased():
    dense = linear.init(jax.random.key(0), heads.LinearHead(60), 256).params["dense"]
    assert float(dense["kernel"].std()) == pytest.approx(0.01, rel=0.02)
    assert not np.any(dense["bias"])


def test_protocol_learns_what_can_be_learned():
    task = tiny.make_task(separable(0), separable(1, 15))
    lines = []
    outcome = linear.run(task, config(epochs=20), lambda e, m: lines.append((e, dict(m))))
    np.testing.assert_array_equal(outcome.predictions, task.test.host.label)
    assert [epoch for epoch, _ in lines] == list(range(1, 21))
    # The head is the last epoch; the first epoch that tested best is named beside it.
    top1 = [m["top1"] for _, m in lines]
    assert outcome.metrics["top1"] == top1[-1] == 1
    assert outcome.metrics["best_epoch"] == top1.index(max(top1)) + 1
    assert outcome.metrics["top5"] == 1
    assert lines[-1][1]["train_loss"] < lines[0][1]["train_loss"]


def test_cached_features_are_the_augmented_ones_where_nothing_is_random():
    task = tiny.make_task(separable(0), separable(1, 15))
    results = [
        linear.run(
            task, config(features=mode, cached_views=views, epochs=20), lambda *_: None
        ).metrics
        for mode, views in (("augmented", 0), ("cached", 0), ("cached", 2))
    ]
    assert results[0] == results[1] == results[2]


def test_each_epoch_sees_another_view_and_cached_views_are_cycled():
    task = tiny.make_task(tiny.make_bodies([(True, True)] * 5), separable(1), view=tiny.train_view)
    key = jax.random.key(0)
    fresh = linear._training_features(task, config(), key)
    cached = linear._training_features(task, config(features="cached", cached_views=2), key)
    assert np.abs(fresh(0) - fresh(1)).max() > 1e-3
    for epoch in range(4):
        np.testing.assert_array_equal(cached(epoch), fresh(epoch % 2))
