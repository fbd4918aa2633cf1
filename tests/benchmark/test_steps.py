"""`benchmark methods` and `benchmark step`: rows, arithmetic, and a small run of each."""

import json
import re
import sys
import types

import jax
import pytest

import amr_jax.benchmark
from amr_jax import methods as registry
from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import full_size, methods, options, output, step, timing
from amr_jax.errors import UserError
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL, tiny

PAPER = ["skeleton_mae", "mamp", "sjepa", "gfp", "nat", "nat w/ contrast", "amr"]
VARIANTS = step.all_variants(["xla"], with_torch=False)
SMALL_FLAGS = [f"--override={text}" for text in SMALL]


def test_rows_are_the_methods_and_one_variant(monkeypatch):
    assert [row.name for row in full_size.all_rows()] == PAPER
    monkeypatch.setitem(registry.METHODS, "anew", registry.MAMP)
    assert [row.name for row in full_size.all_rows()] == [*PAPER, "anew"]
    assert [row.name for row in full_size.select("amr,gfp", "mamp")] == ["mamp", "gfp", "amr"]
    with pytest.raises(UserError, match="unknown 'mampp'; expected some of: skeleton_mae, mamp"):
        full_size.select("amr,mampp")
    (contrast,) = full_size.select("nat w/ contrast")
    config = full_size.config_of(contrast, 2, "float32", "xla", ["encoder.depth=3"], fsdp=4)
    assert (config.model.contrast, config.encoder.depth, config.fsdp) == (0.1, 3, 4)
    with pytest.raises(UserError, match=r"--override=encoder\.size: unknown key"):
        full_size.config_of(contrast, 2, "float32", "xla", ["encoder.size=3"])


def test_kernels_of_a_device(monkeypatch):
    assert full_size.kernels("all", "bfloat16") == full_size.kernels("xla", "float32") == ["xla"]
    with pytest.raises(UserError, match="cudnn on cpu in bfloat16: it needs an NVIDIA GPU"):
        full_size.kernels("cudnn", "bfloat16")
    gpu = types.SimpleNamespace(device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "devices", lambda: [gpu])
    assert full_size.kernels("all", "bfloat16") == ["xla", "cudnn"]
    assert full_size.kernels("all", "float32") == ["xla"]


def timed(step_s, memory_bytes=None, problem=None):
    """A step as if it had been timed."""
    found = timing.TimedStep(1)
    found.step_s, found.memory_bytes, found.problem = step_s, memory_bytes, problem
    return found


def test_methods_are_compared_with_mamp_and_the_same_kernel():
    mamp, nat = full_size.Row("mamp", "mamp"), full_size.Row("nat", "nat")
    found = methods.summary(
        [
            methods.Measured(mamp, "xla", timed([1.0, 3.0], 30), 1, 2),
            methods.Measured(mamp, "cudnn", timed([0.5, 0.5], 20), 1, 2),
            methods.Measured(nat, "xla", timed([2.0, 3.0], 15), 1, 2),
            methods.Measured(nat, "cudnn", timed([], None, "out of memory"), 1, 2),
        ]
    )
    assert [row["step_ratio"] for row in found] == [1, 1, 1.5, None]
    assert [row["memory_ratio"] for row in found] == [1, 1, 0.5, None]
    assert found[2]["step_s_quartiles"] == [2.25, 2.75]
    lines = output.table(found, methods.COLUMNS).splitlines()
    assert ["out of memory" in line for line in lines] == [False, False, False, False, True]
    json.dumps(found, allow_nan=False)


