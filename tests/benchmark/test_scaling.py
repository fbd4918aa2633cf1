"""The cost model of many chips: by hand, against compiled programs, and its command."""

import dataclasses
import itertools
import json

import jax
import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import accelerators, compiled, cost_model, full_size, scaling
from amr_jax.benchmark.accelerators import Links
from amr_jax.benchmark.compiled import Collective
from amr_jax.errors import UserError
from amr_jax.run import sharding
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL

WORK = cost_model.Work(
    flops=4e12,
    fixed_bytes=1e9,
    body_bytes=2e9,
    parameters=50e6,
    split=48e6,
    gathers=3,
)
SWITCH = Links(
    bandwidth=100e9,
    axes=0,
    wraps=0,
    domain=8,
    network=10e9,
    start_s=1e-3,
    hop_s=1e-4,
    network_hop_s=5e-4,
)
# Wide enough that fsdp splits its matrices.
WIDE = (*SMALL, "encoder.width=64", "model.decoder_width=64")
TORUS = dataclasses.replace(SWITCH, axes=2, wraps=4, domain=256, network=0.0)
CHIP = accelerators.Accelerator("a chip", "cuda", 2e12, 1e9, 1e9, "1", SWITCH)


def test_one_chip_and_four_by_hand():
    # 8 bodies: 32 TFLOP at 2 per second, 17 GB at 1 per second; no exchange.
    one = cost_model.times(WORK, 8, 1, 1, CHIP)
    assert one == cost_model.Times(16.0, 17.0, 0.0)
    assert one.step_s == one.hidden_s == 17.0
    # Gradients of 50 MB twice round a ring of 4, 3/4 of them each time, at 100 GB/s; a start, and
    # twice 3 hops.
    four = cost_model.times(WORK, 8, 4, 1, CHIP)
    assert (four.compute_s, four.memory_s) == (4.0, 5.0)
    assert four.exchange_s == pytest.approx(75e6 / 100e9 + 1e-3 + 6e-4)
    assert four.step_s == 5.0 + four.exchange_s
    assert four.hidden_s == 5.0


def test_exchanges_by_hand():
    assert cost_model.exchanged(WORK, 1, 1) == []
    assert cost_model.exchanged(WORK, 8, 1) == [Collective("all-reduce", 8, 50e6)]
    assert cost_model.exchanged(WORK, 2, 4) == [
        Collective("all-gather", 4, 16e6, 3),
        Collective("reduce-scatter", 4, 48e6),
        Collective("all-reduce", 2, 12e6),
        Collective("all-reduce", 8, 2e6),
    ]


def test_beyond_a_domain_by_hand():
    # 64 MB once: 7/8 of it among 8 chips at 100 GB/s, 3/4 of an eighth among 4 domains at 10.
    found = cost_model.exchange_s(Collective("all-gather", 32, 64e6), SWITCH)
    assert found == pytest.approx(56e6 / 100e9 + 6e6 / 10e9 + 1e-3 + 7e-4 + 2 * 5e-4)
    with pytest.raises(UserError, match="found 512; links join at most 256 chips"):
        cost_model.exchange_s(Collective("all-gather", 512, 64e6), TORUS)


def test_a_torus_by_hand():
    assert cost_model.sides(128, 2) == [16, 8]
    assert cost_model.sides(256, 3) == [8, 8, 4]
    # 4 × 4, both rings: all links, at most 2 + 2 hops away.
    ring = cost_model.exchange_s(Collective("all-reduce", 16, 16e6), TORUS)
    assert ring == pytest.approx(30e6 / 100e9 + 1e-3 + 8e-4)
    # 4 × 2, one a line: half of the links, 2 + 1 hops.
    line = cost_model.exchange_s(Collective("all-reduce", 8, 16e6), TORUS)
    assert line == pytest.approx(28e6 / 50e9 + 1e-3 + 6e-4)


