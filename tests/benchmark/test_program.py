"""Fast paths of a step compute what the plain one does; and what is counted of them."""

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax import methods as registry
from amr_jax.benchmark import variants
from amr_jax.benchmark.program import Program
from amr_jax.benchmark.variants import Variant
from amr_jax.studies import costs

SMALL = (
    "encoder.num_frames=24",
    "encoder.width=8",
    "encoder.depth=1",
    "encoder.num_heads=1",
    "model.decoder_width=8",
    "model.decoder_depth=1",
    "model.decoder_heads=1",
)
AS_IT_IS = ("augment.min_fraction=1.0", "augment.max_angles=(0.0, 0.0, 0.0)")


def small(*overrides, bodies="packed", sequences=2):
    variant = Variant("x", variants.in_one_dispatch, bodies=bodies)
    return variants.config_of(variant, sequences, "float32", (*SMALL, *overrides))


def test_many_steps_in_one_dispatch_are_as_many_dispatches():
    config = small()
    together, apart = Program(config, 3), Program(config, 1, 3)
    for program in (together, apart):
        program.warm_up()
        program.time_step()
        assert program.steps == 3
        assert len(program.step_s) == 1
        assert len(program.losses) == 3
    np.testing.assert_allclose(together.losses, apart.losses, rtol=1e-5)
    assert len(set(together.losses)) == 3
    # The compiler counts one step of the loop, however many there are.
    assert together.bytes_accessed == pytest.approx(apart.bytes_accessed, rel=0.1)


def test_a_step_s_time_is_a_share_of_the_dispatches(monkeypatch):
    program = Program.__new__(Program)
    program.steps, program.step_s, program.problem = 4, [], None
    ticks = iter([10.0, 12.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    monkeypatch.setattr(program, "_run", list, raising=False)
    program.time_step()
    assert program.step_s == [0.5]


def test_body_slots_that_are_full_are_packed_bodies(monkeypatch):
    slots = Program(small(*AS_IT_IS, bodies="all"))
    both, lengths = costs.random_batch(small(bodies="all"))
    assert both.shape == (1, 2, 24, 2, 25, 3)
    rows = both.swapaxes(2, 3).reshape(1, 4, 24, 1, 25, 3)
    monkeypatch.setattr(costs, "random_batch", lambda *_: (rows, np.repeat(lengths, 2, axis=1)))
    packed = Program(small(*AS_IT_IS, "batch_size=4"))
    for program in (slots, packed):
        program.warm_up()
    np.testing.assert_allclose(slots.losses, packed.losses, rtol=1e-5)


def test_augmentation_alone():
    config = small(*AS_IT_IS)
    dispatch, first, batch = costs.augmentation(config, 2)
    number, out = dispatch(first, {}, batch)
    assert number == 2
    np.testing.assert_allclose(out["clips"], np.asarray(batch[0])[:, :, :, 0], atol=1e-6)

    dispatch, first, (clips, lengths) = costs.augmentation(small(), 2)
    same = jax.tree.map(lambda x: np.stack([x[0], x[0]]), (np.asarray(clips), np.asarray(lengths)))
    turned = np.asarray(dispatch(first, {}, same)[1]["clips"])
    assert np.abs(turned[0] - turned[1]).max() > 0.01  # drawn anew in every step
    program = Program(small(), 2, make=costs.augmentation)
    program.warm_up()
    assert program.losses == []


def test_a_step_is_three_forward_passes_of_the_linear_layers_and_little_more():
    # Wide, so that linear layers are most of it.
    wide = ("encoder.width=128", "model.decoder_width=128")
    config = small(*wide, sequences=8)
    linear = costs.linear_flops(registry.build(config), config.batch_size)
    assert 3 * linear < costs.step_flops(config) < 4 * linear
    # Counted before a kernel is chosen: `cudnn` could not be compiled here.
    config = ml_collections.ConfigDict(config.to_dict())
    config.attention_kernel = "cudnn"
    assert 3 * linear < costs.step_flops(config) < 4 * linear
