"""A split on the host and on the devices: every sequence is read once, and every clip is found."""

import threading
from concurrent import futures

import jax
import numpy as np
import pytest

from amr_jax.data import records, split
from amr_jax.run import distributed, sharding
from tests.evaluation import tiny

PRESENT = [(True, False), (True, True), (False, True), (True, False), (False, False)]


def mesh(num_devices):
    return sharding.make_mesh(jax.devices()[:num_devices])


def check_clips(on_devices, expected, tolerance=0.0):
    """Clips of bodies in any order, twice, or absent are the bodies' frames and zeros."""
    bodies = np.array([4, 0, split.ABSENT, 3, 1, 2, 0, 4])

    def traced_anew(of, bodies):
        return of.clips(bodies)

    clips, lengths = jax.jit(traced_anew)(on_devices, bodies)
    assert clips.sharding.is_equivalent_to(sharding.over_data(on_devices.mesh), clips.ndim)
    for clip, length, body in zip(np.asarray(clips), lengths, bodies, strict=True):
        frames = expected[body] if body != split.ABSENT else np.zeros((0, *clip.shape[1:]))
        assert length == len(frames)
        np.testing.assert_allclose(clip[:length], frames, atol=tolerance, rtol=0)
        assert not clip[length:].any()


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("num_devices", [1, 2, 8])
@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_clips_are_the_bodies_frames_padded_with_zeros(
    num_devices, storage, processes, monkeypatch
):
    host = tiny.make_bodies(PRESENT)
    on_devices = split.place(host, mesh(num_devices), storage)
    assert on_devices.frames.dtype == ("int16" if storage == "int16" else np.float32)
    assert on_devices.frames.sharding.is_equivalent_to(sharding.over_data(on_devices.mesh), 3)
    half_a_step = np.abs(host.frames).max() / 32767 * 0.51
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    check_clips(on_devices, tiny.bodies_of(host), half_a_step if storage == "int16" else 0)


def test_each_body_lies_on_one_device():
    host = tiny.make_bodies(PRESENT)
    on_devices = split.place(host, mesh(3))
    per_device = on_devices.frames.shape[0] // 3
    first, last = on_devices.offset, on_devices.offset + on_devices.length - 1
    np.testing.assert_array_equal(first // per_device, last // per_device)


def test_on_one_device_frames_are_stored_as_they_are():
    host = tiny.make_bodies(PRESENT)
    on_devices = split.place(host, mesh(1))
    np.testing.assert_array_equal(on_devices.frames, host.frames)
    assert on_devices.host.frames is None
    assert on_devices.host.describe() == host.describe()


def test_bodies_are_numbered_sequence_by_sequence():
    host = tiny.make_bodies(PRESENT)
    np.testing.assert_array_equal(host.sequence, [0, 1, 1, 2, 3])
    np.testing.assert_array_equal(host.body, [[0, -1], [1, 2], [-1, 3], [4, -1], [-1, -1]])


@pytest.mark.parametrize("num_sequences", [0, 1, 7, 8, 100])
def test_devices_hold_equally_many_sequences(num_sequences):
    ends = split._part_ends(num_sequences, mesh(8))
    assert (ends[0], ends[-1]) == (0, num_sequences)
    assert np.ptp(np.diff(ends)) <= 1


class Processes:
    """Threads in place of processes, each with some of eight devices; they exchange rows."""

    def __init__(self, monkeypatch, own):
        self._own, self._here = own, threading.local()
        self._sent, self._barrier = [None] * len(own), threading.Barrier(len(own), timeout=60)
        monkeypatch.setattr(distributed, "gather", self._gather)
        monkeypatch.setattr(split, "_own_parts", lambda mesh: self._own[self._here.number])

    def _gather(self, array):
        self._sent[self._here.number] = array
        self._barrier.wait()
        received = list(self._sent)
        self._barrier.wait()
        return received

    def run(self, function):
        """The results of `function` on every process."""

        def call(number):
            self._here.number = number
            return function()

        with futures.ThreadPoolExecutor(len(self._own)) as pool:
            return list(pool.map(call, range(len(self._own))))


# The devices of a process need not be adjacent in the mesh, and some hold no sequence.
OWN = ([0, 3], [1, 2, 4], [5, 6, 7])


def test_processes_read_each_sequence_once_and_know_all(tiny_ucla, monkeypatch):
    read, examples = [], records.Records.examples

    def noted(self, sequences):
        read.extend(sequences.tolist())
        return examples(self, sequences)

    source = records.Records(str(tiny_ucla), "nw_ucla/xview", "train[:7]", 0, 300)
    whole = split.read(source, mesh(1))
    monkeypatch.setattr(records.Records, "examples", noted)
    processes = Processes(monkeypatch, OWN)
    for frames in (True, False):
        read.clear()
        found = processes.run(lambda: split.read(source, mesh(8), frames))  # noqa: B023
        assert sorted(read) == list(range(7))
        for one in found:
            for name in ("length", "sequence", "present", "label", "names"):
                np.testing.assert_array_equal(getattr(one, name), getattr(whole, name), name)
            assert one.class_names == whole.class_names
            bodies = tiny.bodies_of(whole)
            if frames:
                own = np.concatenate([whole.frames[:0], *(bodies[i] for i in one.own_bodies)])
                np.testing.assert_array_equal(one.frames, own)
            else:
                assert one.frames is None


def test_processes_learn_the_fixed_point_steps_of_all_bodies(monkeypatch):
    own_bodies = ([3, 0], [1], [4, 2])
    steps = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    processes = Processes(monkeypatch, own_bodies)

    def exchanged():
        own = np.array(own_bodies[processes._here.number])
        return split._gather(own, step=steps[own])["step"]

    for found in processes.run(exchanged):
        np.testing.assert_array_equal(found, steps)


def test_the_files_of_ones_own_sequences_are_verified_and_all_files_for_streaming(
    tiny_ucla, monkeypatch
):
    source, verified = records.Records(str(tiny_ucla), "nw_ucla/xview", "train", 0, 300), []
    part = source._parts[0]
    names = ["a", "b", "c"]
    source._parts = [part.replace(filename=f"/x/{name}", take=10) for name in names]
    source._shards = [*names, "d"]

    def faults(folder, of, contents_of):
        verified.append(of)
        return []

    monkeypatch.setattr(records.record_files, "faults", faults)
    for sequences in (np.arange(30), np.arange(10, 20), np.array([9, 10]), np.zeros(0, int), None):
        source.verify(sequences)
    assert verified == [names, ["b"], ["a", "b"], [], [*names, "d"]]
    asked = []
    monkeypatch.setattr(source, "verify", asked.append)
    monkeypatch.setattr(source, "examples", lambda sequences: iter(()))
    monkeypatch.setattr(split, "_gather", lambda own, **columns: columns)
    for frames in (True, False):
        split.read(source, mesh(1), frames)
    np.testing.assert_array_equal(asked[0], np.arange(40))
    assert asked[1] is None
