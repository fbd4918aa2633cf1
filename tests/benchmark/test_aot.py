"""`benchmark aot`: arithmetic, shapes, programs for other devices, and errors."""

import importlib.util
import json
import os

import jax
import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import accelerators, aot, full_size
from amr_jax.errors import UserError
from amr_jax.run import sharding
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL

AMR = full_size.Row("amr", "amr")


# A larger model: width 768, depth 12.
LARGE = ("encoder.width=768", "encoder.depth=12", "encoder.num_heads=12")
LARGE += ("model.decoder_width=768", "model.decoder_heads=12")


def request(kind="v5e", bodies=4, overrides=SMALL, effort=0.0):
    chips = accelerators.ACCELERATORS[kind].chips
    return aot.Request(kind, chips, AMR, "xla", bodies, overrides, effort)


def test_predictions_take_the_peaks_of_the_target():
    found = aot.predicted(request("h200", bodies=256), {"flops": 989e9, "bytes": 9.6e9})
    assert found["compute_s"] == pytest.approx(1e-3)
    assert found["memory_s"] == pytest.approx(2e-3)
    assert found["hours"] == pytest.approx(400 * 47_000 / 256 * 2e-3 / 3600)


def test_targets():
    assert accelerators.parse("v5e") == ("v5e", "2x2")
    assert accelerators.parse(" v5e:4x4") == ("v5e", "4x4")


@pytest.mark.parametrize("text", ["h100", "v5e:", "v5e:2y2", ""])
def test_unknown_targets(text):
    with pytest.raises(UserError, match=f"--targets: found '{text}'; expected one of h200, v5e"):
        accelerators.parse(text)


