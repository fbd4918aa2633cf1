"""Sequences that are set aside for testing."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_jax.data.build import held_out
from amr_jax.errors import UserError

FRACTIONS = st.sampled_from([0.01, 0.1, 0.2, 0.5, 0.9])


def chosen(names, labels, subjects, fraction, seed=0):
    test, by = held_out.choose(names, labels, subjects, fraction, seed)
    return {name for name, is_test in zip(names, test, strict=True) if is_test}, by


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), FRACTIONS, st.integers(0, 9))
def test_each_class_gives_its_share(labels, fraction, seed):
    if max(collections.Counter(labels).values()) == 1:
        return
    names = [f"clip{i}" for i in range(len(labels))]
    test, by = chosen(names, labels, [""] * len(labels), fraction, seed)
    assert by == "sequence"
    for label, count in collections.Counter(labels).items():
        number = sum(labels[names.index(name)] == label for name in test)
        assert min(count - 1, 1) <= number <= max(count - 1, 0)
        assert abs(number - fraction * count) <= max(0.5, fraction, 1 - fraction)
    # The order of the files does not matter.
    order = np.random.default_rng(seed).permutation(len(names))
    shuffled = chosen([names[i] for i in order], [labels[i] for i in order], [""] * len(names),
                      fraction, seed)  # fmt: skip
    assert shuffled[0] == test


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), min_size=2, max_size=60),
    FRACTIONS,
    st.integers(0, 9),
)
def test_subjects_are_set_aside_as_a_whole(rows, fraction, seed):
    labels, subjects = [row[0] for row in rows], [f"p{row[1]}" for row in rows]
    if len(set(subjects)) == 1:
        return
    names = [str(i) for i in range(len(rows))]
    test, by = chosen(names, labels, subjects, fraction, seed)
    assert by == "subject"
    of_test = {subjects[int(name)] for name in test}
    assert of_test
    assert of_test < set(subjects)
    assert test == {name for name in names if subjects[int(name)] in of_test}


def test_equal_subjects_give_the_fraction_and_each_seed_others():
    rows = [(label, f"p{p}") for p in range(10) for label in (0, 1, 1)]
    names = [str(i) for i in range(len(rows))]
    labels, subjects = zip(*rows, strict=True)
    choices = {frozenset(chosen(names, labels, subjects, 0.2, seed)[0]) for seed in range(20)}
    assert {len(test) for test in choices} == {6}
    assert len(choices) > 10


def test_classes_of_subjects_are_balanced():
    """Four subjects wave, four sit, one does all: half of each is taken, whatever the order."""
    rows = [(p % 2, f"p{p}") for p in range(8) for _ in range(3)]
    labels, subjects = zip(*rows, strict=True)
    names = [str(i) for i in range(len(rows))]
    for seed in range(10):
        test, _ = chosen(names, labels, subjects, 0.5, seed)
        assert collections.Counter(labels[int(name)] for name in test) == {0: 6, 1: 6}


@pytest.mark.parametrize(
    ("labels", "subjects", "message"),
    [
        ([0, 1, 2], ["", "", ""], "every class has one sequence"),
        ([0, 0, 0], ["ann", "", "ann"], "1 of 3 sequences have no subject, the first is b"),
        ([0, 0, 0], ["ann"] * 3, "all sequences are of the subject 'ann'"),
    ],
)
def test_nothing_can_be_set_aside(labels, subjects, message):
    with pytest.raises(UserError, match=message):
        held_out.choose("abc", labels, subjects, 0.3, 0)
