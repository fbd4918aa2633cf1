"""The command export: its files are used as programs without this package use them."""

import functools
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import UserError
from amr_jax.inference import apply, model_file, onnx_file
from amr_jax.inference.pytorch import files, mamp, runs
from tests import tiny_models
from tests.refusals import refused


def call(*arguments):
    amr_jax_command(["export", *map(str, arguments)])


@pytest.fixture
def evaluation(tmp_path):
    """A workdir with a model in it, and the model."""
    model = tiny_models.make("finetune", bodies="all")
    folder = tmp_path / "evaluation"
    folder.mkdir()
    model_file.write(folder / model_file.NAME, model)
    return folder, model


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory):
    """A workdir as pre-training leaves it, and its parameters."""
    folder = tmp_path_factory.mktemp("run")
    return folder, tiny_models.save_run(folder)


STRANGER = """
import sys
sys.modules["amr_jax"] = None  # any import of it fails
import jax.export, numpy as np
with np.load("sequences.npz") as arrays:
    joints, length = arrays["joints"], arrays["length"]
for name in sys.argv[1:]:
    program = jax.export.deserialize(bytearray(open(name, "rb").read()))
    everything, one = program.call(joints, length), program.call(joints[2:3], length[2:3])
    np.savez(f"{name}.npz", everything=everything, one=one)
assert not any(name.startswith("amr_jax.") for name in sys.modules)
"""


def test_stablehlo_runs_without_this_package(tmp_path):
    models = {
        "logits": tiny_models.make("finetune", "all"),
        "features": tiny_models.make(None, "packed"),
        "joint": tiny_models.make(None, "packed"),
    }
    for name, model in models.items():
        file = tmp_path / f"{name}.safetensors"
        model_file.write(file, model)
        more = ["--readout=joint"] if name == "joint" else []
        call(f"--checkpoint={file}", "--format=stablehlo", f"--out={tmp_path}/{name}", *more)
    sequences = [tiny_models.joints(i, 12 - i, bodies=1 + i % 2) for i in range(4)]
    joints, length = tiny_models.padded(models["logits"], sequences)
    np.savez(tmp_path / "sequences.npz", joints=joints, length=length)
    subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, *models], cwd=tmp_path, check=True, timeout=300
    )

    for name, model in models.items():
        function = apply.logits if model.head else apply.features
        if name == "joint":
            function = functools.partial(function, readout="joint")
        expected = jax.jit(function, static_argnums=0)(model, model.variables, joints, length)
        with np.load(tmp_path / f"{name}.npz") as found:
            np.testing.assert_allclose(found["everything"], expected, atol=1e-5)
            np.testing.assert_allclose(found["one"], expected[2:3], atol=1e-5)
        assert np.ptp(expected, axis=0).min() > 1e-3
        described = json.loads((tmp_path / f"{name}.json").read_text())
        assert [described[size] for size in "LMVC"] == [12, 2, 20, 3]
        assert described["class_names"] == list(model.class_names)
        returns = {"logits": "logits (b, 3)", "features": "features (b, 8)"}
        assert described["returns"] == f"{returns.get(name, 'features (b, 160)')} float32"
        assert described.get("readout") == {"features": "mean", "joint": "joint"}.get(name)
        assert described["platforms"] == ["cpu", "cuda", "tpu"]


WITHOUT_JAX = """
import sys
for name in ("amr_jax", "jax", "flax", "torch"):
    sys.modules[name] = None  # any import of it fails
import json, numpy as np, onnxruntime, safetensors.numpy
folder = sys.argv[1]
with np.load(f"{folder}/sequences.npz") as arrays:
    joints, length = arrays["joints"], arrays["length"]
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
(everything,) = session.run(None, {"joints": joints, "length": length})
(one,) = session.run(None, {"joints": joints[2:3], "length": length[2:3]})
tensors = safetensors.numpy.load_file(f"{folder}/model.safetensors")
with open(f"{folder}/model.safetensors", "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
classes = json.loads(header["__metadata__"]["amr_jax"])["class_names"]
kernel = tensors["encoder/patch_embed/kernel"]
np.savez(f"{folder}/found.npz", everything=everything, one=one, kernel=kernel, classes=classes)
"""


def test_onnx_and_safetensors_need_neither_this_package_nor_jax(tmp_path, capsys):
    pytest.importorskip("jax2onnx", reason="extra 'onnx' is not installed")
    model = tiny_models.make("finetune", "packed")
    file = tmp_path / "model.safetensors"
    model_file.write(file, model)
    call(f"--checkpoint={file}", "--format=onnx", f"--out={tmp_path}/model.onnx")
    assert "encoder and head, 3 classes" in capsys.readouterr().out
    sequences = [tiny_models.joints(i, 12 - i, bodies=1 + i % 2) for i in range(4)]
    sequences[0][3] = 0  # a frame without anybody
    joints, length = tiny_models.padded(model, sequences)
    np.savez(tmp_path / "sequences.npz", joints=joints, length=length)
    script = [sys.executable, "-I", "-c", WITHOUT_JAX, tmp_path]
    subprocess.run(script, cwd="/", check=True, timeout=300)

    run = jax.jit(apply.logits, static_argnums=0)
    expected = np.asarray(run(model, model.variables, joints, length))
    with np.load(tmp_path / "found.npz") as found:
        within = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found["everything"], expected, atol=within)
        np.testing.assert_allclose(found["one"], expected[2:3], atol=within)
        params = model.variables["params"]
        np.testing.assert_array_equal(found["kernel"], params["encoder"]["patch_embed"]["kernel"])
        assert tuple(found["classes"]) == model.class_names
    described = json.loads((tmp_path / "model.onnx.json").read_text())
    assert (described["returns"], described["computes_in"]) == ("logits (b, 3) float32", "float32")


