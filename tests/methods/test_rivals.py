"""Every method in the loop, end to end: what it learns, and that it survives what AMR survives."""

import importlib

import jax
import numpy as np
import pytest

from amr_jax import methods, pretrain
from amr_jax.errors import UserError
from amr_jax.run import metrics
from tests.test_pretrain import assert_same, assert_same_course, run_that_dies_at_step_8

VARIANTS = {name: (name, {}) for name in sorted(methods.METHODS)}
VARIANTS["nat_con"] = ("nat", {"model.contrast": 0.5})

# Their losses hold more than one body at a time.
ACROSS_BODIES = ("gfp", "nat_con", "sjepa")


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
    config.update_from_flattened_dict(own | changes)
    return config


def assert_falls(folder):
    losses = [line["loss"] for line in metrics.read_metrics(folder)]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - {"amr", *ACROSS_BODIES}))
def test_the_loss_falls(tiny_ucla, tmp_path, variant):
    pretrain.run(tiny_config(tiny_ucla, variant), tmp_path, jax.devices()[:1])
    assert_falls(tmp_path)


@pytest.mark.parametrize("variant", ACROSS_BODIES)
def test_what_compares_bodies_compares_all_of_them_on_eight_devices(tiny_ucla, tmp_path, variant):
    config = tiny_config(tiny_ucla, variant)
    pretrain.run(config, tmp_path / "one", jax.devices()[:1])
    pretrain.run(config, tmp_path / "eight", jax.devices())
    assert_same_course(tmp_path / "one", tmp_path / "eight")
    assert_falls(tmp_path / "one")


def test_sjepa_dies_and_goes_on_to_the_same_bits(tiny_ucla, tmp_path, monkeypatch):
    # Its target encoder and its centre come back, too.
    config = tiny_config(tiny_ucla, "sjepa")
    undisturbed = pretrain.run(config, tmp_path / "undisturbed", jax.devices()[:1])
    run_that_dies_at_step_8(config, tmp_path / "killed", monkeypatch)
    state = pretrain.run(config, tmp_path / "killed", jax.devices()[:1])
    assert_same(state, undisturbed)
    assert np.abs(state.variables["state"]["centre"]).max() > 0


def test_a_second_average_beside_the_methods_own_is_refused(tiny_ucla, tmp_path):
    config = tiny_config(tiny_ucla, "sjepa", **{"optim.ema_decay": 0.9})
    with pytest.raises(UserError, match=r"config\.optim\.ema_decay=0\.9: sjepa keeps an average"):
        pretrain.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