def test_a_small_run_of_methods(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "config_of", tiny(full_size.config_of))
    monkeypatch.setattr(costs, "forward_flops", lambda method, bodies: 7e9)  # saves compiling
    file = tmp_path / "out.json"
    command.main(["methods", "--methods=amr", "--sequences=2", "--rounds=3", f"--json={file}"])
    text = capsys.readouterr().out.splitlines()
    assert text[0] == "cpu, float32: 2 × 2 bodies per step; T 24, V 25, width 8, 1 blocks"
    table = text[text.index("round 3/3") + 1 :]
    assert "device GB" not in table[0]  # a CPU's allocator has no statistics
    assert [line.split()[0] for line in table[1:3]] == ["mamp", "amr"]
    content = json.loads(file.read_text())
    assert content["benchmark"] == "methods"
    assert content["versions"]["jax"] == jax.__version__
    assert content["settings"]["bodies"] == 4
    mamp, amr = content["rows"]
    assert mamp["step_ratio"] == mamp["memory_ratio"] == 1
    for row in (mamp, amr):
        assert len(row["step_s"]) == 3
        assert min(row["step_s"]) > 0
        assert row["memory_bytes"] > 0
        assert row["compiler_gflops"] == 7
    assert amr["linear_gflops"] < mamp["linear_gflops"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_variants_of_a_cpu_and_of_a_gpu():
    names = ["default", "one step a dispatch", "all body slots", "augmentation", "mamp"]
    assert [row.name for row in VARIANTS] == names
    rows = step.all_variants(["xla", "cudnn"], with_torch=True)
    more = ["amr w/ cudnn", "augmentation", "mamp", "mamp w/ cudnn", "torch mamp"]
    assert [row.name for row in rows] == [*names[:3], *more, "torch mamp w/ fused attention"]
    assert {row.attention for row in step.all_variants(["cudnn"], False)} == {"cudnn"}
    selected = [row.name for row in step.select(VARIANTS, "mamp, all body slots")]
    assert selected == ["default", "all body slots", "mamp"]


def test_packed_bodies_and_slots_hold_the_same_sequences():
    packed = step.config_of(VARIANTS[0], 100, "float32")
    slots = step.config_of(VARIANTS[2], 100, "float32")
    assert (packed.input.bodies, packed.batch_size, step.bodies_of(packed)) == ("packed", 117, 117)
    assert (slots.input.bodies, slots.batch_size, step.bodies_of(slots)) == ("all", 100, 200)
    assert step.sequences_of(packed) == pytest.approx(100)
    assert step.sequences_of(slots) == 100


def test_the_summary_of_steps_by_hand(monkeypatch):
    def measured(name, build, step_s, bodies="packed", problem=None):
        row = step.Variant(name, build, bodies=bodies)
        config = step.config_of(row, 100, "float32")
        return step.Measured(row, config, timed(step_s, problem=problem))

    monkeypatch.setattr(step, "linear_flops", lambda config: 5e10)
    rows = [
        measured("default", step.in_one_dispatch, [0.4, 0.5, 0.8]),
        measured("all", step.in_one_dispatch, [0.8, 0.5, 1.6], "all"),
        measured("augmentation", step.augmentation_alone, [0.004, 0.005, 0.004]),
        measured("torch mamp", step.in_torch(False), [2.0, 2.0, 2.0]),
        measured("mamp", step.in_one_dispatch, [], problem="out of memory"),
    ]
    found = step.summary(rows, {"flops_per_s": 1e12})
    default, slots, augmentation, torch, mamp = found
    assert default["sequences_per_s"] == pytest.approx(200)
    # 400 · 40,091 sequences at 200 per second; three times 50 GFLOP in half a second.
    assert default["epochs_s"] == pytest.approx(80182)
    assert default["mfu"] == pytest.approx(0.3)
    assert (slots["bodies"], slots["ratio"]) == (200, pytest.approx(2))
    assert augmentation["ratio"] == pytest.approx(0.01)
    assert "sequences_per_s" not in augmentation
    assert torch["ratio"] == pytest.approx(4)
    assert "mfu" not in torch
    assert mamp["ratio"] is None
    lines = output.table(found, step.COLUMNS).splitlines()
    assert re.split(r"  +", lines[1])[3:] == ["450.0–650.0", "1.000", "200.0", "30.0%", "22:16:22"]
    assert ["out of memory" in line for line in lines] == [False] * 5 + [True]
    json.dumps(found, allow_nan=False)


@pytest.fixture
def quick_peak(monkeypatch):
    peak = timing.matmul_peak
    monkeypatch.setattr(timing, "matmul_peak", lambda dtype: peak(dtype, (32,)))


def test_a_small_run_of_steps(tmp_path, quick_peak, capsys):
    file = tmp_path / "out.json"
    flags = ["--sequences=2", "--steps=2", "--rounds=3", "--variants=augmentation"]
    command.main(["step", *flags, *SMALL_FLAGS, f"--json={file}"])
    text = capsys.readouterr().out.splitlines()
    assert text[0] == (
        "cpu, float32: 2 sequences, 2 bodies per step, 2 steps per dispatch; T 24, V 25, width 8, "
        f"1 blocks; {options.usable_cores()} CPU threads"
    )
    table = text[text.index("round 3/3") + 1 :]
    assert [line.split()[0] for line in table[:3]] == ["step", "default", "augmentation"]
    content = json.loads(file.read_text())
    assert content["settings"]["override"] == list(SMALL)
    assert content["peaks"]["matmul_size"] == 32
    default, augmentation = content["rows"]
    assert default["ratio"] == 1
    assert augmentation["losses"] == []
    assert "mfu" not in augmentation
    assert len(default["losses"]) == 2
    assert len(default["step_s"]) == 3
    assert default["mfu"] > 0
    assert default["memory_bytes"] > 0


def test_a_small_run_beside_torch(tmp_path, quick_peak, capsys):
    pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")
    file = tmp_path / "out.json"
    rows = "--variants=torch mamp,torch mamp w/ fused attention"
    command.main(
        ["step", "--torch", "--sequences=2", "--rounds=2", rows, *SMALL_FLAGS, f"--json={file}"]
    )
    assert re.search(r"PyTorch \S+ on cpu: float32, .* CPU threads", capsys.readouterr().out)
    default, explicit, fused = json.loads(file.read_text())["rows"]
    assert default["bodies"] == explicit["bodies"] == fused["bodies"]
    for row in (explicit, fused):
        assert len(row["step_s"]) == len(row["losses"]) == 2
        assert row["ratio"] > 0


def test_without_torch_the_flag_reports_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "amr_jax.benchmark.torch_mamp", raising=False)
    monkeypatch.delattr(amr_jax.benchmark, "torch_mamp", raising=False)
    with pytest.raises(SystemExit) as ended:
        command.main(["step", "--torch"])
    assert ended.value.code == 2
    assert "error: --torch: PyTorch is not installed; pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "WHAT is missing: one of methods, step"),
        (["method"], "'method': expected one of: methods, .*Did you mean methods"),
        (["methods", "--round=3"], "--round=3: unknown flag. Did you mean --rounds"),
        (["methods", "--rounds=0"], "--rounds: found '0'; expected a whole number of at least 1"),
        (["methods", "--dtype=float16"], "--dtype: invalid choice: 'float16'"),
        (["methods", "--methods=mampp"], "--methods: unknown 'mampp'"),
        (["methods", "--attention=cudnn"], "--attention=cudnn on cpu"),
        (["methods", "--json=/nowhere/a.json"], "--json: found '/nowhere/a.json'; expected a file"),
        (["step", "--variants=torch mamp"], "--variants = 'torch mamp': expected 'default'"),
        (["step", "--override=depth"], "--override=depth: expected KEY=VALUE"),
        (["step", "--override=encoder.depth=x"], "--override=encoder.depth=x: expected .* int"),
    ],
)
def test_wrong_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error), error


def test_an_interrupted_run_leaves_no_file(tmp_path, monkeypatch, capsys):
    def measure(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "measure", measure)
    with pytest.raises(SystemExit) as ended:
        command.main(["methods", f"--json={tmp_path / 'out.json'}"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted.\n"
    assert list(tmp_path.iterdir()) == []
