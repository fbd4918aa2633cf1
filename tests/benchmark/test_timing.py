"""Interleaved rounds, and measurements of compiled steps."""

import types

import jax
import numpy as np
import pytest

from amr_jax.benchmark import full_size, timing
from amr_jax.benchmark.timing import Program
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL

AMR = full_size.Row("amr", "amr")
AS_IT_IS = ("augment.min_fraction=1.0", "augment.max_angles=(0.0, 0.0, 0.0)")


def small(*overrides, batch_size=2):
    return full_size.config_of(AMR, batch_size, "float32", "xla", (*SMALL, *overrides))


def test_each_round_starts_one_item_later():
    assert [timing.rotated("abc", i) for i in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_statistics_and_ratios_by_hand():
    assert timing.statistics([5, 1, 4, 2, 3]) == {"step_s_median": 3, "step_s_quartiles": [2, 4]}
    assert timing.statistics([]) == {"step_s_median": None, "step_s_quartiles": [None, None]}
    # By round: 2, 1, 4. The medians alone would give 4 / 3.
    assert timing.ratio([2, 4, 12], [1, 4, 3]) == 2
    assert timing.ratio([], [1.0]) is None
    with pytest.raises(ValueError, match="longer"):
        timing.ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peak_of_this_device(dtype):
    peak = timing.matmul_peak(dtype, (16, 32), repeats=2)
    assert peak["matmul_size"] in (16, 32)
    assert peak["flops_per_s"] > 0


def test_steps_in_one_dispatch_equal_as_many_dispatches():
    together, apart = Program(small(), 3), Program(small(), 1, 3)
    for program in (together, apart):
        program.warm_up()
        program.time_step()
        assert program.steps == 3
        assert len(program.step_s) == 1
        assert len(set(program.losses)) == 3
    np.testing.assert_allclose(together.losses, apart.losses, rtol=1e-5)


def test_full_body_slots_are_packed_bodies(monkeypatch):
    slots = Program(small(*AS_IT_IS, "input.bodies=all"))
    both, lengths = costs.random_batch(small("input.bodies=all"))
    assert both.shape == (1, 2, 24, 2, 25, 3)
    rows = both.swapaxes(2, 3).reshape(1, 4, 24, 1, 25, 3)
    monkeypatch.setattr(costs, "random_batch", lambda *_: (rows, np.repeat(lengths, 2, axis=1)))
    packed = Program(small(*AS_IT_IS, batch_size=4))
    for program in (slots, packed):
        program.warm_up()
    np.testing.assert_allclose(slots.losses, packed.losses, rtol=1e-5)


def test_augmentation_alone_draws_anew_in_every_step():
    dispatch, first, batch = costs.augmentation(small(*AS_IT_IS), 2)
    number, out = dispatch(first, {}, batch)
    assert number == 2
    np.testing.assert_allclose(out["clips"], np.asarray(batch[0])[:, :, :, 0], atol=1e-6)
    dispatch, first, (clips, lengths) = costs.augmentation(small(), 2)
    same = jax.tree.map(lambda x: np.stack([x[0], x[0]]), (np.asarray(clips), np.asarray(lengths)))
    turned = np.asarray(dispatch(first, {}, same)[1]["clips"])
    assert np.abs(turned[0] - turned[1]).max() > 0.01


class Device:
    """An allocator: the state of every program stays, its temporaries come and go."""

    device_kind = "NVIDIA"

    def __init__(self):
        self.in_use = self.peak = 0

    def memory_stats(self):
        return {"bytes_in_use": self.in_use, "peak_bytes_in_use": self.peak}


class Step:
    """A fake compiled step: `size` bytes of state, 10 · `size` at its peak."""

    def __init__(self, name, size, device, log):
        self.name, self.size, self.device, self.log = name, size, device, log
        self.calls, self.fails_at = 0, None
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
        assert state == self.calls  # what the last step returned
        self.calls += 1
        self.log.append(self.name)
        if self.calls == self.fails_at:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9.")
        self.device.peak = max(self.device.peak, self.device.in_use + 9 * self.size)
        return self.calls, {"loss": [0.5]}


@pytest.fixture
def program(monkeypatch):
    """A function (name, size, fails_at) that makes a `Program` of a `Step`; and a log of calls."""
    device, log = Device(), []
    monkeypatch.setattr(jax, "devices", lambda: [device])

    def make(name, size, fails_at=None):
        step = Step(name, size, device, log)
        step.fails_at = fails_at
        return Program(None, make=lambda config, steps: (step, 0, "batch"))

    make.log = log
    return make


def test_steps_warm_up_from_small_to_large_and_then_rotate(program):
    programs = [program("large", 300), program("middle", 200), program("small", 100)]
    timing.warm_up_and_time(programs, 2)
    assert program.log[:3] == ["small", "middle", "large"]
    assert program.log[3:] == ["large", "middle", "small", "middle", "small", "large"]
    for one, size in zip(programs, (300, 200, 100), strict=True):
        assert len(one.step_s) == 2
        assert one.memory_bytes == one.device_bytes == 10 * size


def test_of_two_equally_large_steps_only_the_first_shows_in_the_allocators_peak(program):
    twins = [program("first", 100), program("second", 100)]
    for twin in twins:
        twin.warm_up()
    assert [twin.report()["device_bytes"] for twin in twins] == [1000, None]


def test_out_of_memory_ends_one_step_and_no_other_error_is_hidden(program):
    broken, good = program("broken", 100, fails_at=3), program("good", 200)
    timing.warm_up_and_time([broken, good], 3)
    assert broken.report()["problem"] == "out of memory"
    assert broken.step_s == []
    assert len(good.step_s) == 3

    def raising(message):
        def make(config, steps):
            raise jax.errors.JaxRuntimeError(message)

        return make

    never = Program(None, make=raising("RESOURCE_EXHAUSTED: Out of memory."))
    assert never.report()["problem"] == "out of memory"
    assert never.memory_bytes is never.compile_s is None
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        Program(None, make=raising("INTERNAL: something else"))
