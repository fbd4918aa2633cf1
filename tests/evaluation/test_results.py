"""What an evaluation tells about its splits."""

import types

import numpy as np

from amr_jax.evaluation import results


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
