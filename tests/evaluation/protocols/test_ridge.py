"""The ridge classifier against direct solutions, and the protocol around it."""

import jax
import ml_collections
import numpy as np
import pytest
from scipy import special

from amr_jax.evaluation.protocols import ridge
from amr_jax.models import heads
from tests.evaluation import tiny
from tests.evaluation.protocols.test_linear import separable

CONFIG = {
    "seed": 0,
    "bodies": "packed",
    "second_body": "zeros",
    "encode_batch_size": 16,
    "penalty": 0.01,
    "views": 2,
}


# More rows than features, and fewer.
@pytest.mark.parametrize(("sequences", "views", "width"), [(30, 3, 5), (8, 2, 40), (9, 1, 9)])
def test_weights_and_left_out_predictions_are_those_of_direct_solutions(sequences, views, width):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(sequences, views, width))
    y = generator.normal(size=(sequences, 3))
    penalty = 0.1 * np.square(x).sum(axis=2).mean() * np.eye(width)

    def direct(kept):
        rows = x[kept].reshape(-1, width)
        return np.linalg.solve(rows.T @ rows + penalty, rows.T @ np.repeat(y[kept], views, axis=0))

    weights, left_out = ridge.solve(x, y, 0.1)
    everything = np.arange(sequences)
    np.testing.assert_allclose(weights, direct(everything), rtol=1e-9, atol=1e-12)
    for one in range(sequences):
        expected = x[one, 0] @ direct(everything != one)
        np.testing.assert_allclose(left_out[one], expected, rtol=1e-8, atol=1e-10)


def test_the_temperature_undoes_a_scale():
    generator = np.random.default_rng(1)
    logits = 2 * generator.normal(size=(20_000, 4))
    gumbel = generator.gumbel(size=logits.shape)
    labels = (logits + gumbel).argmax(axis=1)  # drawn from the softmax of the logits
    assert ridge.temperature(logits / 7, labels) == pytest.approx(7, rel=0.05)


def judged(**changes):
    task = tiny.make_task(separable(0), separable(1))
    return task, ridge.run(task, ml_collections.ConfigDict(CONFIG | changes), lambda *_: None)


def test_the_protocol_separates_classes_and_its_classifier_gives_its_scores():
    task, outcome = judged()
    outer = task.test.host.label != 1  # least squares hides a class between two others
    np.testing.assert_array_equal(outcome.predictions[outer], task.test.host.label[outer])
    assert outcome.metrics["top1"] == np.mean(outcome.predictions == task.test.host.label)
    assert outcome.metrics["left_out_top1"] >= 2 / 3
    own = outcome.classifier
    head = heads.build(own.head, own.head_settings)
    x = task.features(
        task.test, task.test_view, jax.random.key(0), ml_collections.ConfigDict(CONFIG)
    )
    variables = {"params": own.params["head"], "batch_stats": own.batch_stats["head"]}
    np.testing.assert_array_equal(head.apply(variables, x), outcome.scores)
    np.testing.assert_array_equal(outcome.scores.argmax(axis=1), outcome.predictions)
    assert 0.5 < special.softmax(outcome.scores, axis=1).max(axis=1).mean() <= 1


def test_a_class_without_training_sequences_is_never_predicted():
    _, outcome = judged(views=0)  # `separable` has four classes, and sequences of three
    assert outcome.scores.shape[1] == 4
    assert not (outcome.predictions == 3).any()
