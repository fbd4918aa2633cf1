"""The cost model: by hand, its properties, and against programs for simulated devices."""

import dataclasses
import itertools

import jax
import pytest

from amr_jax.benchmark import accelerators, collectives, cost_model, methods, pod
from amr_jax.benchmark.accelerators import Interconnect
from amr_jax.benchmark.collectives import Collective
from amr_jax.errors import UserError
from amr_jax.run import sharding
from amr_jax.studies import costs

WORK = cost_model.Work(
    flops=4e12,
    fixed_bytes=1e9,
    body_bytes=2e9,
    parameters=100e6,
    split=96e6,
    gathers=3,
    gradients=0.5,
)
SWITCH = Interconnect(
    bandwidth=100e9,
    axes=0,
    wraps=0,
    domain=8,
    network=10e9,
    start_s=1e-3,
    hop_s=1e-4,
    network_hop_s=5e-4,
)
TORUS = dataclasses.replace(SWITCH, axes=2, wraps=4, domain=256, network=0.0)
CHIP = accelerators.Accelerator("a chip", "cuda", {"float32": 2e12}, 1e9, 1e9, "1", SWITCH)


def times(bodies, data, fsdp=1, work=WORK):
    return cost_model.times(work, bodies, data, fsdp, CHIP, "float32")


def test_one_chip_by_hand():
    # 8 bodies: 32 TFLOP at 2 a second, 17 GB at 1 a second; nobody to talk to.
    found = times(8, 1)
    assert found == cost_model.Times(16.0, 17.0, 0.0)
    assert found.step_s == found.hidden_s == 17.0


def test_data_parallel_by_hand():
    # Gradients of 50 MB twice round a ring of 4, 3/4 of them each time, at 100 GB/s; a start, and
    # twice 3 hops.
    found = times(8, 4)
    assert (found.compute_s, found.memory_s) == (4.0, 5.0)
    assert found.exchange_s == pytest.approx(75e6 / 100e9 + 1e-3 + 6e-4)
    assert found.step_s == 5.0 + found.exchange_s
    assert found.hidden_s == 5.0
    assert cost_model.efficiency(17.0, 4, 5.0) == pytest.approx(0.85)


def test_what_is_exchanged_by_hand():
    assert cost_model.exchanged(WORK, 1, 1) == []
    assert cost_model.exchanged(WORK, 8, 1) == [Collective("all-reduce", 8, 50e6)]
    assert cost_model.exchanged(WORK, 2, 4) == [
        Collective("all-gather", 4, 32e6, 3),  # float32
        Collective("reduce-scatter", 4, 48e6),
        Collective("all-reduce", 2, 12e6),
        Collective("all-reduce", 8, 2e6),
    ]
    # Over all chips: 3/2 of what data-parallel sends with gradients of 16 bits, (2 + 1) / 2.
    sent = collectives.sent(cost_model.exchanged(dataclasses.replace(WORK, split=100e6), 1, 8))
    assert sent == pytest.approx(7 / 8 * (100e6 + 50e6))


def test_beyond_a_domain_by_hand():
    # 64 MB once: 7/8 of it among 8 chips at 100 GB/s, 3/4 of an eighth among 4 domains at 10.
    found = cost_model.exchange_s(Collective("all-gather", 32, 64e6), SWITCH)
    assert found == pytest.approx(56e6 / 100e9 + 6e6 / 10e9 + 1e-3 + 7e-4 + 2 * 5e-4)
    with pytest.raises(UserError, match="found 512; of this kind of chip, 256 at most are joined"):
        cost_model.exchange_s(Collective("all-gather", 512, 64e6), TORUS)


def test_a_torus_by_hand():
    assert cost_model.sides(1, 2) == [1, 1]
    assert cost_model.sides(128, 2) == [16, 8]
    assert cost_model.sides(256, 3) == [8, 8, 4]
    with pytest.raises(UserError, match="--chips: found 12"):
        cost_model.sides(12, 2)
    # 4 × 4, both rings: all links, at most 2 + 2 hops away.
    ring = cost_model.exchange_s(Collective("all-reduce", 16, 16e6), TORUS)
    assert ring == pytest.approx(30e6 / 100e9 + 1e-3 + 8e-4)
    # 4 × 2, one a line: half of the links, 2 + 1 hops.
    line = cost_model.exchange_s(Collective("all-reduce", 8, 16e6), TORUS)
    assert line == pytest.approx(28e6 / 50e9 + 1e-3 + 6e-4)


@pytest.mark.parametrize("kind", accelerators.ACCELERATORS)
@pytest.mark.parametrize("all_fsdp", [False, True])
def test_more_chips_never_do_more_each_and_never_exchange_less(kind, all_fsdp):
    chip = accelerators.ACCELERATORS[kind]
    meshes = [(1, n) if all_fsdp else (n, 1) for n in pod.CHIPS]
    found = [cost_model.times(WORK, 256, *mesh, chip, "bfloat16") for mesh in meshes]
    sent = [collectives.sent(cost_model.exchanged(WORK, *mesh)) for mesh in meshes]
    assert found[0].exchange_s == sent[0] == 0
    assert sent[-1] <= WORK.parameters * 1.5  # whatever n
    for smaller, larger in itertools.pairwise(found):
        assert larger.alone_s < smaller.alone_s
        assert larger.exchange_s > 0
    assert sorted(sent) == sent
    for n, step in zip(pod.CHIPS, found, strict=True):
        assert step.hidden_s <= step.step_s
        assert cost_model.efficiency(found[0].step_s, n, step.step_s) <= 1


def test_a_line_through_the_ends():
    assert cost_model.through([(4, 9.0), (1, 3.0), (2, 100.0)]) == (1.0, 2.0)
    with pytest.raises(ValueError, match="all have x = 2"):
        cost_model.through([(2, 1.0), (2, 3.0)])


def test_where_it_stops_paying():
    # Efficiencies 1, 0.8, 0.4; that it were 0.5 again on 8 would be no help.
    assert cost_model.last_that_pays({1: 16.0, 2: 10.0, 4: 10.0, 8: 4.0}) == 2
    assert cost_model.last_that_pays({1: 16.0, 2: 10.0}, least=0.9) == 1


@pytest.mark.parametrize(("devices", "fsdp"), [(2, 1), (8, 1), (8, 4)])
def test_programs_exchange_what_the_model_says(devices, fsdp):
    config = methods.config_of(methods.Row("amr", "amr"), 4, "float32", "xla")
    config.encoder.update(num_frames=24, width=64, depth=1, num_heads=1)
    config.model.update(decoder_width=64, decoder_depth=1, decoder_heads=1)
    mesh = sharding.make_mesh(jax.devices()[:devices], fsdp)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    counted = collectives.of_program(dispatch.lower(state, {}, batch).compile().as_text())
    work = pod.work_of(config, (0.0, 0.0))
    ours, theirs = map(
        collectives.by_kind,
        (cost_model.exchanged(work, devices // fsdp, fsdp, scatters=False), counted),
    )
    assert ours.keys() == theirs.keys() == {"all-reduce"} | ({"all-gather"} if fsdp > 1 else set())
    # The decoder's queries and their positions, 1.5 % of so small a model, have a gradient in
    # common, which is summed once; a few numbers that the step reports are summed on top.
    for kind, entry in ours.items():
        for what in ("size", "sent"):
            assert theirs[kind][what] == pytest.approx(entry[what], rel=0.02)
