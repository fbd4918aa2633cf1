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
from tests.inference.pytorch import published, torch_form
from tests.methods import small
from tests.models.params import noisy
from tests.refusals import refused


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
        {
            "file": str(path),
            "key": "",
            "left_out": ["head.fc.bias", "head.fc.weight"],
            "notes": [],
        }
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
    exported = files.read(again, mamp.ANCHOR).arrays
    assert exported.keys() == {key for key in state if not key.startswith("head.")}
    for key, value in exported.items():
        np.testing.assert_array_equal(value, state[key])

    with pytest.raises(UserError, match="kept no average"):
        checkpoint.load_encoder(folder, average=True)


def test_one_of_two_models_in_half_precision(tmp_path, capsys):
    state = published.state_dict(joints=20)
    half = {key: value.astype(np.float16) for key, value in state.items()}
    student = {f"module.{key}": value for key, value in state.items()}
    content = {"teacher": half, "student": student, "args": ConfigDict({"lr": 1})}
    (tmp_path / "last.ckpt").write_bytes(torch_form.saved(content))
    given = ("--dataset=nwucla", "--num_heads=2", f"--import={tmp_path / 'last.ckpt'}")
    with pytest.raises(SystemExit):
        call(*given, f"--workdir={tmp_path / 'run'}")
    assert "found 2 models: 'teacher', 'student'" in capsys.readouterr().err
    call(*given, f"--workdir={tmp_path / 'run'}", "--key=teacher")
    said = capsys.readouterr().out
    assert "last.ckpt: taken from 'teacher'" in said
    assert "last.ckpt: not read, beside it: student, args" in said
    assert f"last.ckpt: {len(half)} arrays of float16 became float32, exactly" in said
    encoder, config, _ = checkpoint.load_encoder(tmp_path / "run")
    assert config.imported.key == "teacher"
    assert len(config.imported.notes) == 3
    expected = mamp.from_state_dict({k: v.astype(np.float32) for k, v in half.items()})[0]
    jax.tree.map(np.testing.assert_array_equal, encoder, expected["encoder"])


@pytest.mark.parametrize("kind", ["half", "double"])
def test_the_files_in_half_and_double_precision(kind, shared_data, tmp_path):
    path = shared_data.parent / "cases" / "weights_half" / f"{kind}.npz"
    runs.import_run(path, tmp_path / "run", "ntu60_xsub", num_heads=4)
    encoder, config, _ = checkpoint.load_encoder(tmp_path / "run")
    (note,) = config.imported.notes
    assert note.startswith("18 arrays of float")
    bias = np.load(path)["blocks.0.norm1.bias"].astype(np.float32)
    np.testing.assert_array_equal(encoder["block_0"]["norm1"]["bias"], bias)
    if kind == "half":
        assert bias[:3].tolist() == [0.01085662841796875, 0.003910064697265625, 0.07025146484375]


def test_the_types_of_other_arrays_are_named(tmp_path):
    state = published.state_dict(joints=20)
    for changed, message in (
        (
            {"norm.bias": np.zeros(8, np.int8)},
            r"norm\.bias of \(8,\) int8; expected \(8,\) float32",
        ),
        ({"norm.bias": np.zeros(8, np.complex64)}, r"norm\.bias of \(8,\) complex64; expected"),
        ({"norm.bias": np.full(8, np.nan, "f2")}, r"norm\.bias with numbers that are not finite"),
        ({"fc.bias": np.zeros(8, "f4")}, r"the unknown name 'fc\.bias'"),
    ):
        (tmp_path / "a.pth").write_bytes(torch_form.saved({"model": state | changed}, False))
        with pytest.raises(UserError, match=message):
            runs.import_run(tmp_path / "a.pth", tmp_path / "run", "nwucla", num_heads=2)


def saved(folder, config):
    """A workdir as pre-training leaves it, with noise for parameters."""
    params = noisy(methods.build(config), small.clips())
    folder.mkdir()
    workdir.start(folder, ConfigDict(config), set())
    checkpoints = checkpoint.Checkpoints(folder, keep=1)
    checkpoints.save(7, {"params": params, "average": {}})
    checkpoints.close()
    return params


@pytest.mark.parametrize("method", [name for name in methods.METHODS if name != "slim"])
def test_the_encoder_of_any_method_is_exported(method, tmp_path):
    params = noisy(methods.build(small.config(method)), small.clips())
    state = runs.export_params(params, tmp_path / "out.npz", channels=3, source="noise")
    back, _ = mamp.from_state_dict(state)
    jax.tree.map(np.testing.assert_array_equal, back["encoder"], params["encoder"])
    assert ("decoder" in back) == (method in ("mamp", "skeleton_mae", "nat"))


def test_an_encoder_of_another_form_is_refused(tmp_path):
    params = noisy(methods.build(small.config("slim")), small.clips())
    message = "position = 'rotary', a class token or registers, a mask token, .*'swiglu'; expected"
    with pytest.raises(UserError, match=message):
        runs.export_params(params, tmp_path / "out.npz", channels=3, source="noise")
    assert not (tmp_path / "out.npz").exists()


def test_a_query_decoder_is_left_out_with_a_message(tmp_path, capsys):
    config = small.config("amr", {"channels": 3})
    params = saved(tmp_path / "run", config)
    runs.export_run(tmp_path / "run", tmp_path / "out.npz")
    said = capsys.readouterr().out
    assert "the encoder of" in said
    assert "step 7 (amr); 2 heads" in said
    assert said.endswith("no such part: decoder\n")
    state = files.read(tmp_path / "out.npz", mamp.ANCHOR).arrays
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
        (
            {"import": None, "export": "out.npz", "dataset": None, "num_heads": None, "key": "a"},
            "--key applies to --import",
        ),
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
        assert message in refused(capsys, call, *arguments)
        assert not (tmp_path / "run").exists(), changes
    told = refused(capsys, call, "--export=out.npz", f"--workdir={tmp_path / 'run'}")
    assert "config.json: not found" in told


def test_a_run_is_not_overwritten(weights, tmp_path):
    saved(tmp_path / "run", small.config("amr", {"channels": 3}))
    with pytest.raises(UserError, match=r"run: holds a run with checkpoints already"):
        runs.import_run(weights[0], tmp_path / "run", "nwucla", num_heads=2)