@pytest.mark.parametrize("kind", ["h200", "v5p"])
@pytest.mark.parametrize("all_fsdp", [False, True])
def test_more_chips_compute_less_each_and_exchange_no_less(kind, all_fsdp):
    chip = accelerators.ACCELERATORS[kind]
    meshes = [(1, n) if all_fsdp else (n, 1) for n in scaling.CHIPS]
    found = [cost_model.times(WORK, 256, *mesh, chip) for mesh in meshes]
    sent = [compiled.sent(cost_model.exchanged(WORK, *mesh)) for mesh in meshes]
    assert found[0].exchange_s == sent[0] == 0
    assert sorted(sent) == sent
    assert sent[-1] <= WORK.parameters * 3  # whatever n
    for smaller, larger in itertools.pairwise(found):
        assert larger.compute_s < smaller.compute_s
        assert larger.memory_s < smaller.memory_s
        assert larger.hidden_s <= larger.step_s


def test_a_compiled_program_exchanges_what_the_model_predicts():
    fsdp = 4  # data-parallel alone: test_aot.py
    config = full_size.config_of(full_size.Row("amr", "amr"), 8, "float32", "xla", WIDE)
    mesh = sharding.make_mesh(jax.devices()[:8], fsdp)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    counted = compiled.collectives(dispatch.lower(state, {}, batch).compile().as_text())
    work = cost_model.work_of(config, (0.0, 0.0))
    # In encoder and decoder qkv, proj, fc1, fc2, embed, q, kv and pred; all else is small.
    kernels = 64 * 64 * (3 + 1 + 4 + 4) + 64 * 64 * (1 + 1 + 2 + 1 + 4 + 4) + 64 * 72
    assert (work.gathers, work.split) == (11, 4 * kernels)
    assert cost_model.work_of(config, (0.0, 0.0), "cuda").gathers == 3
    modelled = cost_model.exchanged(work, 8 // fsdp, fsdp)
    # XLA for CPUs has no reduce-scatter: every chip sums the whole array, and keeps its part.
    modelled = [
        dataclasses.replace(c, kind=c.kind.replace("reduce-scatter", "all-reduce"))
        for c in modelled
    ]
    assert {c.kind for c in counted} == {"all-reduce", "all-gather"}
    # The gradients of the decoder's queries and of their positions, 1.5 % of this small model, are
    # summed as one; a few metrics are summed on top.
    for kind in ("all-reduce", "all-gather"):
        ours, theirs = (
            compiled.sent(c for c in found if c.kind == kind) for found in (modelled, counted)
        )
        assert theirs == pytest.approx(ours, rel=0.02)


@pytest.fixture
def small(monkeypatch):
    """A step of 1 GFLOP per body, which is not lowered."""
    monkeypatch.setattr(costs, "step_flops", lambda config: 1e9 * config.batch_size)


def test_a_run(small, tmp_path, monkeypatch, capsys):
    file = tmp_path / "out.json"
    monkeypatch.setattr(scaling, "CHIPS", (1, 4))
    flags = ["--targets=v5e", "--bytes=1e9,125e6", f"--json={file}"]
    command.main(["scaling", *flags, *(f"--override={text}" for text in WIDE)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "amr, bfloat16, 256 bodies per step; modelled, not measured"
    assert lines[2].startswith("TPU v5e: 0.1 M parameters; 1.00 GFLOPs per body; 1.00 GB moved")
    one, four = (line.split() for line in lines[4:6])
    assert one[:2] == ["1", "256"]
    assert one[4:9] == ["0.000", f"{33e9 / 0.819e12 * 1e3:.2f}", "100%", "100%", "100%"]
    assert four[:2] == ["4", "64"]
    content = json.loads(file.read_text())
    assert content["measured"] is False
    one, four = content["rows"]
    exchange = four["exchange_s"]
    assert four["step_s"] == pytest.approx(9e9 / 0.819e12 + exchange)
    assert four["weak_efficiency"] == one["step_s"] / (33e9 / 0.819e12 + exchange)
    assert four["fsdp_exchange_s"] > exchange


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--targets=v6e"], "--targets=v6e: the bytes that amr moves on this chip are not known"),
        (["--method=none"], "--method = 'none': expected"),
        (["--bytes=1"], "--bytes: found '1'; expected two numbers"),
    ],
)
def test_wrong_flags_end_in_one_message(flags, message, small, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["scaling", *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
