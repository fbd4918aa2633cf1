"""The order of units, the bodies of a unit, and resident and streamed batches."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.data import batches, order, records
from amr_jax.run import sharding
from tests.evaluation import tiny


@settings(max_examples=25, deadline=None)
@given(num_units=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_every_epoch_has_every_unit_once(num_units, batch, seed):
    drawn = order.Order([num_units], batch, seed)
    stream = np.concatenate([drawn.batch(step) for step in range(3 * num_units // batch + 1)])
    for epoch in range(len(stream) // num_units):
        part = stream[epoch * num_units : (epoch + 1) * num_units]
        np.testing.assert_array_equal(np.sort(part), np.arange(num_units))
    assert [drawn.unit(i) for i in range(len(stream))] == stream.tolist()


def test_order_depends_on_seed_and_epoch():
    drawn = [order.Order([100], 100, seed).batch(epoch) for seed in (0, 1) for epoch in (0, 1)]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert not np.array_equal(one, other)
    np.testing.assert_array_equal(drawn[0], order.Order([100], 100, 0).batch(0))


def test_the_order_of_a_seed_is_that_of_all_releases():
    # Else a resumed run would see other batches than the run that it resumes.
    np.testing.assert_array_equal(order.Order([8], 5, 3).batch(1), [5, 2, 3, 0, 7])


def test_dispatches_are_cut_at_multiples_whatever_the_start():
    assert list(batches.dispatches(0, 7, 3)) == [range(0, 3), range(3, 6), range(6, 7)]
    assert list(batches.dispatches(4, 7, 3)) == [range(4, 6), range(6, 7)]


PRESENT = [(True, False), (True, True), (False, True), (False, False)]


def test_packed_units_are_the_bodies():
    split = tiny.make_bodies(PRESENT)
    np.testing.assert_array_equal(order.units(split, "packed", "zeros"), [[0], [1], [2], [3]])


def test_units_of_all_bodies_are_the_sequences_with_a_body():
    split = tiny.make_bodies(PRESENT)
    zeros = order.units(split, "all", "zeros")
    np.testing.assert_array_equal(zeros, [[0, -1], [1, 2], [-1, 3]])
    repeat = order.units(split, "all", "repeat")
    np.testing.assert_array_equal(repeat, [[0, 0], [1, 2], [3, 3]])


@pytest.mark.parametrize("storage", ["float32", "int16"])
@pytest.mark.parametrize("bodies", ["packed", "all"])
def test_streamed_clips_are_the_resident_ones(tiny_ucla, storage, bodies):
    mesh = sharding.make_mesh(jax.devices()[:2])
    source = records.Records(str(tiny_ucla), "nw_ucla/xview", "train[:7]", 0, 300)
    how = {"storage": storage, "bodies": bodies, "second_body": "zeros", "mixture": "balanced"}
    clips = {}
    for mode in ("resident", "stream"):
        data = batches.load(source, mesh, mode=mode, batch_size=4, seed=0, **how)
        assert (data.num_units, len(data.host.label)) == (7, 7)
        batch = jax.tree.map(lambda x: x[1], next(data.batches(2, 6, 2)))
        clips[mode] = jax.device_get(jax.jit(data.clips)(data.resident, batch))
    for resident, streamed in zip(clips["resident"], clips["stream"], strict=True):
        np.testing.assert_array_equal(resident, streamed)
