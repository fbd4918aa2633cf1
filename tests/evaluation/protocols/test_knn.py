"""Nearest neighbours against brute force."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.evaluation import neighbours
from amr_jax.evaluation.protocols import knn
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


def test_vote():
    labels = jnp.array([[3, 1, 1], [3, 1, 2], [1, 3, 3]])
    np.testing.assert_array_equal(knn.vote(labels), [1, 3, 3])
    np.testing.assert_array_equal(knn.vote(jnp.array([2, 0, 0, 2])), 2)


def config(k=1):
    return ml_collections.ConfigDict(
        {"seed": 0, "bodies": "packed", "second_body": "zeros", "encode_batch_size": 4, "k": k}
    )


def test_protocol():
    bank = tiny.make_bodies([(True, False)] * 9, seed=1)
    queries = tiny.make_bodies([(True, False)] * 5, seed=2)
    task = tiny.make_task(bank, queries)
    lines = []
    outcome = knn.run(task, config(), lambda epoch, m: lines.append(m))

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
    assert knn.run(task, config(), lambda *_: None).metrics["top1"] == 1


def test_more_neighbours_than_training_sequences_are_refused():
    bodies = tiny.make_bodies([(True, False)] * 9)
    with pytest.raises(UserError, match=r"config\.k = 10: expected at most 9"):
        knn.run(tiny.make_task(bodies, bodies), config(10), lambda *_: None)
