"""The benchmark of the step: its variants, its arithmetic, and one small run."""

import json
import re
import sys
import types

import jax
import pytest

import amr_jax.benchmark
from amr_jax import methods as registry
from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import options, roofline, step, variants
from amr_jax.benchmark.methods import DATASET
from amr_jax.benchmark.variants import Variant
from amr_jax.errors import UserError
from tests.benchmark.test_program import SMALL
from tests.config.test_configs import get_config

ROWS = variants.all_variants(["xla"], with_torch=False)
SMALL_FLAGS = [f"--override={text}" for text in SMALL]


def test_rows_of_a_cpu_and_of_a_gpu():
    names = ["default", "one step a dispatch", "all body slots", "augmentation", "mamp"]
    assert [row.name for row in ROWS] == names
    rows = variants.all_variants(["xla", "cudnn"], with_torch=True)
    more = ["amr w/ cudnn", "augmentation", "mamp", "mamp w/ cudnn", "torch mamp"]
    assert [row.name for row in rows] == [*names[:3], *more, "torch mamp w/ fused attention"]
    assert {row.name for row in rows if row.attention == "cudnn"} == {more[0], more[3]}
    # Of one kernel alone, it is the default's too.
    assert {row.attention for row in variants.all_variants(["cudnn"], False)} == {"cudnn"}


def test_the_default_is_always_measured():
    names = [row.name for row in variants.select(ROWS, "mamp, all body slots")]
    assert names == ["default", "all body slots", "mamp"]
    assert variants.select(ROWS, "all") == ROWS
    with pytest.raises(UserError, match="--variants = 'amr': expected 'default', 'one step"):
        variants.select(ROWS, "amr")


@pytest.mark.parametrize("method", ["amr", "mamp"])
def test_the_model_is_that_of_the_configs(method):
    ours = variants.config_of(Variant("x", variants.in_one_dispatch, method), 128, "float32")
    theirs = get_config(method, DATASET)
    theirs.dtype = "float32"
    assert registry.build(ours) == registry.build(theirs)
    for section in ("input", "augment", "optim"):
        assert ours[section] == theirs[section]


def test_packed_bodies_and_slots_hold_the_same_sequences():
    packed = variants.config_of(ROWS[0], 100, "float32")
    slots = variants.config_of(ROWS[2], 100, "float32")
    assert (packed.input.bodies, packed.batch_size, step.bodies_of(packed)) == ("packed", 117, 117)
    assert (slots.input.bodies, slots.batch_size, step.bodies_of(slots)) == ("all", 100, 200)
    assert variants.sequences_of(packed) == pytest.approx(100)
    assert variants.sequences_of(slots) == 100


def test_overrides_reach_every_variant_and_wrong_ones_are_named():
    for row in ROWS:
        assert variants.config_of(row, 2, "float32", ["encoder.depth=3"]).encoder.depth == 3
    with pytest.raises(UserError, match=r"config\.encoder\.size: unknown key"):
        variants.config_of(ROWS[0], 2, "float32", ["encoder.size=3"])


def measured(name, build, step_s, bodies="packed", problem=None, **counted):
    """A row as if it had been measured; 100 sequences a step."""
    row = Variant(name, build, bodies=bodies)
    program = types.SimpleNamespace(
        step_s=step_s,
        problem=problem,
        memory_bytes=None,
        device_bytes=None,
        compile_s=None,
        bytes_accessed=4e9,
        losses=[],
    )
    return step.Measured(row, variants.config_of(row, 100, "float32"), program, **counted)


PEAKS = roofline.Peaks("float32", 1e12, 2048, 1e11, 2**29)


def test_summary_by_hand():
    one = variants.in_one_dispatch
    default, slots, augment, torch = step.summary(
        [
            measured("default", one, [0.4, 0.5, 0.8], forward_flops=5e10, flops=2e11),
            measured("all", one, [0.8, 0.5, 1.6], "all", forward_flops=1e11, flops=4e11),
            measured("augmentation", variants.augmentation_alone, [0.004, 0.005, 0.004]),
            measured("torch mamp", variants.in_torch(False), [2.0, 2.0, 2.0]),
        ],
        PEAKS,
    )
    assert default["step_s_median"] == 0.5
    assert default["step_s_quartiles"] == pytest.approx([0.45, 0.65])
    assert default["ratio"] == pytest.approx(1)
    assert default["sequences_per_s"] == pytest.approx(200)
    # 400 · 40,091 sequences at 200 a second.
    assert default["epochs_s"] == pytest.approx(80182)
    # 200 GFLOP take 0.2 s, 4 GB 0.04 s.
    assert (default["compute_s"], default["memory_s"]) == pytest.approx((0.2, 0.04))
    assert (default["bound"], default["roofline_share"]) == ("compute", pytest.approx(0.4))
    assert default["mfu"] == pytest.approx(0.3)

    assert (slots["bodies"], slots["ratio"]) == (200, pytest.approx(2))
    assert augment["ratio"] == pytest.approx(0.01)
    assert "sequences_per_s" not in augment
    assert torch["ratio"] == pytest.approx(4)
    assert "mfu" not in torch

    lines = step.as_table([default, slots, augment, torch]).splitlines()
    assert re.split(r"  +", lines[1])[3:] == [
        *("450.0–650.0", "1.000", "200.0", "30.0%", "40%", "compute", "22:16:22")
    ]
    assert [line.split()[0] for line in lines[1:]] == ["default", "all", "augmentation", "torch"]


