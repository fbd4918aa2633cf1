"""The order of an epoch, and batches that hold every counted body of every sequence once."""

import hypothesis
import hypothesis.strategies as st
import numpy as np

from amr_jax.evaluation import packing
from configs import knn
from tests.evaluation import tiny

PRESENT = st.lists(
    st.sampled_from([(True, False), (True, True), (False, True), (False, False)]),
    min_size=1,
    max_size=20,
).map(lambda rows: np.array(rows, bool))


@hypothesis.given(
    present=PRESENT, bodies=st.sampled_from(packing.COUNTED), batch_size=st.integers(1, 25)
)
def test_packed_batches_hold_what_counts_once(present, bodies, batch_size):
    of_sequences, num_sequences = packing.bodies_of(tiny.make_bodies(present), bodies), len(present)
    orders = [packing.epoch_order(0, 0, num_sequences, batch_size)]
    orders.append(packing.in_turn(num_sequences, batch_size))
    for order in orders:
        capacity = packing.capacity([order], of_sequences, 4)
        batches = packing.pack(order, of_sequences, capacity)
        assert capacity % 4 == 0
        assert batches.body.shape == batches.row.shape == (len(order), capacity)
        padding = batches.row == order.shape[1]
        assert (batches.body[padding] == packing.ABSENT).all()
        sequence = np.take_along_axis(order, np.where(padding, 0, batches.row), axis=1)
        held = sorted(zip(sequence[~padding], batches.body[~padding], strict=True))
        # From the definitions: one sequence after the other.
        expected, body = [], 0
        for s, row in enumerate(present):
            own, first = [], body if bodies == "repeat" and row.any() else packing.ABSENT
            for here in row:
                if here or bodies != "packed":
                    own.append((s, body if here else first))
                body += int(here)
            expected += own or [(s, packing.ABSENT)]
        assert held == sorted(expected)


def test_the_settings_of_bodies_in_one_word():
    config = knn.get_config("nwucla")
    assert packing.counted(config) == "packed"
    config.bodies = "all"
    assert packing.counted(config) == "all"
    config.second_body = "repeat"
    assert packing.counted(config) == "repeat"


def test_capacity_is_that_of_the_fullest_batch_of_all_orders():
    of_sequences = packing.bodies_of(tiny.make_bodies([[1, 1], [1, 0], [1, 1], [1, 0]]), "packed")
    apart, together = np.array([[0, 1], [2, 3]]), np.array([[0, 2], [1, 3]])
    assert packing.capacity([apart], of_sequences, 1) == 3
    assert packing.capacity([apart, together], of_sequences, 1) == 4
    assert packing.capacity([apart], of_sequences, 8) == 8


def test_in_turn_is_the_order_of_the_split():
    np.testing.assert_array_equal(packing.in_turn(5, 2), [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(packing.in_turn(3, 100), [[0, 1, 2]])


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(num_sequences=st.integers(1, 60), batch_size=st.integers(1, 70))
def test_an_epoch_deals_every_sequence_once_in_even_batches(num_sequences, batch_size):
    order = packing.epoch_order(0, 0, num_sequences, batch_size)
    real = order < num_sequences
    assert sorted(order[real]) == list(range(num_sequences))
    sizes = real.sum(axis=1)
    assert sizes.max() <= batch_size
    assert sizes.max() - sizes.min() <= 1
    assert len(order) == int(np.ceil(num_sequences / batch_size))


def test_epochs_and_seeds_differ_in_order_and_each_is_repeatable():
    orders = [packing.epoch_order(seed, epoch, 40, 7) for seed in (0, 1) for epoch in (0, 1)]
    assert len({order.tobytes() for order in orders}) == 4
    np.testing.assert_array_equal(orders[3], packing.epoch_order(1, 1, 40, 7))
