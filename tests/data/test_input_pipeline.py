"""Order of units, body slots, and gathering clips from frames split over devices."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.data import input_pipeline
from amr_jax.run import sharding


@settings(max_examples=25, deadline=None)
@given(num_units=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_every_epoch_has_every_unit_once(num_units, batch, seed):
    order = input_pipeline.Order(num_units, batch, seed)
    stream = np.concatenate([order.batch(step) for step in range(3 * num_units // batch + 1)])
    for epoch in range(len(stream) // num_units):
        part = stream[epoch * num_units : (epoch + 1) * num_units]
        np.testing.assert_array_equal(np.sort(part), np.arange(num_units))


def test_order_depends_on_seed_and_epoch():
    batches = [
        input_pipeline.Order(100, 100, seed).batch(epoch) for seed in (0, 1) for epoch in (0, 1)
    ]
    for i, one in enumerate(batches):
        for other in batches[i + 1 :]:
            assert not np.array_equal(one, other)
    np.testing.assert_array_equal(batches[0], input_pipeline.Order(100, 100, 0).batch(0))


def test_dispatches_are_cut_at_multiples_whatever_the_start():
    assert list(input_pipeline.dispatches(0, 7, 3)) == [range(0, 3), range(3, 6), range(6, 7)]
    assert list(input_pipeline.dispatches(4, 7, 3)) == [range(4, 6), range(6, 7)]


PRESENT = np.array([[True, False], [True, True], [False, True]])


def test_packed_units_are_the_real_bodies():
    np.testing.assert_array_equal(
        input_pipeline.unit_slots(PRESENT, "packed"), [[0], [2], [3], [5]]
    )


def test_units_of_all_bodies_are_sequences():
    zeros = input_pipeline.unit_slots(PRESENT, "all")
    np.testing.assert_array_equal(zeros, [[0, -1], [2, 3], [-1, 5]])
    repeat = input_pipeline.unit_slots(PRESENT, "all", "repeat")
    np.testing.assert_array_equal(repeat, [[0, 0], [2, 3], [5, 5]])


@pytest.mark.parametrize("num_devices", [1, 2, 8])
def test_gathered_clips_are_slices_padded_with_zeros(num_devices):
    mesh = sharding.make_mesh(jax.devices()[:num_devices])
    frames = np.random.default_rng(0).normal(size=(48, 5, 3)).astype(np.float32)
    offset, length = np.array([0, 40, 7, 13, 20, 1, 2, 47]), np.array([9, 8, 1, 12, 0, 3, 12, 1])
    gather = jax.jit(lambda *a: input_pipeline.gather_clips(mesh, *a, max_length=12))
    clips = gather(
        sharding.put(frames, sharding.over_data(mesh)),
        sharding.put(offset, sharding.replicated(mesh)),
        sharding.put(length, sharding.replicated(mesh)),
    )
    for clip, start, size in zip(np.asarray(clips), offset, length, strict=True):
        np.testing.assert_array_equal(clip[:size], frames[start : start + size])
        assert not clip[size:].any()
    assert clips.sharding.is_equivalent_to(sharding.over_data(mesh), clips.ndim)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_gathered_16_bit_clips_are_decoded(num_devices):
    mesh = sharding.make_mesh(jax.devices()[:num_devices])
    frames = np.random.default_rng(0).integers(-32767, 32768, size=(48, 5, 3)).astype(np.int16)
    offset, length = np.arange(8) * 5, np.array([9, 8, 1, 12, 0, 3, 12, 1])
    step = np.random.default_rng(1).uniform(1e-5, 1e-4, size=(8, 3)).astype(np.float32)
    gather = jax.jit(lambda f, o, n, s: input_pipeline.gather_clips(mesh, f, o, n, 12, s))
    placed = sharding.put((offset, length, step), sharding.replicated(mesh))
    clips = np.asarray(gather(sharding.put(frames, sharding.over_data(mesh)), *placed))
    for clip, start, size, unit in zip(clips, offset, length, step, strict=True):
        np.testing.assert_array_equal(clip[:size], frames[start : start + size] * unit)
        assert not clip[size:].any()


def test_batch_must_split_over_the_devices():
    mesh = sharding.make_mesh(jax.devices()[:8])
    sharding.check_batch(mesh, 16, "batch_size")
    with pytest.raises(ValueError, match=r"config.batch_size=12: .* multiple of the 8 devices"):
        sharding.check_batch(mesh, 12, "batch_size")
