"""`benchmark methods` and `benchmark step`: rows, arithmetic, a small run, and command lines."""

import json
import re
import sys
import types

import jax
import numpy as np
import pytest

import amr_jax.benchmark
from amr_jax import methods as registry
from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import full_size, methods, step, timing
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL
from tests.refusals import refused

PAPER = ["skeleton_mae", "mamp", "sjepa", "gfp", "nat", "nat w/ contrast", "amr"]
SMALL_FLAGS = [f"--override={text}" for text in SMALL]


def test_rows_are_the_methods_and_one_variant(monkeypatch):
    rows = full_size.all_rows()
    further = [name for name in registry.METHODS if name not in PAPER]
    assert {"slim", "stars", "usdrl"} <= set(further)
    assert [row.name for row in rows] == [*PAPER, *further]
    monkeypatch.setitem(registry.METHODS, "anew", registry.MAMP)
    assert [row.name for row in full_size.all_rows()] == [*PAPER, *further, "anew"]
    selected = full_size.select(rows, "amr,gfp", "--methods", "mamp")
    assert [row.name for row in selected] == ["mamp", "gfp", "amr"]
    (contrast,) = full_size.select(rows, "nat w/ contrast", "--methods")
    config = full_size.config_of(contrast, 2, "float32", "xla", ["encoder.depth=3", "fsdp=4"])
    assert (config.model.contrast, config.encoder.depth, config.fsdp) == (0.1, 3, 4)


def on_a_gpu(monkeypatch):
    gpu = types.SimpleNamespace(device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "devices", lambda: [gpu])


def test_kernels_of_a_device(monkeypatch):
    assert full_size.kernels("bfloat16") == ("blocks",)
    on_a_gpu(monkeypatch)
    assert full_size.kernels("bfloat16") == ("xla", "cudnn")
    assert full_size.kernels("float32") == ("blocks",)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert full_size.kernels("float32") == ("xla", "fused")


def test_methods_are_compared_with_mamp_and_the_same_kernel(monkeypatch):
    on_a_gpu(monkeypatch)
    rows = full_size.select(full_size.all_rows(), "nat", "--methods", "mamp")
    mamp, mamp_cudnn, nat, nat_cudnn = methods.variants_of(rows, 4, "bfloat16", SMALL)
    assert (nat.base, nat_cudnn.base) == (mamp, mamp_cudnn)
    assert (nat.bodies, nat.sequences, nat_cudnn.config.attention_kernel) == (8, 4, "cudnn")
    mamp.step_s, mamp.memory_bytes = [1.0, 3.0], 30
    nat.step_s, nat.memory_bytes = [2.0, 3.0], 15
    nat_cudnn.problem = timing.OUT_OF_MEMORY
    entry = nat.entry()
    assert (entry["ratio"], entry["memory_ratio"]) == (1.5, 0.5)
    assert entry["step_s_quartiles"] == [2.25, 2.75]
    assert methods.COLUMNS["ms"](entry) == "2,500.0"
    assert methods.COLUMNS["ms"](nat_cudnn.entry()) == "out of memory"
    json.dumps(entry, allow_nan=False)


