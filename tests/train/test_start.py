"""A run that starts from the encoder of another run."""

import shutil

import jax
import numpy as np
import pytest

from amr_jax import pretrain
from amr_jax.config import files
from amr_jax.errors import UserError
from amr_jax.run import checkpoint, workdir


def tiny(spec, data_dir, **changes):
    """A config of seconds."""
    config = files.get_config(f"{spec}:nwucla,runlocal")
    config.data_dir, config.input.split = str(data_dir), "train"
    config.encoder.num_frames, config.encoder.width, config.encoder.depth = 24, 8, 1
    config.model.decoder_width = 8
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def first(tiny_ucla, tmp_path_factory):
    """The folder of a finished run on the motion stream, by a method with a momentum encoder."""
    folder = tmp_path_factory.mktemp("start") / "first"
    changes = {"input.stream": "motion", "input.centre": False, "encoder.width": 16}
    pretrain.run(tiny("sjepa", tiny_ucla, **changes), folder, jax.devices()[:1])
    return folder


def same(one, other):
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: (np.asarray(a) == b).all(), one, other)))


@pytest.mark.parametrize("judged", ["encoder", "average"])
def test_the_encoder_and_what_it_sees_are_those_of_the_other_run(
    first, judged, tiny_ucla, tmp_path, capsys
):
    source = tmp_path / "source"
    shutil.copytree(first, source)
    text = (source / workdir.CONFIG_FILE).read_text()
    assert '"judged": "encoder"' in text
    (source / workdir.CONFIG_FILE).write_text(
        text.replace('"judged": "encoder"', f'"judged": "{judged}"')
    )
    # Nothing moves with a learning rate of 0.
    zero = {"optim.lr": 0.0, "optim.weight_decay": 0.0, "start_from": str(source)}
    config = tiny("mamp", tiny_ucla, **zero)
    state = pretrain.run(config, tmp_path / "next", jax.devices()[:1])
    encoder, before, step = checkpoint.load_encoder(source, average=judged == "average")
    assert same(state.params["encoder"], encoder)
    other, *_ = checkpoint.load_encoder(source, average=judged != "average")
    assert not same(other, encoder)
    made = workdir.read_config(tmp_path / "next")
    assert made.encoder == before.encoder
    assert (made.input.stream, made.input.centre, made.encoder.width) == ("motion", False, 16)
    assert f"{source}, step {step} (sjepa on nwucla" in capsys.readouterr().out

    # The run goes on after the other one is gone, from its own checkpoint.
    shutil.rmtree(source)
    again = pretrain.run(config, tmp_path / "next", jax.devices()[:1])
    assert same(again.params, state.params)


def test_a_momentum_copy_starts_from_the_other_run_too(first, tiny_ucla, tmp_path):
    zero = {"optim.lr": 0.0, "optim.weight_decay": 0.0, "start_from": str(first)}
    state = pretrain.run(tiny("sjepa", tiny_ucla, **zero), tmp_path / "next", jax.devices()[:1])
    encoder, *_ = checkpoint.load_encoder(first)
    for kept, start in zip(*map(jax.tree.leaves, (state.average, encoder)), strict=True):
        np.testing.assert_allclose(kept, start, rtol=1e-6)


def test_a_run_that_is_not_there_is_told(tiny_ucla, tmp_path):
    config = tiny("mamp", tiny_ucla, start_from=str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"none/config\.json: not found; expected the workdir"):
        pretrain.run(config, tmp_path / "next", jax.devices()[:1])
    assert not (tmp_path / "next").exists()