def test_an_onnx_file_that_computes_something_else_is_refused(evaluation):
    onnxruntime = pytest.importorskip("onnxruntime", reason="extra 'onnx' is not installed")
    _, model = evaluation

    class Session:
        def __init__(self, file, providers):
            pass

        def run(self, names, inputs):
            return [np.ones((len(inputs["length"]), 3), np.float32)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", Session)
        with pytest.raises(UserError, match="expected 1e-05 at most"):
            onnx_file.checked(model, b"")


def test_onnx_without_its_packages_names_the_extra(evaluation, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(SystemExit):
        call(f"--checkpoint={evaluation[0]}", "--format=onnx", f"--out={tmp_path}/out.onnx")
    assert "pip install 'amr_jax[onnx]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_safetensors_of_an_evaluation_is_its_model_file(evaluation, tmp_path, capsys):
    folder, _ = evaluation
    out = tmp_path / "out.safetensors"
    call(f"--checkpoint={folder}", "--format=safetensors", f"--out={out}")
    assert out.read_bytes() == (folder / model_file.NAME).read_bytes()
    assert "out.safetensors: encoder and head, 3 classes" in capsys.readouterr().out


def test_safetensors_of_a_run_is_its_encoder(pretraining, tmp_path, capsys):
    folder, params = pretraining
    out = tmp_path / "encoder.safetensors"
    call(f"--checkpoint={folder}", "--step=7", "--format=safetensors", f"--out={out}")
    assert "encoder alone" in capsys.readouterr().out
    named = safetensors.numpy.load_file(out)
    np.testing.assert_array_equal(
        named["encoder/patch_embed/kernel"], params["encoder"]["patch_embed"]["kernel"]
    )
    model = model_file.read(out)
    jax.tree.map(
        np.testing.assert_array_equal, model.variables["params"]["encoder"], params["encoder"]
    )
    assert (model.input.layout, model.input.centre, model.input.max_frames) == ("kinect_20", 1, 12)
    assert model.provenance["pretraining"] == {
        "method": "skeleton_mae",
        "dataset": "nwucla",
        "step": 7,
    }


def test_torch_of_an_evaluation_is_its_encoder(evaluation, tmp_path, capsys):
    folder, model = evaluation
    call(f"--checkpoint={folder}", "--format=torch", f"--out={tmp_path}/out.npz")
    assert "left out, as published models have no such part: head" in capsys.readouterr().out
    back, left_out = mamp.from_state_dict(files.read(tmp_path / "out.npz", mamp.ANCHOR).arrays)
    assert not left_out
    expected = model.variables["params"]["encoder"]
    jax.tree.map(np.testing.assert_array_equal, back, {"encoder": expected})


def test_torch_of_a_run_is_what_interop_exports(pretraining, tmp_path):
    folder, _ = pretraining
    call(f"--checkpoint={folder}", "--format=torch", f"--out={tmp_path}/out.npz")
    runs.export_run(folder, tmp_path / "interop.npz")
    ours, theirs = (
        files.read(tmp_path / name, mamp.ANCHOR).arrays for name in ("out.npz", "interop.npz")
    )
    assert "decoder_pred.weight" in ours
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_the_command_refuses(evaluation, tmp_path, capsys):
    folder, _ = evaluation
    given = {"checkpoint": folder, "format": "stablehlo", "out": tmp_path / "out"}
    for changes, message in (
        ({"checkpoint": None}, "--checkpoint is missing: workdir"),
        ({"format": None}, "--format is missing"),
        ({"out": None}, "--out is missing: the file to write"),
        ({"checkpoint": tmp_path / "absent"}, "absent: found No such file"),
        ({"step": 3}, "only a pre-training run has steps"),
        ({"dataset": "kard"}, "only a pre-training run has several data sets"),
        ({"format": "torch", "dataset": "kard"}, "torch has the embeddings of all joints"),
        (
            {"format": "torch"},
            "out: expected a file name that ends in .pth, .pt, .safetensors,",
        ),
        ({"readout": "joint"}, "has a classifier with a read-out of its own"),
        (
            {"format": "torch", "readout": "joint"},
            "--readout=joint: expected --format=stablehlo or",
        ),
        ({"out": tmp_path / "no" / "out"}, "no/out: could not be written"),
    ):
        arguments = [f"--{k}={v}" for k, v in {**given, **changes}.items() if v is not None]
        assert message in refused(capsys, call, *arguments), changes
