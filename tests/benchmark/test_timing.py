"""Interleaved rounds, and measurements of steps that are ready to run."""

import types

import jax
import ml_collections
import pytest

from amr_jax.benchmark import timing

CONFIG = ml_collections.ConfigDict(
    {
        "method": "amr",
        "attention_kernel": "xla",
        "dtype": "float32",
        "batch_size": 4,
        "input": {"bodies": "packed"},
        "encoder": {"num_frames": 24, "num_joints": 25, "width": 8, "depth": 1},
    }
)


def test_statistics_and_ratios_by_hand():
    assert timing.statistics([5, 1, 4, 2, 3]) == {"step_s_median": 3, "step_s_quartiles": [2, 4]}
    assert timing.statistics([]) == {"step_s_median": None, "step_s_quartiles": [None, None]}
    # By round: 2, 1, 4. The medians alone would give 4 / 3.
    assert timing.ratio([2, 4, 12], [1, 4, 3]) == 2
    assert timing.ratio([], [1.0]) is None
    with pytest.raises(ValueError, match="longer"):
        timing.ratio([1.0], [1.0, 2.0])


def variant(name, log, memory_bytes=None, fails_at=None):
    """A step that only notes that it ran."""

    def run():
        log.append(name)
        if log.count(name) == fails_at:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9.")

    def build(config, steps):
        return timing.Ready(run, run, memory_bytes)

    return timing.Variant(name, CONFIG, 4, build)


def test_steps_warm_up_from_small_to_large_and_then_rotate():
    log = []
    variants = [variant("large", log, 300), variant("middle", log, 200), variant("small", log, 100)]
    timing.measure(variants, 1, 2)
    assert log[:3] == ["small", "middle", "large"]
    assert log[3:] == ["large", "middle", "small", "middle", "small", "large"]
    assert [len(each.step_s) for each in variants] == [2, 2, 2]


def test_out_of_memory_ends_one_step_and_no_other_error_is_hidden():
    log = []
    broken, good = variant("broken", log, 100, fails_at=3), variant("good", log, 200)
    good.base = broken
    timing.measure([broken, good], 1, 3)
    assert broken.entry()["problem"] == "out of memory"
    assert broken.entry()["step_s"] == []
    assert broken.entry()["memory_bytes"] == 100
    assert len(good.step_s) == 3
    assert good.entry()["ratio"] is None
    assert good.entry()["memory_ratio"] == 2

    def raising(message):
        def build(config, steps):
            raise jax.errors.JaxRuntimeError(message)

        return timing.Variant("never", CONFIG, 4, build)

    never = raising("RESOURCE_EXHAUSTED: Out of memory.")
    never.compile(1)
    assert never.problem == "out of memory"
    assert never.memory_bytes is never.compile_s is None
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        raising("INTERNAL: something else").compile(1)


class Device:
    """An allocator: the state of every program stays, its temporaries come and go."""

    def __init__(self):
        self.in_use = self.peak = 0

    def memory_stats(self):
        return {"bytes_in_use": self.in_use, "peak_bytes_in_use": self.peak}


class Program:
    """A fake compiled program: `size` bytes of state, 10 · `size` at its peak."""

    def __init__(self, size, device):
        self.size, self.device, self.calls = size, device, 0
        device.in_use += size

    def lower(self, state, arrays, batch):
        assert (state, arrays, batch) == (0, {}, "batch")
        return self

    def compile(self):
        return self

    def memory_analysis(self):
        return types.SimpleNamespace(
            argument_size_in_bytes=self.size,
            output_size_in_bytes=self.size,
            alias_size_in_bytes=self.size,
            temp_size_in_bytes=9 * self.size,
        )

    def __call__(self, state, arrays, batch):
        assert state == self.calls  # what the last call returned
        self.calls += 1
        self.device.peak = max(self.device.peak, self.device.in_use + 9 * self.size)
        return self.calls, {"loss": [0.5]}


def test_only_a_step_that_sets_a_new_peak_shows_in_the_allocators_statistics(monkeypatch):
    device = Device()
    monkeypatch.setattr(jax, "devices", lambda: [device])
    made = []

    def ready(size):
        def make(config, steps):
            assert steps == 2  # six in three dispatches
            made.append(Program(size, device))
            return made[-1], 0, "batch"

        return timing.compiled(CONFIG, 6, 3, make)

    first, second, larger = ready(100), ready(100), ready(200)
    assert [first.memory_bytes, larger.memory_bytes] == [1000, 2000]
    assert [first.warm_up(), second.warm_up(), larger.warm_up()] == [1000, None, 2000]
    first.run()
    assert [program.calls for program in made] == [6, 3, 3]
