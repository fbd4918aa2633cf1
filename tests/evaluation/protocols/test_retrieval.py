"""Retrieval against a ranking written out, one query after the other."""

import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.evaluation import neighbours
from amr_jax.evaluation.protocols import knn, retrieval
from tests.evaluation import tiny


def average_precision(query, label, gallery, gallery_labels):
    """From the definition, in float64; with the label of the nearest."""
    cosine = []
    for item in np.float64(gallery):
        norms = np.linalg.norm(item) * np.linalg.norm(np.float64(query))
        cosine.append(item @ np.float64(query) / norms if norms else 0.0)
    # Rounded, so that equal directions are equal; Python's sort keeps the order of equals.
    ranking = sorted(range(len(gallery)), key=lambda i: -round(cosine[i], 5))
    precisions, found = [], 0
    for place, i in enumerate(ranking, start=1):
        if gallery_labels[i] == label:
            found += 1
            precisions.append(found / place)
    return gallery_labels[ranking[0]], sum(precisions) / found if found else 0.0


def compared(queries, query_labels, gallery, gallery_labels, devices=1, block_rows=3):
    found = neighbours.compared(
        retrieval.rank,
        (jnp.float32(queries), jnp.asarray(query_labels)),
        (jnp.float32(gallery), jnp.asarray(gallery_labels)),
        mesh=tiny.mesh(devices),
        block_elements=block_rows * len(gallery),
    )
    expected = [
        average_precision(query, label, gallery, gallery_labels)
        for query, label in zip(queries, query_labels, strict=True)
    ]
    np.testing.assert_array_equal(found[0], [label for label, _ in expected])
    np.testing.assert_allclose(found[1], [value for _, value in expected], rtol=1e-5)
    return found


@pytest.mark.parametrize("devices", [1, 8])
def test_agrees_with_the_definition_in_blocks(devices):
    generator = np.random.default_rng(0)
    gallery, queries = generator.normal(size=(23, 4)), generator.normal(size=(43, 4))
    labels = generator.integers(0, 4, 23)
    # Class 4 is not in the gallery.
    compared(queries, generator.integers(0, 5, 43), gallery, labels, devices)


def test_ties_go_by_the_order_of_the_gallery():
    # Corners of a square: every similarity is −1, 0 or 1, each many times over.
    corners = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    generator = np.random.default_rng(1)
    gallery = corners[generator.integers(0, 4, 21)] * generator.integers(1, 3, (21, 1))
    queries = np.concatenate([corners, np.zeros((1, 2))])
    labels = generator.integers(0, 3, 21)
    compared(queries, [0, 1, 2, 0, 1], gallery, labels)


def test_by_hand():
    # Ranked: b a b a; for class a at places 2 and 4, for b at 1 and 3.
    gallery = np.array([[1, 0.3], [1, 0.2], [1, 0.1], [1, 0.0]])
    nearest, precision = compared([[1, 0], [1, 0]], [0, 1], gallery, [0, 1, 0, 1])
    np.testing.assert_array_equal(nearest, [1, 1])
    np.testing.assert_allclose(precision, [(1 / 2 + 2 / 4) / 2, (1 / 1 + 2 / 3) / 2], rtol=1e-6)


def test_protocol_counts_every_query_and_agrees_with_the_nearest_neighbour():
    gallery = tiny.make_bodies([(True, False)] * 9, seed=1)
    queries = tiny.make_bodies([(True, False)] * 5, seed=2)
    task = tiny.make_task(gallery, queries)
    config = tiny.neighbours_config()
    outcome = retrieval.run(task, config, lambda *_: None)
    np.testing.assert_array_equal(
        outcome.predictions, knn.run(task, config, lambda *_: None).predictions
    )

    def first_frames(bodies):
        return tiny.first_frames(bodies).mean(axis=1)

    expected = [
        average_precision(query, label, first_frames(gallery), gallery.label)[1]
        for query, label in zip(first_frames(queries), queries.label, strict=True)
    ]
    assert outcome.metrics["mean_average_precision"] == pytest.approx(np.mean(expected), rel=1e-5)
