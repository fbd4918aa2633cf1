"""The benchmark of scaling on paper: its inputs, its tables, and what goes wrong."""

import json

import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import accelerators, aot, cost_model, methods, pod
from amr_jax.errors import UserError
from amr_jax.studies import costs
from tests.benchmark.test_methods import tiny

AMR = methods.Row("amr", "amr")


def program(target="v5e:2x2", chips=4, bytes_moved=9e9, **changes):
    """A row as `benchmark aot` writes it, of 256 bodies."""
    row = {
        "target": target,
        "name": "amr",
        "dtype": "bfloat16",
        "overrides": [],
        "problem": None,
        "bodies": 256,
        "chips": chips,
        "fsdp": 1,
        "effort": 0.0,
        "bytes": bytes_moved,
        "sent": 30e6,
        "collectives": {"all-reduce": {"times": 2, "size": 20e6, "sent": 30e6}},
        "memory": {"peak": 1.25e9},
    }
    return row | changes


def write(path, *rows):
    path.write_text(json.dumps({"rows": rows}))
    return path


def request(kind="v5e", row=AMR, dtype="bfloat16", overrides=()):
    target = accelerators.parse(kind)
    return aot.Request(target, row, "xla", 256, dtype, overrides=overrides)


def error(*flags):
    with pytest.raises(SystemExit) as ended:
        command.main(["pod", *flags])
    assert ended.value.code == 2


@pytest.fixture
def small(monkeypatch):
    """A method that needs no compiling: 1 GFLOP a body."""
    monkeypatch.setattr(methods, "config_of", tiny(methods.config_of))
    monkeypatch.setattr(costs, "step_flops", lambda config: 1e9 * config.batch_size)


def test_bytes_come_from_data_parallel_programs_of_the_chip_at_two_sizes():
    v5e = accelerators.parse("v5e")
    programs = [
        program(chips=4, bytes_moved=9e9),  # 64 bodies a chip
        program(chips=64, bytes_moved=1.5e9),  # 4
        program(chips=16, bytes_moved=77e9, fsdp=4),
        program("v5p:2x2x1", bytes_moved=99e9),
    ]
    fixed, body = pod.memory_of(v5e, request(), programs)
    assert (fixed, body) == pytest.approx((1e9, 125e6))
    # What was compiled with less effort than others does not count.
    least = program(chips=1, bytes_moved=99e9, effort=-1.0)
    assert pod.memory_of(v5e, request(), [*programs, least]) == (fixed, body)
    # One alone makes no line: what was counted for the default, and for nothing else.
    assert pod.memory_of(v5e, request(), programs[:1]) == pod.COUNTED["v5e"]
    for other in ({"dtype": "float32"}, {"row": methods.Row("mamp", "mamp")}):
        with pytest.raises(UserError, match=r"--targets=v5e: how many bytes .* with --bodies=256"):
            pod.memory_of(v5e, request(**other), programs[:1])


def test_programs_of_another_step_are_left_out(tmp_path):
    others = [{"name": "mamp"}, {"dtype": "float32"}, {"overrides": ["encoder.depth=4"]}]
    others.append({"problem": "broken"})
    path = write(tmp_path / "a.json", program(), *(program(**other) for other in others))
    assert pod.read(path, request()) == [program()]


def test_work_is_counted_on_the_config(small):
    config = methods.config_of(AMR, 2, "bfloat16", "xla")
    config.encoder.width = config.model.decoder_width = 64
    work = pod.work_of(config, (3.0, 4.0))
    assert (work.flops, work.fixed_bytes, work.body_bytes, work.gradients) == (1e9, 3.0, 4.0, 0.5)
    # Of one block each: in the encoder qkv, proj, fc1, fc2; in the decoder embed, q, kv, proj, fc1,
    # fc2, pred; everything else is small.
    d = 64
    kernels = [3 * d * d, d * d, 4 * d * d, 4 * d * d]
    kernels += [d * d, d * d, 2 * d * d, d * d, 4 * d * d, 4 * d * d, d * 72]
    assert (work.gathers, work.split) == (11, 4 * sum(kernels))
    assert work.parameters > work.split
    assert pod.work_of(config, (3.0, 4.0), "cuda").gathers == 3


def test_entries_by_hand(small):
    work = cost_model.Work(1e9, 1e9, 1e8, 40e6, 40e6, 1, 0.5)
    one, four = pod.scaled(work, "v5p", [1, 4], 256, "bfloat16")
    assert one["data"]["step_s"] == pytest.approx((1e9 + 256e8) / 2.765e12)
    assert one["data"]["efficiency"] == one["fsdp"]["weak_efficiency"] == 1.0
    exchange = four["data"]["exchange_s"]
    assert four["data"]["step_s"] == pytest.approx((1e9 + 64e8) / 2.765e12 + exchange)
    weak = four["data"]["weak_step_s"]
    assert weak == pytest.approx((1e9 + 256e8) / 2.765e12 + exchange)
    assert four["data"]["weak_efficiency"] == one["data"]["step_s"] / weak
    assert four["fsdp"]["exchange_s"] > exchange


def test_a_run(small, tmp_path, capsys):
    first = write(tmp_path / "a.json", program(chips=4, bytes_moved=9e9))
    second = write(tmp_path / "b.json", program("v5e:8x8", 64, 1.5e9), program("h200:1", 1))
    file = tmp_path / "out.json"
    command.main(
        ["pod", "--targets=v5e", "--chips=1,4,64", f"--aot={first},{second}", f"--json={file}"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "amr, bfloat16, 256 bodies a step; modelled, not measured"
    assert lines[2].startswith("TPU v5e: 0.0 M parameters; a body takes 1.00 GFLOPs; 1.00 GB are")
    table = [line.split() for line in lines[4:7]]
    assert [row[:2] for row in table] == [["1", "256"], ["4", "64"], ["64", "4"]]
    assert table[0][4:9] == ["0.000", f"{33e9 / 0.819e12 * 1e3:.2f}", "100%", "100%", "100%"]
    assert lines[7].startswith("data-parallel: half of every chip's speed or more up to")
    content = json.loads(file.read_text())
    assert content["measured"] is False
    assert content["work"]["v5e"]["body_bytes"] == pytest.approx(125e6)
    # Of programs for kinds of chips that were not asked for, nothing is said.
    assert [check["chips"] for check in content["checks"]] == [4, 64]
    check = content["checks"][0]
    assert check["bytes"] == pytest.approx(check["bytes_counted"])
    assert check["collectives_counted"] == {"all-reduce": 2}


def test_what_is_not_known_is_an_error(small, tmp_path, capsys):
    error("--targets=v6e")
    assert "--targets=v6e: how many bytes amr moves in bfloat16" in capsys.readouterr().err
    error("--targets=v5e", "--chips=3")
    assert "--chips: found 3; slices of a torus have 1, 2, 4" in capsys.readouterr().err
    error("--method=none")
    assert "unknown 'none'" in capsys.readouterr().err
    (tmp_path / "other.json").write_text('{"points": []}')
    for name in ("absent.json", "other.json"):
        error(f"--aot={tmp_path / name}")
        assert "expected a file that `benchmark aot --json` has written" in capsys.readouterr().err
    error("--chips=1,x")
    assert "argument --chips: found 'x'; expected a whole number" in capsys.readouterr().err