def test_what_does_not_fit_says_so_and_nothing_is_compared_with_it():
    one = variants.in_one_dispatch
    found = step.summary(
        [
            measured("default", one, [], problem="out of memory", forward_flops=1, flops=1.0),
            measured("mamp", one, [1.0], forward_flops=1, flops=1.0),
        ],
        PEAKS,
    )
    assert [row["ratio"] for row in found] == [None, None]
    assert "mfu" not in found[0]
    lines = step.as_table(found).splitlines()
    assert ["out of memory" in line for line in lines] == [False, True, False]
    json.dumps(found, allow_nan=False)


@pytest.fixture
def quick_peaks(monkeypatch):
    measure = roofline.measure
    monkeypatch.setattr(roofline, "measure", lambda dtype: measure(dtype, (32,), 2**12))


def test_a_small_run(tmp_path, quick_peaks, capsys):
    file = tmp_path / "out.json"
    command.main(
        [
            *("step", "--sequences=2", "--steps=2", "--rounds=3", "--variants=augmentation,mamp"),
            *(*SMALL_FLAGS, f"--json={file}"),
        ]
    )
    text = capsys.readouterr().out.splitlines()
    assert text[0] == (
        "cpu, float32: 2 sequences, 2 bodies a step, 2 steps a dispatch; T 24, V 25, width 8, "
        f"1 blocks; {options.usable_cores()} CPU threads"
    )
    table = text[text.index("round 3/3") + 1 :]
    assert [line.split()[0] for line in table[:4]] == ["step", "default", "augmentation", "mamp"]
    assert "EXTRAPOLATED" in table[7]

    content = json.loads(file.read_text())
    assert content["benchmark"] == "step"
    assert content["versions"]["jax"] == jax.__version__
    assert content["settings"]["override"] == list(SMALL)
    assert content["peaks"]["matmul_size"] == 32
    default, augmentation, mamp = content["rows"]
    for row in content["rows"]:
        assert len(row["step_s"]) == 3
        assert min(row["step_s"]) > 0
        assert row["memory_bytes"] > 0
        assert row["bodies"] == 2
        assert row["problem"] is None
    assert default["ratio"] == 1
    assert augmentation["losses"] == []
    for row in (default, mamp):
        assert len(row["losses"]) == 2
        assert row["flops"] > 3 * row["forward_linear_flops"]
        assert 0 < row["mfu"] < row["roofline_share"]
    assert mamp["flops"] > default["flops"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_small_run_beside_torch(tmp_path, quick_peaks, monkeypatch, capsys):
    pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")
    monkeypatch.setattr(step, "count", lambda config: (1, 1.0))
    file = tmp_path / "out.json"
    rows = "--variants=torch mamp,torch mamp w/ fused attention"
    command.main(
        ["step", "--torch", "--sequences=2", "--rounds=2", rows, *SMALL_FLAGS, f"--json={file}"]
    )
    assert re.search(r"PyTorch \S+ on cpu: float32, .* CPU threads", capsys.readouterr().out)
    default, explicit, fused = json.loads(file.read_text())["rows"]
    assert default["bodies"] == explicit["bodies"] == fused["bodies"]
    for row in (explicit, fused):
        assert len(row["step_s"]) == 2
        assert len(row["losses"]) == 2
        assert row["ratio"] > 0


def test_without_torch_the_flag_says_what_to_install(monkeypatch, capsys):
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
        (["--sequences=0"], "--sequences: found '0'; expected a whole number of at least 1"),
        (["--steps=x"], "--steps: found 'x'"),
        (["--variants=mampp"], "--variants = 'mampp'; expected one of: default, one step a"),
        (["--variants=torch mamp"], "--variants = 'torch mamp'; expected one of"),
        (["--override=depth"], "override 'depth': expected KEY=VALUE"),
        (["--override=encoder.depth=x"], "found 'x' .*expected int"),
        (["--attention=cudnn"], "--attention=cudnn on cpu"),
        (["--json=/nowhere/a.json"], "--json: found '/nowhere/a.json'; expected a file"),
    ],
)
def test_wrong_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["step", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error), error
