"""The command: published weights are evaluated like a run's, and a run's are published."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from amr_jax import evaluate, methods
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import UserError
from amr_jax.inference.pytorch import files, mamp, runs
from amr_jax.run import checkpoint, workdir
from configs import knn
from tests.inference.pytorch import published
from tests.methods import small
from tests.models.params import noisy


def call(*arguments):
    amr_jax_command(["interop", *arguments])


@pytest.fixture
def weights(tmp_path):
    """A file of a published model for the joints of NW-UCLA, and its state dict."""
    state = published.state_dict(joints=20, head=True)
    files.write(tmp_path / "weights.npz", state)
    return tmp_path / "weights.npz", state


def test_an_imported_run_is_evaluated_and_exported_again(weights, tiny_ucla, tmp_path, capsys):
    path, state = weights
    folder, again = tmp_path / "run", tmp_path / "again.npz"
    call(
        f"--import={path}",
        f"--workdir={folder}",
        "--dataset=nwucla",
        "--num_heads=2",
        f"--data_dir={tiny_ucla}",
    )
    said = capsys.readouterr().out
    assert "head.fc.bias, head.fc.weight" in said
    assert f"--config=configs/linear.py:nwucla --config.pretrained={folder}" in said

    encoder, config, step = checkpoint.load_encoder(folder)
    assert (step, config.method, config.encoder.num_heads) == (0, "mamp", 2)
    assert config.imported == ConfigDict(
        {"file": str(path), "left_out": ["head.fc.bias", "head.fc.weight"]}
    )
    expected = mamp.from_state_dict(state)[0]["encoder"]
    assert jax.tree.structure(encoder) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, encoder, expected)

    asked = knn.get_config("nwucla,runlocal")
    asked.pretrained = str(folder)
    asked.train_split, asked.test_split = "train", "test"
    results = evaluate.run(asked, tmp_path / "knn")
    assert results["pretraining"]["step"] == 0
    assert 0 <= results["encoders"]["pretrained"]["top1"] <= 1

    call(f"--export={again}", f"--workdir={folder}")
    assert "the encoder and the decoder" in capsys.readouterr().out
    exported = files.read(again)
    assert exported.keys() == {key for key in state if not key.startswith("head.")}
    for key, value in exported.items():
        np.testing.assert_array_equal(value, state[key])

    with pytest.raises(UserError, match="kept no average"):
        checkpoint.load_encoder(folder, average=True)


def saved(folder, config):
    """A workdir as pre-training leaves it, with noise for parameters."""
    params = noisy(methods.build(config), small.clips())
    folder.mkdir()
    workdir.start(folder, ConfigDict(config), set())
    checkpoints = checkpoint.Checkpoints(folder, keep=1)
    checkpoints.save(7, {"params": params, "average": {}})
    checkpoints.close()
    return params


@pytest.mark.parametrize("method", methods.METHODS)
def test_the_encoder_of_any_method_is_exported(method, tmp_path):
    params = noisy(methods.build(small.config(method)), small.clips())
    state = runs.export_params(params, tmp_path / "out.npz", channels=3, source="noise")
    back, _ = mamp.from_state_dict(state)
    jax.tree.map(np.testing.assert_array_equal, back["encoder"], params["encoder"])
    assert ("decoder" in back) == (method in ("mamp", "skeleton_mae", "nat"))


def test_a_query_decoder_is_left_out_with_a_message(tmp_path, capsys):
    config = small.config("amr", {"channels": 3})
    params = saved(tmp_path / "run", config)
    runs.export_run(tmp_path / "run", tmp_path / "out.npz")
    said = capsys.readouterr().out
    assert "the encoder of" in said
    assert "step 7 (amr); 2 heads" in said
    assert said.endswith("no such part: decoder\n")
    state = files.read(tmp_path / "out.npz")
    assert not any(key.startswith("decoder") for key in state)
    back, _ = mamp.from_state_dict(state)
    jax.tree.map(np.testing.assert_array_equal, back, {"encoder": params["encoder"]})


def test_the_command_refuses_wrong_flags(weights, tmp_path, capsys):
    path, _ = weights
    given = {"import": path, "workdir": tmp_path / "run", "dataset": "nwucla", "num_heads": 2}
    for changes, message in (
        ({"import": None}, "give either --import=FILE or --export=FILE"),
        ({"export": "out.npz"}, "give either --import=FILE or --export=FILE"),
        ({"import": None, "export": "out.npz"}, "--dataset applies to --import only"),
        ({"step": 3}, "--step applies to --export only"),
        ({"workdir": None}, "--workdir is missing: the run's folder"),
        ({"dataset": None}, "--dataset is missing: what the weights"),
        ({"dataset": "ntu61"}, "unknown data set 'ntu61'"),
        (
            {"dataset": "ntu60_xsub"},
            "weights for 20 joints with 3 channels; ntu60_xsub has 25 joints",
        ),
        ({"num_heads": 3}, "num_heads = 3: expected a divisor of 8, the encoder's width"),
        ({"import": tmp_path / "absent.npz"}, "absent.npz: found nothing"),
    ):
        arguments = [f"--{k}={v}" for k, v in {**given, **changes}.items() if v is not None]
        with pytest.raises(SystemExit) as ended:
            call(*arguments)
        errors = capsys.readouterr().err
        assert ended.value.code == 2
        assert errors.startswith("error: "), errors
        assert message in errors
        assert not (tmp_path / "run").exists(), changes
    with pytest.raises(SystemExit):
        call("--export=out.npz", f"--workdir={tmp_path / 'run'}")
    assert "config.json: not found" in capsys.readouterr().err


def test_a_run_is_not_overwritten(weights, tmp_path):
    saved(tmp_path / "run", small.config("amr", {"channels": 3}))
    with pytest.raises(UserError, match=r"run: holds a run with checkpoints already"):
        runs.import_run(weights[0], tmp_path / "run", "nwucla", num_heads=2)
