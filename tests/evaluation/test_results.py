"""What an evaluation tells about its splits."""

import types

import ml_collections
import numpy as np
import pytest

from amr_jax.evaluation import results
from amr_jax.evaluation.encoder_under_test import Subject


def split(names, labels, classes=("a", "b", "c")):
    return types.SimpleNamespace(
        names=np.array(names), label=np.array(labels, np.int32), class_names=classes
    )


def test_nothing_is_odd():
    assert results.doubts(split(["x", "y"], [0, 1]), split(["z"], [1])) == []


def test_test_sequences_that_are_trained_on():
    (told,) = results.doubts(split(["x", "y"], [0, 1]), split(["y", "z"], [1, 0]))
    assert told.startswith("1 of 2 test sequences are training sequences, too")


def test_a_class_without_a_training_sequence():
    (told,) = results.doubts(split(["x"], [0]), split(["y", "z"], [2, 0]))
    assert "1 classes of the test split have no training sequence (c): 1 of 2" in told


def test_one_class():
    (told,) = results.doubts(split(["x"], [0], ("a",)), split(["y"], [0], ("a",)))
    assert "one class, 'a'" in told


@pytest.mark.parametrize(
    ("trained", "saw", "dataset", "fitted", "test", "told"),
    [
        ("nwucla", "train", "nwucla", "train", "test", False),
        ("nwucla", "train[:64]", "nwucla", "train[:64]", "test[:64]", False),
        ("utd+kard", "train", "nwucla", "train", "test", False),
        ("nwucla+kard", "train", "kard", "train", "test", False),
        ("utd", "train[!validation]", "utd", "train[!validation]", "train[validation]", False),
        ("utd", "train[subject!=7]", "utd", "train", "train[subject=7]", False),
        ("utd", "train", "utd", "train[!validation]", "train[validation]", True),
        ("nwucla", "train", "nwucla_xsub", "train", "test", True),
        ("utd+nwucla", "train", "nwucla_xsub", "train", "test", True),
        ("ntu60_xview", "train", "ntu120_xsub", "train", "test", True),
        ("utkinect", "train", "utkinect_loso2", "train", "test", True),
    ],
)
def test_test_sequences_that_pretraining_may_have_seen(trained, saw, dataset, fitted, test, told):
    config = {"pretrained": "RUN", "dataset": dataset, "train_split": fitted, "test_split": test}
    pretraining = {"dataset": trained, "input": {"split": saw}}
    made = map(ml_collections.ConfigDict, (config, pretraining))
    found = Subject(*made, 1, None, None, {}, None).doubts()
    assert len(found) == told
    assert not told or "it may have seen test sequences" in found[0]


def test_an_encoder_from_scratch_has_seen_nothing():
    config = ml_collections.ConfigDict({"pretrained": None, "dataset": "nwucla"})
    assert Subject(config, ml_collections.ConfigDict(), None, *[None] * 4).doubts() == []