@pytest.mark.parametrize(("target", "extra"), [("h200", "cuda13"), ("v5e", "tpu")])
def test_missing_wheels_are_named(target, extra, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        command.main(["aot", f"--targets={target}"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --targets={target}:")
    assert f"pip install -e '.[{extra}]', or '.[aot]'" in error


def test_the_abstract_step_has_the_shapes_of_the_real_one():
    config = full_size.config_of(AMR, 8, "float32", "xla", SMALL)
    mesh = sharding.make_mesh(jax.devices()[:4])
    _, state, batch = costs.abstract_training_step(config, mesh)
    _, real_state, real_batch = costs.training_step(config)

    def shapes(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    assert shapes((state, batch)) == shapes((real_state, real_batch))
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    # (steps, batch, …): every device has its share of the bodies.
    for leaf in batch:
        assert leaf.sharding.shard_shape(leaf.shape) == (1, 2, *leaf.shape[2:])


def lowered(kernel, platforms, width=8, devices=2, fsdp=1):
    """The small step for several devices, exported for other platforms."""
    wide = (*SMALL, f"encoder.width={width}", f"model.decoder_width={width}")
    config = full_size.config_of(AMR, 4, "bfloat16", kernel, wide)
    mesh = sharding.make_mesh(jax.devices()[:devices], fsdp)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    # JAX does not promise to read old files with these calls; nothing is kept here.
    names = ("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward")
    unchecked = [jax.export.DisabledSafetyCheck.custom_call(name) for name in names]
    export = jax.export.export(dispatch, platforms=platforms, disabled_checks=unchecked)
    return export(state, {}, batch)


def test_the_step_lowers_for_accelerators():
    exported = lowered("xla", ("tpu", "cuda"), width=64, devices=4, fsdp=2)
    assert exported.platforms == ("tpu", "cuda")
    assert exported.nr_devices == 4
    text = exported.mlir_module()
    assert "x15x192xbf16" in text  # attention in 16 bits
    assert '[{}, {"data", "fsdp"}, {}, {}, {}, {}]' in text  # the batch split over all devices
    # A parameter or moment comes in and goes out in two parts; so is its gradient constrained.
    assert '[{"fsdp"}, {}]>' in text
    assert '[{}, {"fsdp"}]>' in text


def test_the_step_lowers_with_the_fused_kernel():
    text = lowered("fused", ("tpu",), width=64).mlir_module()
    assert text.count("tpu_custom_call") >= 2  # forward and backward
    assert "x15x192xbf16" in text


@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, accelerators.COMPILERS["cuda"])),
    reason="JAX traces cuDNN's attention with the CUDA plugin only",
)
def test_the_step_lowers_with_cudnn():
    assert "__cudnn$fmhaSoftmaxBackward" in lowered("cudnn", ("cuda",)).mlir_module()


@pytest.fixture
def here(monkeypatch):
    """Two devices and the compiler of this machine instead of the target's."""
    monkeypatch.setattr(accelerators, "devices", lambda kind, chips: jax.devices()[:2])


def test_an_entry_of_a_program(here):
    # XLA for CPUs sums in 32 bits.
    found = aot.compile_step(request(overrides=(*SMALL, "dtype=float32")))
    assert found["chips"] == 2
    config = full_size.config_of(AMR, 4, "float32", "xla", SMALL)
    assert found["flops"] == costs.step_flops(config) / 2
    assert found["launches"] > 0
    assert found["bytes"] > found["memory_bytes"] > 12 * found["parameters"]
    assert found["collectives"].keys() == {"all-reduce"}
    # Half of the gradients twice, between two devices; a few parameters share a gradient.
    assert found["sent"] == pytest.approx(4 * found["parameters"], rel=0.1)
    assert found["modelled_sent"] == pytest.approx(found["sent"], rel=0.1)
    json.dumps(found, allow_nan=False)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, accelerators.COMPILERS["tpu"])),
    reason="the compiler for TPUs is not installed: pip install -e '.[tpu]'",
)
@pytest.mark.parametrize("target", ["v5e:2x2", "v5p:2x2x1"])
@pytest.mark.parametrize("model", ["default", "large"])
def test_a_chip_holds_the_full_size_step(target, model, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")  # of the tests, for CPUs
    overrides = ("fsdp=4", *LARGE) if model == "large" else ()
    # With the least effort, which takes a third of the time and rather more memory.
    kind, chips = accelerators.parse(target)
    entry = aot.compiled_apart(aot.Request(kind, chips, AMR, "xla", 256, overrides, -1.0))
    assert entry["problem"] is None
    assert entry["chips"] == 4
    state = 3 * 4 * entry["parameters"]  # with two moments, float32
    assert state < entry["memory_bytes"] * (4 if model == "large" else 1)
    assert entry["memory_bytes"] < accelerators.ACCELERATORS[kind].memory_bytes
    if model == "large":
        assert entry["parameters"] > 100e6


def test_a_batch_that_does_not_split_over_the_chips(here):
    with pytest.raises(UserError, match=r"a multiple of 2 \(2 devices"):
        aot.compile_step(request(bodies=3))


def crash(request):
    os._exit(7)


def test_a_compiler_that_ends_its_process_is_a_problem_of_its_program(monkeypatch):
    monkeypatch.setattr(aot, "compile_step", crash)
    assert aot.compiled_apart(request()) == {"problem": "the compiler ended its process"}


def test_a_run(tmp_path, monkeypatch, capsys):
    entry = {
        "problem": None,
        "chips": 1,
        "compile_s": 1.0,
        "flops": 2e12,
        "bytes": 9.6e9,
        "memory_bytes": 4e9,
        "sent": 31.3e6,
        "launches": 1234,
        "modelled_sent": 31.2e6,
    }

    def compiled_apart(request):
        broken = {"problem": "INTERNAL: no such kernel"}
        return broken if request.attention == "cudnn" else entry

    monkeypatch.setattr(aot, "compiled_apart", compiled_apart)
    monkeypatch.setattr(accelerators, "require_compiler", lambda kind: None)
    file = tmp_path / "out.json"
    command.main(["aot", "--targets=h200", "--methods=amr", "--bodies=4", f"--json={file}"])
    text = capsys.readouterr().out
    assert "predicted, not measured" in text
    assert "compiled amr, cudnn, h200:1: INTERNAL: no such kernel" in text
    xla, cudnn = (line.split() for line in text.splitlines() if line.startswith("amr "))
    hours = 400 * 47_000 / 4 * (2e12 / 989e12) / 3600
    assert xla[:4] == ["amr", "xla", "h200:1", "1"]
    assert xla[4:7] == ["2.00", "9.6", "4.00"]
    assert xla[7:] == ["31.3", "31.2", "1,234", "2.02", "2.00", f"{hours:.2f}"]
    assert cudnn == ["amr", "cudnn", "h200:1"]
    content = json.loads(file.read_text())
    assert content["measured"] is False
    assert content["peaks"]["h200"]["bandwidth"] == 4.8e12
    xla, cudnn = content["rows"]
    assert cudnn["problem"] == "INTERNAL: no such kernel"
    assert "hours" not in cudnn
    assert xla["hours"] > 0


def test_nothing_compiled_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(aot, "compiled_apart", lambda request: {"problem": "broken"})
    monkeypatch.setattr(accelerators, "require_compiler", lambda kind: None)
    with pytest.raises(SystemExit) as ended:
        command.main(["aot", "--methods=amr"])
    assert ended.value.code == 2
    assert "error: nothing could be compiled" in capsys.readouterr().err
