"""Runs with the option `published`: a step of training, and evaluations of what it made."""

import jax
import numpy as np
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test
from amr_jax.inference import load
from amr_jax.ops import resample
from amr_jax.run import checkpoint, metrics
from configs import amr, finetune, linear, mamp, sjepa, transfer

ARGUMENT = "ntu60_xsub,runlocal,published"


def pretrained(module, data_dir, folder, **changes):
    """A run of one step, of a model of 24 frames."""
    config = module.get_config(ARGUMENT)
    config.data_dir, config.epochs, config.input.split = str(data_dir), 1, "train"
    config.batch_size = 4
    config.encoder.num_frames, config.encoder.depth = 24, 1
    config.update_from_flattened_dict(changes)
    pretrain.run(config, folder, jax.devices()[:1])
    return folder


@pytest.fixture(scope="module")
def judged_by_average(tiny_ntu, tmp_path_factory):
    """A run of S-JEPA whose encoder and average differ visibly."""
    changes = {"epochs": 2, "optim.lr": 0.1}
    return pretrained(sjepa, tiny_ntu, tmp_path_factory.mktemp("sjepa"), **changes)


def evaluation(module, folder, **changes):
    config = module.get_config(ARGUMENT)
    config.pretrained, config.random_encoder = str(folder), False
    config.train_split, config.test_split, config.epochs = "train", "test", 1
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize("module", [amr, mamp])
def test_a_step_of_training(module, tiny_ntu, tmp_path, capsys):
    pretrained(module, tiny_ntu, tmp_path)
    assert "all, joint stream" in capsys.readouterr().out
    assert np.isfinite(metrics.read_metrics(tmp_path)[-1]["loss"])


def test_the_average_is_evaluated_unless_told_otherwise(judged_by_average, tiny_ntu, tmp_path):
    encoder, _, _ = checkpoint.load_encoder(judged_by_average, average=False)
    average, _, _ = checkpoint.load_encoder(judged_by_average, average=True)
    differ = jax.tree.map(lambda a, b: np.abs(a - b).max(), encoder, average)
    assert max(jax.tree.leaves(differ)) > 1e-3

    def same(params, expected):
        jax.tree.map(np.testing.assert_array_equal, params, expected)

    def subject(**changes):
        config = evaluation(linear, judged_by_average, data_dir=str(tiny_ntu), **changes)
        return encoder_under_test.Subject.of(config)

    assert subject().config.average is True
    same(subject().params["pretrained"], average)
    same(subject(average=False).params["pretrained"], encoder)
    same(checkpoint.load_encoder(judged_by_average)[0], average)
    same(load.load_model(judged_by_average).variables["params"]["encoder"], average)
    other = pretrained(sjepa, tiny_ntu, tmp_path, judged="encoder")
    config = evaluation(linear, other)
    assert encoder_under_test.Subject.of(config).config.average is False


def test_linear_and_fine_tuning(judged_by_average, tmp_path):
    for module in (linear, finetune):
        folder = tmp_path / module.__name__
        changes = {"second_body": "repeat"}
        results = evaluate.run(evaluation(module, judged_by_average, **changes), folder)
        assert 0 <= results["encoders"]["pretrained"]["top1"] <= 1
        assert load.load_model(folder).bodies == "repeat"


def test_transfer_interpolates_times_as_published(judged_by_average, tmp_path):
    config = evaluation(transfer, judged_by_average, num_frames=36)
    stored = checkpoint.load_encoder(judged_by_average)[0]["position"]["time"]
    adapted = encoder_under_test.Subject.of(config).params["pretrained"]["position"]["time"]
    np.testing.assert_array_equal(adapted, resample.bicubic(stored, 9))
    results = evaluate.run(evaluation(transfer, judged_by_average, num_frames=36), tmp_path)
    assert results["adaptation"]["num_times"] == [6, 9]


def test_an_average_that_is_not_kept_cannot_be_judged(tiny_ntu, tmp_path):
    with pytest.raises(UserError, match=r"judged = 'average': expected 'encoder', as this run of"):
        pretrained(mamp, tiny_ntu, tmp_path, judged="average")
