"""Several draws: each is a fine-tuning on its own subset, and the result is their mean."""

import jax
import numpy as np
import pytest

from amr_jax.evaluation.protocols import finetune, semi
from amr_jax.evaluation.subsets import subset
from amr_jax.evaluation.task import Outcome
from tests.evaluation.protocols.test_finetune import config, make_task, separable, shifted


def settings(**changes):
    made = config(min_steps=4)
    made.update({"fraction": 0.25, "draws": 3})
    made.update(changes)
    return made


def test_draws_are_trainings_on_their_subsets_and_the_mean_is_over_them():
    task = make_task(separable(0), separable(1), view=shifted)
    lines = []
    outcome = semi.run(task, settings(), lambda epoch, m: lines.append((epoch, sorted(m))))
    assert outcome.predictions.shape == (3, 24)
    top1 = (outcome.predictions == task.test.host.label).mean(axis=1)
    assert [draw["top1"] for draw in outcome.draws] == pytest.approx(top1)
    assert outcome.metrics["top1"] == pytest.approx(top1.mean())
    deviation = np.sqrt(((top1 - top1.mean()) ** 2).sum() / 2)
    assert outcome.metrics["top1_std"] == pytest.approx(deviation)
    assert outcome.metrics["labelled_sequences"] == 6
    assert lines[-1] == (4, ["draw3/top1", "draw3/top5", "draw3/train_loss"])

    last = subset(task.train.host.names, task.train.host.label, 0.25, 0, 2)
    alone = finetune.Trainer(task, settings(), [last])
    key = jax.random.fold_in(jax.random.key(0), 2)
    again = alone.fit(last, key, lambda *_: None)
    np.testing.assert_array_equal(again.predictions, outcome.predictions[2])


def test_one_draw_has_no_deviation(monkeypatch):
    class Trained:
        """A trainer whose every training is done already."""

        def __init__(self, task, config, subsets):
            self.subsets = subsets

        def fit(self, chosen, key, log):
            assert chosen is self.subsets[0]
            return Outcome(np.zeros(24, np.int32), {"top1": 0.5, "top5": 1.0, "epochs": 3})

    monkeypatch.setattr(semi, "Trainer", Trained)
    task = make_task(separable(0), separable(1), view=shifted)
    outcome = semi.run(task, settings(draws=1), lambda *_: None)
    assert "top1_std" not in outcome.metrics
    assert outcome.metrics["top1"] == outcome.draws[0]["top1"] == 0.5
