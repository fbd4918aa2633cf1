"""Ranks of labels among logits."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np

from amr_jax.evaluation import accuracy


def test_ranks_of_ties():
    logits = jnp.array([[0.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(accuracy.ranks(logits, jnp.array([2, 0, 2])), [1, 0, 2])


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(st.lists(st.integers(-2, 2), min_size=7, max_size=7), st.integers(0, 6))
def test_rank_zero_is_argmax(logits, label):
    logits = np.array([logits], np.float32)
    (rank,) = accuracy.ranks(jnp.asarray(logits), jnp.array([label]))
    assert (rank == 0) == (logits.argmax() == label)
