"""Subsets of the labels: balanced, never empty, and a function of names, labels and seeds alone."""

import collections
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np

from amr_jax.evaluation.subsets import subset

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array)
FRACTIONS = st.floats(0.001, 1.0)


def named(labels):
    return np.array([f"S001A{i:03}" for i in range(len(labels))])


@hypothesis.given(labels=LABELS, fraction=FRACTIONS, draw=st.integers(0, 9))
def test_counts_of_classes_differ_by_one_at_most_unless_a_class_is_exhausted(
    labels, fraction, draw
):
    chosen = subset(named(labels), labels, fraction, 0, draw)
    assert len(chosen) == max(round(fraction * len(labels)), len(np.unique(labels)))
    assert (np.diff(chosen) > 0).all()
    got = collections.Counter(labels[chosen].tolist())
    have = collections.Counter(labels.tolist())
    assert got.keys() == have.keys()  # at least one of each
    for label in have:
        assert got[label] == have[label] or got[label] >= max(got.values()) - 1


@hypothesis.given(labels=LABELS, fraction=FRACTIONS, shuffle=st.randoms())
def test_the_order_of_the_records_does_not_matter(labels, fraction, shuffle):
    order = list(range(len(labels)))
    shuffle.shuffle(order)
    names = named(labels)
    straight = names[subset(names, labels, fraction, 3, 1)]
    shuffled = names[order][subset(names[order], labels[order], fraction, 3, 1)]
    assert sorted(straight) == sorted(shuffled)


def test_the_fraction_1_is_the_whole_split():
    labels = np.array([0, 0, 0, 2, 2, 5])
    np.testing.assert_array_equal(subset(named(labels), labels, 1.0, 0, 0), np.arange(6))


def test_draws_and_seeds_differ_and_are_repeatable():
    labels = np.arange(200) % 10
    names = named(labels)
    found = {
        (seed, draw): subset(names, labels, 0.1, seed, draw).tobytes()
        for seed in (0, 1)
        for draw in range(5)
    }
    assert len(set(found.values())) == 10
    assert found[1, 3] == subset(names, labels, 0.1, 1, 3).tobytes()


def test_every_sequence_is_chosen_about_equally_often():
    labels = np.repeat([0, 1, 2], [40, 20, 20])
    draws = 400
    counts = np.zeros(80)
    for draw in range(draws):
        counts[subset(named(labels), labels, 0.15, 0, draw)] += 1
    # 12 sequences, 4 of each class. Five standard deviations of a binomial count.
    for members, chance in (labels == 0, 0.1), (labels != 0, 0.2):
        bound = 5 * math.sqrt(draws * chance * (1 - chance))
        assert np.abs(counts[members] - draws * chance).max() < bound


def test_the_choice_is_pinned():
    # Another one would make results of different versions incomparable.
    labels = np.arange(12) % 3
    assert subset(named(labels), labels, 0.5, 0, 0).tolist() == [2, 3, 4, 6, 8, 10]
