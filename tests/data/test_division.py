"""A split divided over devices: every sequence is somebody's, once, and nothing gets lost."""

import dataclasses
import threading
from concurrent import futures

import jax
import numpy as np
import pytest

from amr_jax.data import division, fixed_point, records
from amr_jax.run import distributed, sharding
from tests.evaluation.protocols import tiny

PRESENT = [(True, False), (True, True), (False, True), (True, False), (False, False)]


def mesh(num_devices):
    return sharding.make_mesh(jax.devices()[:num_devices])


@pytest.mark.parametrize("num_devices", [1, 3, 8])
def test_every_body_is_found_where_its_offset_says(num_devices):
    bodies = tiny.make_bodies(PRESENT)
    split = division.divide(bodies, mesh(num_devices))
    frames = split.put(bodies.frames)
    assert frames.shape[0] == num_devices * split.part_length
    assert frames.sharding.is_equivalent_to(sharding.over_data(split.mesh), 3)
    placed = np.asarray(frames)
    for place, offset, length in zip(split.offset(), bodies.offset, bodies.length, strict=True):
        expected = bodies.frames[offset : offset + length]
        np.testing.assert_array_equal(placed[place : place + length], expected)
        # Whole on one device: a body never crosses to the next part.
        assert place // split.part_length == (place + length - 1) // split.part_length
    np.testing.assert_array_equal(np.sort(placed[placed != 0]), np.sort(bodies.frames, axis=None))


def test_on_one_device_nothing_is_moved_or_filled_up():
    bodies = tiny.make_bodies(PRESENT)
    split = division.divide(bodies, mesh(1))
    np.testing.assert_array_equal(split.put(bodies.frames), bodies.frames)
    np.testing.assert_array_equal(split.offset(), bodies.offset)


@pytest.mark.parametrize("num_sequences", [0, 1, 7, 8, 100])
def test_parts_are_all_sequences_in_order_and_equally_many(num_sequences):
    parts = division.Parts.of(num_sequences, mesh(8))
    together = [s for sequences in parts.sequences for s in sequences]
    assert together == list(range(num_sequences))
    sizes = [len(sequences) for sequences in parts.sequences]
    assert max(sizes) - min(sizes) <= 1
    expected = np.repeat(np.arange(8), sizes)
    np.testing.assert_array_equal(parts.of_sequences(np.arange(num_sequences)), expected)


class Processes:
    """Threads in place of processes, each with its share of eight parts; they hear each other."""

    def __init__(self, monkeypatch, own):
        self._own, self._here = own, threading.local()
        self._said, self._barrier = [None] * len(own), threading.Barrier(len(own), timeout=60)
        of = division.Parts.of
        monkeypatch.setattr(distributed, "rows", self._rows)
        monkeypatch.setattr(
            division.Parts,
            "of",
            lambda *args: dataclasses.replace(of(*args), own=self._own[self._here.number]),
        )

    def _rows(self, array):
        self._said[self._here.number] = array
        self._barrier.wait()
        heard = list(self._said)
        self._barrier.wait()
        return heard

    def run(self, function):
        """The results of `function` on every process."""

        def call(number):
            self._here.number = number
            return function()

        with futures.ThreadPoolExecutor(len(self._own)) as pool:
            return list(pool.map(call, range(len(self._own))))


# Devices of a process need not stand side by side in the mesh, and some get no sequence.
OWN = ((0, 3), (1, 2, 4), (5, 6, 7))


def test_processes_read_each_sequence_once_and_know_all(tiny_ucla, monkeypatch):
    read, examples = [], records.Records._examples

    def noted(self, sequences):
        read.extend(sequences.tolist())
        return examples(self, sequences)

    split = records.Records(str(tiny_ucla), "nw_ucla/xview", "train[:7]", 0, 300)
    whole, scanned = split.load(), split.scan()
    steps = fixed_point.encode_bodies(whole)[1]
    monkeypatch.setattr(records.Records, "_examples", noted)
    processes = Processes(monkeypatch, OWN)

    for divided in processes.run(lambda: division.load(split, mesh(8))):
        for name in ("length", "sequence", "present", "label", "names"):
            np.testing.assert_array_equal(getattr(divided, name), getattr(whole, name), name)
        assert divided.class_names == whole.class_names
    assert sorted(read) == list(range(7))

    def encoded():
        divided = division.load(split, mesh(8))
        return divided.of_all_bodies(fixed_point.encode_bodies(divided.own)[1])

    for found in processes.run(encoded):
        np.testing.assert_array_equal(found, steps)
    for found in processes.run(lambda: division.scan(split, mesh(8))):
        for rows, expected in zip(found, scanned, strict=True):
            np.testing.assert_array_equal(rows, expected)


def test_only_the_files_of_ones_own_sequences_are_read(tiny_ucla, monkeypatch):
    split = records.Records(str(tiny_ucla), "nw_ucla/xview", "train", 0, 300)
    part = split._parts[0]
    names = ["a", "b", "c"]
    split._parts = [part.replace(filename=f"/x/{name}", take=10) for name in names]
    assert split._shards_of(np.arange(30)) == names
    assert split._shards_of(np.arange(10, 20)) == ["b"]
    assert split._shards_of(np.array([9, 10])) == ["a", "b"]
    assert split._shards_of(np.zeros(0, int)) == []


def test_what_may_be_asked_for_later_is_verified_by_who_only_scans(tiny_ucla, monkeypatch):
    split, verified = records.Records(str(tiny_ucla), "nw_ucla/xview", "train", 0, 300), []
    split._shards = ["a", "b"]
    monkeypatch.setattr(split, "_verify", verified.append)
    split.load(np.arange(2))
    split.scan(np.arange(2))
    assert verified == [["nw_ucla-train.array_record-00000-of-00001"], ["a", "b"]]
