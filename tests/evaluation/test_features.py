"""Features: every body is encoded once and averaged, on any number of devices."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from amr_jax.data.split import place
from amr_jax.evaluation import features
from amr_jax.models import heads
from amr_jax.run import sharding
from tests.evaluation import tiny

KEY = jax.random.key(7)


def extract(encoder, real, view, key=KEY, devices=1, readout="mean", batch_size=4, bodies="packed"):
    mesh = tiny.mesh(devices)
    params = sharding.put(tiny.init(encoder), sharding.replicated(mesh))
    split = place(real, mesh)
    return np.asarray(
        features.extract(
            encoder,
            params,
            split,
            view,
            key,
            readout=readout,
            batch_size=batch_size,
            bodies=bodies,
        )
    )


@hypothesis.given(num_bodies=st.integers(1, 300), batch_size=st.integers(1, 70))
def test_batches_hold_each_body_once_and_padding(num_bodies, batch_size):
    sequence = np.sort(np.random.default_rng(0).integers(0, 50, num_bodies))
    dealt = np.concatenate(features.batches(sequence, 50, batch_size), axis=1)
    body, counts_for = dealt
    real = counts_for < 50
    assert dealt.shape[1] % batch_size == 0
    np.testing.assert_array_equal(body[real], np.arange(num_bodies))
    np.testing.assert_array_equal(counts_for[real], sequence)
    assert (counts_for[~real] == 50).all()


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(
    present=st.lists(
        st.sampled_from([(True, False), (True, True), (False, True)]), min_size=1, max_size=9
    ),
    batch_size=st.integers(1, 10),
    devices=st.sampled_from([1, 3]),
)
def test_counts_are_exact_at_any_batch_size(present, batch_size, devices):
    # Powers of two: any body dropped, or counted twice, or for another sequence, changes the sum.
    values = 2.0 ** np.arange(np.sum(present))
    bodies = tiny.make_bodies(present, constant=values)
    found = extract(tiny.Plain(), bodies, tiny.first_frame, devices=devices, batch_size=batch_size)
    expected = [values[bodies.sequence == s].mean() for s in range(len(present))]
    np.testing.assert_array_equal(found, np.repeat(np.array(expected)[:, None], 3, axis=1))


@pytest.mark.parametrize("pooling", ["packed", "all", "repeat"])
def test_features_agree_with_a_loop_over_bodies(pooling):
    slots = [(True, True, False), (True, False, False), (False, True, True), (False, False, False)]
    bodies = tiny.make_bodies(slots)
    params = tiny.init(tiny.ENCODER)
    absent = np.zeros((tiny.FRAMES, tiny.JOINTS, 3), np.float32)

    @jax.jit
    def encode(clip):
        return tiny.ENCODER.apply({"params": params}, clip[None])[0].mean(axis=0)

    view = jax.jit(tiny.train_view)

    expected = []
    for s, present in enumerate(bodies.present):
        each = []
        for b in np.flatnonzero(bodies.sequence == s):
            frames = tiny.bodies_of(bodies)[b]
            each.append(encode(view(jax.random.fold_in(KEY, s), frames, bodies.length[b])))
        if pooling == "repeat" and each:
            each += each[:1] * (len(present) - len(each))
        elif pooling != "packed" or not each:
            each += [encode(absent)] * (len(present) - len(each))
        expected.append(np.mean(each, axis=0))
    found = extract(tiny.ENCODER, bodies, tiny.train_view, bodies=pooling)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_only_bodies_of_one_sequence_share_a_view():
    bodies = tiny.make_bodies([(True, True), (True, True)], seed=3)
    length = np.full(4, 10, np.int32)
    one = np.random.default_rng(0).normal(size=(10, tiny.JOINTS, 3)).astype(np.float32)
    bodies = dataclasses.replace(
        bodies,
        frames=np.concatenate([one, -one, one, -one]),
        length=length,
    )
    first, second = extract(tiny.Plain(), bodies, tiny.train_view)
    # A body and its mirror image through the origin cancel only under one crop and one rotation.
    np.testing.assert_allclose([first, second], 0, atol=1e-6)
    alone = dataclasses.replace(
        tiny.make_bodies([(True, False)] * 2),
        frames=np.concatenate([one, one]),
        length=length[:2],
    )
    first, second = extract(tiny.Plain(), alone, tiny.train_view)
    assert np.abs(first - second).max() > 1e-3
    other_epoch, _ = extract(tiny.Plain(), alone, tiny.train_view, key=jax.random.fold_in(KEY, 1))
    assert np.abs(first - other_epoch).max() > 1e-3


def test_a_cpu_encodes_a_few_bodies_at_a_time(monkeypatch):
    bodies = tiny.make_bodies([(True, i % 3 == 0) for i in range(7)])  # ten bodies
    found = {}
    for together in (1, 2, 3, 99):
        monkeypatch.setattr(features, "_TOGETHER_ON_CPU", together)
        found[together] = extract(tiny.ENCODER, bodies, tiny.train_view, batch_size=7)
    for other in (2, 3, 99):
        np.testing.assert_allclose(found[other], found[1], atol=1e-5)

    def shapes(together):
        seen = []

        class Watched(tiny.Plain):
            def __call__(self, clips):
                seen.append(len(clips))
                return super().__call__(clips)

        monkeypatch.setattr(features, "_TOGETHER_ON_CPU", together)
        extract(Watched(), bodies, tiny.first_frame, batch_size=7)
        return set(seen) - {1}  # an absent body, and the shape of parameters

    assert shapes(2) == {2}
    assert shapes(3) == {3}


@pytest.mark.parametrize("readout", heads.READOUTS)
def test_the_number_of_devices_changes_nothing_but_rounding(readout):
    bodies = tiny.make_bodies([(True, i % 3 == 0) for i in range(21)])
    how = {"readout": readout, "bodies": "all"}
    one = extract(tiny.ENCODER, bodies, tiny.train_view, devices=1, batch_size=7, **how)
    eight = extract(tiny.ENCODER, bodies, tiny.train_view, devices=8, batch_size=16, **how)
    np.testing.assert_allclose(one, eight, atol=1e-5)
