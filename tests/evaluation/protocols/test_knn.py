"""Nearest neighbours against brute force."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.evaluation import neighbours
from amr_jax.evaluation.protocols import knn
from amr_jax.run import sharding
from tests.evaluation import tiny


def brute_force(queries, bank, labels, k):
    """Float64, one query after the other; ties by order in the bank, then by the nearest."""
    predictions = []
    for query in np.float64(queries):
        cosine = np.float64(bank) @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
        nearest = [labels[i] for i in np.argsort(-cosine, kind="stable")[:k]]
        predictions.append(
            max(nearest, key=lambda label: (nearest.count(label), -nearest.index(label)))
        )
    return predictions


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("devices", [1, 8])
def test_agrees_with_brute_force_in_blocks(k, devices):
    generator = np.random.default_rng(k)
    bank, queries = generator.normal(size=(31, 5)), generator.normal(size=(43, 5))
    labels = generator.integers(0, 4, 31)
    found = neighbours.compared(
        knn.nearest,
        (jnp.float32(queries), jnp.zeros(43, jnp.int32)),
        (jnp.float32(bank), jnp.asarray(labels)),
        k,
        mesh=tiny.mesh(devices),
        block_elements=3 * 31,
    )
    np.testing.assert_array_equal(found, brute_force(queries, bank, labels, k))


def test_norms_do_not_matter_and_ties_go_to_the_first():
    bank = jnp.array([[1.0, 0.0], [10.0, 0.0], [0.0, 3.0]])
    queries = jnp.array([[5.0, 0.1], [0.0, 0.1], [0.0, 0.0]])
    labels = jnp.array([2, 1, 0])
    found = neighbours.compared(
        knn.nearest, (queries, labels), (bank, labels), 1, mesh=tiny.mesh(1)
    )
    np.testing.assert_array_equal(found, [2, 0, 2])


def replicated(x):
    return sharding.put(np.float32(x), sharding.replicated(tiny.mesh(2)))


@pytest.mark.parametrize("shape", [(40, 6), (9, 25)])  # fewer and more features than sequences
def test_whitening_is_that_of_the_covariance_matrix(shape):
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(shape[1], shape[1])) * np.geomspace(5, 0.1, shape[1])
    bank, queries = (
        np.float32(generator.normal(size=(n, shape[1])) @ mixed) for n in (shape[0], 5)
    )
    found = neighbours.whitened(replicated(bank), replicated(queries), shrinkage=0.3)

    # Independently: cosines do not depend on the basis, so (C + ρ)^-1/2 on the span does, too.
    centred = bank - bank.astype(np.float64).mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(bank.astype(np.float64).T))
    rank = min(shape[0] - 1, shape[1])
    variances, axes = variances[-rank:], axes[:, -rank:]
    symmetric = axes / np.sqrt(variances + 0.3 * variances.mean()) @ axes.T
    expected = centred @ symmetric, (queries - bank.mean(axis=0, dtype=np.float64)) @ symmetric
    for x, y in ((0, 0), (1, 0), (1, 1)):
        np.testing.assert_allclose(
            np.asarray(found[x]) @ np.asarray(found[y]).T,
            expected[x] @ expected[y].T,
            rtol=1e-3,
            atol=1e-3,
        )


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    num=st.integers(2, 30), width=st.integers(1, 30), flat=st.integers(0, 5), seed=st.integers(0, 9)
)
def test_without_shrinkage_whitened_training_features_have_unit_covariance(num, width, flat, seed):
    bank = np.random.default_rng(seed).normal(3.0, 2.0, (num, width))
    bank[:, :flat] = 7.25  # directions without variance
    white, _ = neighbours.whitened(replicated(bank), replicated(bank), shrinkage=0.0)
    rank = min(num - 1, max(width - flat, 0))
    assert white.shape == (num, rank)
    covariance = np.cov(np.asarray(white, np.float64).T).reshape(rank, rank)
    np.testing.assert_allclose(covariance, np.eye(rank), atol=2e-3)
    np.testing.assert_allclose(white.sum(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("devices", [1, 8])
def test_whitening_lets_small_directions_decide(devices):
    # The class is in the first coordinate; the others vary thirty times as much and say nothing.
    def bodies(seed, num):
        label = np.arange(num) % 3
        values = np.random.default_rng(seed).normal(size=(num, tiny.JOINTS, 3)) * 30
        values[..., 0] = label[:, None] - 1.0
        split = tiny.make_bodies([(True, False)] * num, label=label)
        frames = np.repeat(values, split.length, axis=0).astype(np.float32)
        return dataclasses.replace(split, frames=frames)

    task = tiny.make_task(bodies(0, 60), bodies(1, 30), devices=devices)
    plain, white = (
        knn.run(task, tiny.neighbours_config(whiten=whiten), lambda *_: None).metrics
        for whiten in (False, True)
    )
    assert white["top1"] > plain["top1"] + 0.2
    assert white["feature_std"] == plain["feature_std"]


def test_vote():
    labels = jnp.array([[3, 1, 1], [3, 1, 2], [1, 3, 3]])
    np.testing.assert_array_equal(knn.vote(labels), [1, 3, 3])
    np.testing.assert_array_equal(knn.vote(jnp.array([2, 0, 0, 2])), 2)


def test_protocol():
    bank = tiny.make_bodies([(True, False)] * 9, seed=1)
    queries = tiny.make_bodies([(True, False)] * 5, seed=2)
    task = tiny.make_task(bank, queries)
    lines = []
    outcome = knn.run(task, tiny.neighbours_config(), lambda epoch, m: lines.append(m))

    def first_frames(bodies):
        return tiny.first_frames(bodies).mean(axis=1)

    expected = brute_force(first_frames(queries), first_frames(bank), bank.label, 1)
    np.testing.assert_array_equal(outcome.predictions, expected)
    assert outcome.metrics == lines[0]
    assert outcome.metrics["top1"] == np.mean(expected == queries.label)
    spread = first_frames(queries).std(axis=0).mean()
    np.testing.assert_allclose(outcome.metrics["feature_std"], spread, rtol=1e-5)


def test_every_training_sequence_finds_itself():
    bodies = tiny.make_bodies([(True, True)] * 12, num_classes=12, label=np.arange(12))
    task = tiny.make_task(bodies, bodies, encoder=tiny.ENCODER, devices=8)
    assert knn.run(task, tiny.neighbours_config(), lambda *_: None).metrics["top1"] == 1


def test_more_neighbours_than_training_sequences_are_refused():
    bodies = tiny.make_bodies([(True, False)] * 9)
    with pytest.raises(UserError, match=r"config\.k = 10: expected at most 9"):
        knn.run(tiny.make_task(bodies, bodies), tiny.neighbours_config(10), lambda *_: None)


def test_examples_are_right_and_wrong_ones_with_their_nearest_by_cosine():
    bank = jnp.array([[1.0, 0.0], [3.0, 3.0], [0.0, 2.0], [-1.0, 0.0]])
    queries = jnp.array([[2.0, 0.1], [0.0, 1.0], [1.0, 1.0], [-5.0, 0.0], [1.0, 0.0]])
    right = np.array([True, False, True, True, True])
    found = neighbours.examples(queries, bank, right, count=2, k=2)
    np.testing.assert_array_equal(found.test, [0, 1, 4])  # the only wrong one, two right ones
    np.testing.assert_array_equal(found.train, [[0, 1], [2, 1], [0, 1]])
    np.testing.assert_allclose(found.similarity[1], [1, 0.5**0.5], rtol=1e-6)
    assert len(neighbours.examples(queries, bank, right | True).test) == 2
