"""Loading models from model files and workdirs."""

import functools

import jax
import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.inference import apply, load, model_file
from amr_jax.skeleton import layouts
from tests import tiny_models
from tests.models.params import encoder as build


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, tiny_models.save_run(folder)


def test_loads_the_encoder_of_a_pretraining_run(run):
    folder, params = run
    model = load.load_model(folder)
    assert model.encoder == build(
        num_frames=12, num_joints=20, patch_len=3, width=8, depth=1, num_heads=2
    )
    assert (model.head, model.class_names, model.bodies) == (None, (), "packed")
    jax.tree.map(
        np.testing.assert_array_equal,
        model.variables,
        {"params": {"encoder": params["encoder"]}, "batch_stats": {}},
    )
    layout = layouts.KINECT_20
    assert model.input == apply.Input(
        layout="kinect_20",
        joints=layout.joints,
        parents=layout.parents,
        channels="xyz",
        centre=1,
        max_frames=12,
        num_bodies=2,
        test_fraction=0.95,
    )
    assert model.provenance["pretraining"] == {
        "method": "skeleton_mae",
        "dataset": "nwucla",
        "step": 7,
    }
    batch = tiny_models.padded(model, [tiny_models.joints(0, 12)])
    features = jax.jit(functools.partial(apply.features, model))(model.variables, *batch)
    assert features.shape == (1, 8)


def test_loads_a_file_or_its_folder(tmp_path):
    model_file.write(tmp_path / model_file.NAME, tiny_models.make())
    for path in (tmp_path, tmp_path / model_file.NAME):
        assert load.load_model(path).class_names == tiny_models.CLASSES


def test_checkpoints_take_precedence_over_a_model_file_in_the_folder(run):
    folder, _ = run
    model_file.write(folder / model_file.NAME, tiny_models.make())
    assert load.load_model(folder).head is None


def test_refuses_paths_without_a_model(run, tmp_path):
    folder, _ = run
    with pytest.raises(UserError, match="found steps 7; expected 3"):
        load.load_model(folder, step=3)
    with pytest.raises(UserError, match=r"config\.json: not found"):
        load.load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"protocol": "knn"}')
    with pytest.raises(UserError, match=r"evaluation by 'knn' without model\.safetensors"):
        load.load_model(tmp_path)
    model_file.write(tmp_path / model_file.NAME, tiny_models.make())
    with pytest.raises(UserError, match=r"--step=3: only a pre-training run has steps"):
        load.load_model(tmp_path, step=3)
