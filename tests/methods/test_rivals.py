"""The other methods in the training loop: their losses fall, on eight devices and when resumed."""

import functools
import importlib

import jax
import numpy as np
import pytest

from amr_jax import pretrain
from amr_jax.errors import UserError
from amr_jax.run import metrics
from tests.test_pretrain import assert_same, assert_same_course, run_killed_at_step_8

# The variants beside AMR whose programs differ; SkeletonMAE and NAT compile what MAMP does.
VARIANTS = {
    "gfp": ("gfp", {}),
    "mamp": ("mamp", {}),
    "nat_con": ("nat", {"model.contrast": 0.5}),
    "sjepa": ("sjepa", {}),
}


def tiny_config(folder, variant, **changes):
    name, own = VARIANTS[variant]
    config = importlib.import_module(f"configs.{name}").get_config("nwucla,runlocal")
    config.data_dir = str(folder)
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 16
    config.encoder.depth = 1
    config.batch_size = 8
    config.input.split = "train"
    config.epochs = 2  # of 40 sequences: 10 steps
    if name == "gfp":
        config.model.levels = (3, 6)
        config.model.feature_width = 8
        config.model.hidden = config.model.global_hidden = 16
    config.update_from_flattened_dict(own | changes)
    return config


@pytest.fixture(scope="module")
def undisturbed(tiny_ucla, tmp_path_factory):
    """Runs a variant on one device, once; (its state, its workdir)."""

    @functools.cache
    def run(variant):
        folder = tmp_path_factory.mktemp(variant)
        return pretrain.run(tiny_config(tiny_ucla, variant), folder, jax.devices()[:1]), folder

    return run


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_falls(undisturbed, variant):
    losses = [line["loss"] for line in metrics.read_metrics(undisturbed(variant)[1])]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])


def test_bodies_of_the_whole_batch_are_compared_on_eight_devices(tiny_ucla, undisturbed, tmp_path):
    pretrain.run(tiny_config(tiny_ucla, "nat_con"), tmp_path, jax.devices())
    assert_same_course(undisturbed("nat_con")[1], tmp_path)


def test_target_encoder_and_centre_of_sjepa_resume_to_the_same_bits(
    tiny_ucla, undisturbed, tmp_path, monkeypatch
):
    config = tiny_config(tiny_ucla, "sjepa")
    run_killed_at_step_8(config, tmp_path, monkeypatch)
    state = pretrain.run(config, tmp_path, jax.devices()[:1])
    assert_same(state, undisturbed("sjepa")[0])
    assert np.abs(state.variables["state"]["centre"]).max() > 0


def test_a_second_average_beside_that_of_the_method_is_refused(tiny_ucla, tmp_path):
    config = tiny_config(tiny_ucla, "sjepa", **{"optim.ema_decay": 0.9})
    with pytest.raises(UserError, match=r"config\.optim\.ema_decay = 0\.9: expected None, .*sjepa"):
        pretrain.run(config, tmp_path / "run")
