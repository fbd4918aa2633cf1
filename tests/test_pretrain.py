"""Pre-training: resuming, devices, streaming, refused settings."""

import json
import os
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from amr_jax import pretrain
from amr_jax.config import files
from amr_jax.data import batches
from amr_jax.errors import Preempted, UserError
from amr_jax.run import checkpoint, metrics, workdir
from amr_jax.train import pace
from configs import amr
from tests.conftest import REPOSITORY


def tiny_config(folder, **changes):
    config = amr.get_config("nwucla,runlocal")
    config.data_dir = str(folder)
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 16
    config.encoder.depth = 1
    config.batch_size = 8
    config.input.split = "train"
    config.epochs = 2  # of 40 sequences: 10 steps
    config.update_from_flattened_dict(changes)
    return config


def assert_same(one, other):
    for (path, a), (_, b) in zip(
        jax.tree_util.tree_leaves_with_path(jax.device_get(one)),
        jax.tree_util.tree_leaves_with_path(jax.device_get(other)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def before_batch(number, do, monkeypatch):
    """Calls `do` while the input makes the batches of dispatch `number` of the next start."""
    all_batches = batches.Resident.batches

    def interrupted(self, *args):
        for i, batch in enumerate(all_batches(self, *args)):
            if i == number:
                do()
            yield batch

    monkeypatch.setattr(batches.Resident, "batches", interrupted)


def run_killed_at_step_8(config, folder, monkeypatch):
    """Kills a run on one device, of dispatches of 1, 1, 2, 2 and 2 steps, after these."""
    with monkeypatch.context() as patch:
        before_batch(5, sys.exit, patch)
        with pytest.raises(SystemExit):
            pretrain.run(config, folder, jax.devices()[:1])


def assert_same_course(folder, other):
    """Asserts equal losses and gradients to rounding, at every step.

    Not the parameters: where a gradient is zero but for rounding (the bias of attention's keys),
    Adam makes full steps of that rounding.
    """
    lines = zip(metrics.read_metrics(folder), metrics.read_metrics(other), strict=True)
    for a, b in lines:
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=2e-5)
        np.testing.assert_allclose(a["grad_norm"], b["grad_norm"], rtol=2e-4)


@pytest.fixture(scope="module")
def undisturbed(tiny_ucla, tmp_path_factory):
    """A run on one device from start to end: its folder and its final state."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9})
    return folder, pretrain.run(config, folder, jax.devices()[:1])


def test_the_files_of_a_run(undisturbed):
    folder, state = undisturbed
    assert int(state.step) == 10
    lines = metrics.read_metrics(folder)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert json.loads((folder / workdir.VERSIONS_FILE).read_text())["amr_jax"]
    assert workdir.read_config(folder).dtype == "float32"  # 'auto' is resolved
    encoder, config, step = checkpoint.load_encoder(folder)
    assert step == 10
    assert config.encoder.num_frames == 24
    assert_same(encoder, state.params["encoder"])
    average, _, _ = checkpoint.load_encoder(folder, average=True)
    assert_same(average, state.average)


def test_a_run_stopped_and_then_killed_resumes_to_the_same_bits(
    tiny_ucla, undisturbed, tmp_path, monkeypatch, capsys
):
    """SIGTERM during the fourth dispatch, of two steps; then a kill one dispatch after resuming."""
    never = {"checkpoint.epochs": 100}
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9, **never})
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        before_batch(3, lambda: os.kill(os.getpid(), signal.SIGTERM), patch)
        with pytest.raises(Preempted, match="saved at step 6 of 10"):
            pretrain.run(config, tmp_path, jax.devices()[:1])
    assert signal.getsignal(signal.SIGTERM) is handler
    assert checkpoint.Checkpoints(tmp_path, keep=1).steps() == [6]
    assert re.search(
        r"compiled in [\d.]+ s; memory about .*\nthe first step was done [\d.]+ s after the start",
        capsys.readouterr().out,
    )
    with monkeypatch.context() as patch:
        before_batch(1, sys.exit, patch)
        with pytest.raises(SystemExit):
            pretrain.run(config, tmp_path, jax.devices()[:1])
    assert [line["step"] for line in metrics.read_metrics(tmp_path)][:3] == [2, 4, 6]
    state = pretrain.run(config, tmp_path, jax.devices()[:1])
    assert_same(state, undisturbed[1])
    assert [line["step"] for line in metrics.read_metrics(tmp_path)] == [2, 4, 6, 8, 10]
    # A finished run stays as it is, and says so.
    capsys.readouterr()
    assert_same(pretrain.run(config, tmp_path, jax.devices()[:1]), state)
    assert f"already finished: {tmp_path} holds all 10 steps." in capsys.readouterr().out


def test_dispatches_of_other_lengths_give_the_same_bits(tiny_ucla, tmp_path, monkeypatch):
    """Of 1, 1, 3 and 5 steps, and of one step each."""
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9, "steps_per_dispatch": 5})
    state = pretrain.run(config, tmp_path / "five", jax.devices()[:1])
    assert [line["step"] for line in metrics.read_metrics(tmp_path / "five")] == [5, 10]
    monkeypatch.setattr(pace, "SECONDS", 0.0)
    assert_same(pretrain.run(config, tmp_path / "one", jax.devices()[:1]), state)


# Compiled as users compile: with the flags of `xla_flags.quick`, XLA rounds the two differently.
OTHER_PROGRAMS = """
import sys
from pathlib import Path
from amr_jax import pretrain
from tests.test_pretrain import assert_same, tiny_config

data, folder = map(Path, sys.argv[1:])
two, five = (
    pretrain.run(tiny_config(data, steps_per_dispatch=steps), folder / str(steps))
    for steps in (2, 5)
)
assert_same(two, five)
"""


def test_programs_for_other_numbers_of_steps_give_the_same_bits(tiny_ucla, tmp_path):
    subprocess.run(
        [sys.executable, "-c", OTHER_PROGRAMS, str(tiny_ucla), str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": ""},
        check=True,
    )


def test_streamed_data_on_four_devices_agree_with_resident_on_one(tiny_ucla, undisturbed, tmp_path):
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9, "input.mode": "stream"})
    pretrain.run(config, tmp_path, jax.devices()[:4])
    assert_same_course(tmp_path, undisturbed[0])


def test_joints_in_16_bits_give_the_losses_of_joints_in_32(tiny_ucla, undisturbed, tmp_path):
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9, "input.storage": "float32"})
    pretrain.run(config, tmp_path, jax.devices()[:1])
    exact, stored = metrics.read_metrics(tmp_path), metrics.read_metrics(undisturbed[0])
    for a, b in zip(exact, stored, strict=True):
        # Half a step, 2e-5 of a body's largest coordinate, beside motion of a hundredth of it.
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=2e-3)
    assert any(a["loss"] != b["loss"] for a, b in zip(exact, stored, strict=True))


def test_a_batch_larger_than_the_data_is_refused(tiny_ucla, tmp_path):
    config = tiny_config(tiny_ucla, batch_size=48)
    with pytest.raises(UserError, match=r"config\.batch_size = 48: .* only 40 bodies; expected"):
        pretrain.run(config, tmp_path, jax.devices()[:1])
    assert not (tmp_path / workdir.CONFIG_FILE).exists()  # another batch may follow


def test_other_records_in_the_same_workdir_are_refused(tiny_ucla, undisturbed):
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9})
    folder = undisturbed[0]
    text = (folder / workdir.CONFIG_FILE).read_text()
    (folder / workdir.CONFIG_FILE).write_text(text.replace("40 sequences", "41 sequences"))
    try:
        with pytest.raises(UserError, match=r"config\.input\.found: 41 sequences.*40 sequences"):
            pretrain.run(config, folder, jax.devices()[:1])
    finally:
        (folder / workdir.CONFIG_FILE).write_text(text)


@pytest.mark.parametrize(
    ("method", "model"),
    [("gfp", {}), ("nat", {"contrast": 0.1}), ("slim", {}), ("stars", {}), ("usdrl", {})],
)
def test_a_loss_across_bodies_is_not_computed_in_parts(method, model, tiny_ucla, tmp_path):
    config = files.get_config(f"{method}:nwucla,runlocal")
    config.data_dir, config.optim.accumulate = str(tiny_ucla), 2
    config.model.update(model)
    with pytest.raises(UserError, match=rf"accumulate = 2: expected 1, as the loss of {method}"):
        pretrain.run(config, tmp_path / "run", jax.devices()[:1])
    assert not (tmp_path / "run").exists()


def test_wrong_settings_are_named_before_anything_is_written(tiny_ucla, tmp_path):
    folder = tmp_path / "run"
    for changes, message in {
        ("model.r", 4): r"config\.model\.r",
        ("model.windows", (4, 7)): r"config\.model\.windows",
        ("encoder.patch_len", 5): r"config\.encoder\.patch_len",
        ("input.mode", "fast"): r"config\.input\.mode = 'fast'",
        ("input.stream", "bones"): r"config\.input\.stream = 'bones': expected 'joint', 'bone' or",
        ("input.second_body", "repeat"): r"second_body = 'repeat': expected 'zeros', or",
        ("batch_size", 12): r"config\.batch_size = 12: expected a multiple of 8 \(8 devices",
        ("optim.accumulate", 3): r"config\.batch_size = \d+: expected a multiple of 24",
        ("dataset", "ntu61"): r"unknown data set 'ntu61'",
        ("encoder.num_joints", 25): r"num_joints=25.*20 joints",
        ("data_dir", "/nowhere"): r"/nowhere.*python -m amr_jax\.prepare",
        ("dtype", "float16"): r"config\.dtype",
        ("epochs", 0): r"config\.epochs = 0: expected at least 1",
        (
            "optim.min_lr",
            0.1,
        ): r"min_lr = 0\.1: .* at most 0\.001 \(optim\.lr\)",
        (
            "optim.warmup_epochs",
            2,
        ): r"warmup_epochs = 2: .* below 2 \(epochs\)",
        ("optim.clip_norm", -1.0): r"config\.optim\.clip_norm = -1\.0: expected above 0",
        ("augment.min_frames", 0): r"config\.augment\.min_frames = 0: expected at least 1",
        ("input.split", "train[:99%:]"): r"split 'train\[:99%:\]'",
        ("input.split", "validation"): r"splits train, test; expected 'validation'",
    }.items():
        with pytest.raises(UserError, match=message):
            pretrain.run(tiny_config(tiny_ucla, **dict([changes])), folder)
        assert not folder.exists(), changes


def test_another_config_in_the_same_workdir_is_refused(tiny_ucla, undisturbed):
    config = tiny_config(tiny_ucla, **{"optim.ema_decay": 0.9, "model.r": 3})
    with pytest.raises(UserError, match=r"config\.model\.r: 6 in the workdir, 3 now"):
        pretrain.run(config, undisturbed[0], jax.devices()[:1])


def test_two_bodies_as_published_streamed_on_two_devices(tiny_ntu, tmp_path):
    # Absent second bodies are zeros in both, real ones share crop and rotation with the first.
    config = amr.get_config("ntu60_xsub,runlocal")
    config.data_dir = str(tiny_ntu)
    config.input.split = "train"
    config.input.bodies = "all"
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 16
    config.encoder.depth = 1
    config.batch_size, config.steps_per_dispatch = 4, 3
    config.epochs = 2  # of 6 sequences: 3 steps
    pretrain.run(config, tmp_path / "resident", jax.devices()[:1])
    config.input.mode = "stream"
    pretrain.run(config, tmp_path / "streamed", jax.devices()[:2])
    assert workdir.read_config(tmp_path / "resident").input.found.startswith(
        "6 sequences, 9 bodies"
    )
    assert_same_course(tmp_path / "streamed", tmp_path / "resident")