def test_a_run_of_methods(tmp_path, monkeypatch, capsys):
    def measure(variants, steps, num_rounds):
        assert (steps, num_rounds) == (1, 3)
        for each in variants:
            each.step_s, each.memory_bytes = [1.0, 2.0, 3.0], 30

    monkeypatch.setattr(timing, "measure", measure)
    monkeypatch.setattr(costs, "forward_flops", lambda method, bodies: 7e9)  # saves compiling
    file = tmp_path / "out.json"
    flags = ["--methods=amr", "--sequences=2", "--rounds=3", f"--json={file}"]
    command.main(["methods", *flags, *SMALL_FLAGS])
    head, *lines = capsys.readouterr().out.splitlines()
    assert "device GB" not in head  # a CPU's allocator has no statistics
    assert [line.split()[0] for line in lines[:2]] == ["mamp", "amr"]
    content = json.loads(file.read_text())
    assert content["benchmark"] == "methods"
    assert content["versions"]["jax"] == jax.__version__
    mamp, amr = content["rows"]
    assert mamp["ratio"] == mamp["memory_ratio"] == 1
    assert (amr["bodies"], amr["compiler_gflops"]) == (4, 7)
    assert amr["linear_gflops"] < mamp["linear_gflops"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_variants_of_a_cpu_and_of_a_gpu():
    names = ["default", "one step a dispatch", "all body slots", "augmentation", "mamp"]
    assert [row.name for row in step.all_variants(4, "float32")] == names
    rows = step.all_variants(4, "bfloat16", (), ("xla", "cudnn"), with_torch=True)
    more = ["amr w/ cudnn", "augmentation", "mamp", "mamp w/ cudnn"]
    torch = ["torch amr", "torch amr w/ compile", "torch mamp", "torch mamp w/ compile"]
    torch.append("torch mamp w/ explicit attention")
    assert [row.name for row in rows] == [*names[:3], *more, *torch]
    assert [row.name for row in rows if row.framework == "torch"] == torch
    assert [row.config.attention_kernel for row in rows].count("cudnn") == 2


def test_packed_bodies_and_slots_hold_the_same_sequences():
    default, _, slots, *_ = step.all_variants(100, "float32")
    assert (default.config.batch_size, default.bodies) == (117, 117)
    assert (slots.config.batch_size, slots.bodies) == (100, 200)
    assert default.sequences == pytest.approx(slots.sequences) == 100
    default.step_s, slots.step_s = [1.0, 1.0, 1.0], [2.0, 3.0, 2.0]
    assert slots.entry()["ratio"] == pytest.approx(2)


def test_rates_of_steps_by_hand():
    default, _, _, augmentation, mamp = step.all_variants(100, "float32", SMALL)
    sizes = (mamp.config, mamp.sequences)
    torch = timing.Variant("torch mamp", *sizes, base=default, framework="torch")
    for each in (default, augmentation, torch):
        each.step_s = [4.0, 2.0, 2.0]
    found = step.rates(default, rate=1e9)
    assert found["sequences_per_s"] == pytest.approx(50)
    assert found["epochs_s"] == pytest.approx(400 * 40_091 / 50)
    linear = costs.linear_flops(registry.build(default.config), 117)
    assert found["mfu"] == 3 * linear / 2 / 1e9
    assert step.rates(torch, 1e9).keys() == {"sequences_per_s", "epochs_s"}
    assert step.rates(augmentation, 1e9) == step.rates(mamp, 1e9) == {}


def test_a_small_run_of_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(step.MATMUL_SIZES, "cpu", (16, 32))
    file = tmp_path / "out.json"
    flags = ["--sequences=2", "--steps=2", "--rounds=3", "--variants=augmentation"]
    command.main(["step", *flags, *SMALL_FLAGS, f"--json={file}"])
    text = capsys.readouterr().out.splitlines()
    sizes = "2 bodies per step, 2 steps at once; T 24, V 25, width 8, 1 blocks; "
    assert text[0].startswith(f"cpu, float32: 1.71 sequences, {sizes}")
    table = text[text.index("round 3/3") + 1 :]
    assert [line.split()[0] for line in table[:3]] == ["step", "default", "augmentation"]
    content = json.loads(file.read_text())
    assert content["steps"] == 2
    assert content["matmul_flops_per_s"] > 0
    default, augmentation = content["rows"]
    assert default["ratio"] == 1
    assert "mfu" not in augmentation
    assert len(default["step_s"]) == 3
    assert min(default["step_s"]) > 0
    assert default["mfu"] > 0
    assert default["memory_bytes"] > 0


def test_augmentation_alone_draws_anew_in_every_step():
    row = full_size.Row("amr", "amr")
    config = full_size.config_of(row, 2, "float32", "xla", SMALL)
    dispatch, first, (clips, lengths) = costs.augmentation(config, 2)
    same = jax.tree.map(lambda x: np.stack([x[0], x[0]]), (np.asarray(clips), np.asarray(lengths)))
    number, out = dispatch(first, {}, same)
    assert number == 2
    turned = np.asarray(out["clips"])
    assert np.abs(turned[0] - turned[1]).max() > 0.01


def test_without_torch_the_flag_reports_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "amr_jax.benchmark.torch_step", raising=False)
    monkeypatch.delattr(amr_jax.benchmark, "torch_step", raising=False)
    with pytest.raises(SystemExit) as ended:
        command.main(["step", "--torch"])
    assert ended.value.code == 2
    assert "error: --torch: PyTorch is not installed; pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "WHAT is missing: one of methods, step"),
        (["method"], "WHAT = 'method': expected .* mean 'methods'"),
        (["methods", "--round=3"], "--round=3: unknown flag. Did you mean --rounds"),
        (["methods", "--rounds=0"], "--rounds: 0: expected at least 1"),
        (["methods", "--dtype=float16"], "--dtype: invalid choice: 'float16'"),
        (["methods", "--methods=mampp"], "--methods = 'mampp': expected .* mean 'mamp'"),
        (["methods", "--json=/nowhere/a.json"], "--json: found '/nowhere/a.json'; expected a file"),
        (["step", "--variants=torch mamp"], "--variants = 'torch mamp': expected 'default'"),
        (["step", "--override=depth"], "--override=depth: expected KEY=VALUE"),
        (["step", "--override=encoder.depth=x"], "--override=encoder.depth=x: expected .* int"),
    ],
)
def test_wrong_command_lines(arguments, message, capsys):
    error = refused(capsys, command.main, arguments)
    assert re.search(message, error), error


def test_an_interrupted_run_leaves_no_file(tmp_path, monkeypatch, capsys):
    def measure(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(timing, "measure", measure)
    with pytest.raises(SystemExit) as ended:
        command.main(["methods", f"--json={tmp_path / 'out.json'}"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted.\n"
    assert list(tmp_path.iterdir()) == []
