"""Pre-training on several data sets at once: resuming, devices, evaluation, refused settings."""

import sys

import jax
import numpy as np
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.config import checks
from amr_jax.data import batches, mixture, records
from amr_jax.errors import UserError
from amr_jax.inference import load
from amr_jax.run import checkpoint, sharding
from configs import amr, knn
from tests import custom_sets
from tests.test_pretrain import assert_same, assert_same_course, before_batch, tiny_config


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder of records of 12 + 6 sequences of up to two bodies of 15 joints, in metres."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for i in range(18):
        joints = rng.normal(size=(10 + i, 1 + i % 2, 15, 3)).cumsum(0) / 10
        kept = {"split": "train" if i < 12 else "test", "label": ["a", "b"][i % 2]}
        custom_sets.write_npz(folder / "raw", f"s{i:02d}", joints=joints, **kept)
    made = [f"--manual_dir={folder / 'raw'}", f"--data_dir={folder}", "--name=mine"]
    how = ["--layout=openni_15", "--channels=xyz", "--num_workers=1"]
    amr_jax_command(["prepare", "--dataset=custom", *made, *how])
    return str(folder / "custom" / "mine")


def mixed(tiny_ucla, own, **changes):
    config = tiny_config(tiny_ucla, **changes)
    config.dataset = amr.get_config(f"nwucla+{own},runlocal").dataset
    return config


@pytest.fixture(scope="module")
def undisturbed(tiny_ucla, own, tmp_path_factory):
    """The folder and the final state of a run on two sets, on one device."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, pretrain.run(mixed(tiny_ucla, own), folder, jax.devices()[:1])


def test_one_set_as_a_mix_is_that_set(tiny_ucla):
    mesh = sharding.make_mesh(jax.devices()[:2])
    source = records.Records(str(tiny_ucla), "nw_ucla/xview", "train", 1, 300)
    alone = mixture.Mixture({"nwucla": source}, {"nwucla": range(20)}, 20)
    assert alone.has_joints is None
    how = {"mode": "resident", "storage": "int16", "bodies": "packed", "second_body": "zeros"}
    found = []
    for one, kind in ((source, "proportional"), (alone, "proportional"), (alone, "balanced")):
        data = batches.load(one, mesh, **how, mixture=kind, batch_size=8, seed=0)
        found.append((data.resident, list(data.batches(0, 11, 3))))
    assert_same(found[0][0].frames, found[1][0].frames)
    jax.tree.map(np.testing.assert_array_equal, *found[:2])
    jax.tree.map(np.testing.assert_array_equal, found[0], found[2])


def test_a_resumed_run_on_several_sets_has_the_same_bits(
    tiny_ucla, own, undisturbed, tmp_path, monkeypatch
):
    _, expected = undisturbed
    config = mixed(tiny_ucla, own)
    with monkeypatch.context() as patch:
        before_batch(4, sys.exit, patch)
        with pytest.raises(SystemExit):
            pretrain.run(config, tmp_path, jax.devices()[:1])
    assert_same(pretrain.run(config, tmp_path, jax.devices()[:1]), expected)


def test_two_devices_and_streaming_train_on_several_sets_as_one(
    tiny_ucla, own, undisturbed, tmp_path
):
    config = mixed(tiny_ucla, own, **{"input.mode": "stream"})
    pretrain.run(config, tmp_path, jax.devices()[:2])
    assert_same_course(tmp_path, undisturbed[0])


def test_evaluation_selects_the_joints_of_a_set_by_name(tiny_ucla, own, undisturbed, tmp_path):
    found = {}
    for name in ("nwucla", own):
        config = knn.get_config(name)
        config.data_dir, config.pretrained = str(tiny_ucla), str(undisturbed[0])
        found[name] = evaluate.run(config, tmp_path / name.strip("/"))
    assert "adaptation" not in found["nwucla"] or not found["nwucla"]["adaptation"]
    assert found[own]["adaptation"]["new"] == []
    assert found[own]["adaptation"]["joints"]["spine middle"] == "spine"


def test_an_encoder_of_several_sets_is_told_whose_joints_the_files_have(own, undisturbed):
    folder, _ = undisturbed
    with pytest.raises(UserError, match=r"expected --dataset=NAME, one of nwucla, .*kinect_20"):
        load.load_model(folder)
    model = load.load_model(folder, dataset=own)
    assert model.input.layout == "openni_15"
    assert (model.input.max_frames, model.encoder.num_joints) == (27, 15)
    learned, _, _ = checkpoint.load_encoder(folder)
    rows = model.variables["params"]["encoder"]["position"]["joint"]
    np.testing.assert_array_equal(rows[2], learned["position"]["joint"][1])  # the spine
    assert load.load_model(folder, dataset="nwucla").input.layout == "kinect_20"
    with pytest.raises(UserError, match="lacks joints of ntu_25"):
        load.load_model(folder, dataset="ntu60_xsub")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nwucla+utdd", "unknown data set 'utdd'.* Did you mean utd?"),
        ("nwucla+nwucla_xsub", "nwucla and nwucla_xsub are of the same recordings"),
        ("utd+utd", "utd and utd are of the same recordings"),
        ("utd+kard,published", "nothing is published on several sets"),
        ("utd+", "unknown data set ''"),
    ],
)
def test_sets_that_cannot_be_one_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        amr.get_config(text)


def test_an_evaluation_is_of_one_set():
    with pytest.raises(UserError, match="expected one of them: utd, kard"):
        knn.get_config("utd+kard")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.mask_ratio": 0.2}, "bodies of kard have 180"),
        ({"input.stream": "bone"}, "'shoulder centre' of kard is not the end of the same bone"),
    ],
)
def test_settings_that_not_all_sets_allow(changes, message, tmp_path):
    config = amr.get_config("utd+kard")
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        pretrain.run(config, tmp_path)


def test_a_method_that_does_not_take_joints_trains_on_sets_with_the_same_ones():
    class Simple:
        num_kept = 24

        def __call__(self, clips, present):
            """A method of a user's own."""

    checks.require_mixture_fits(amr.get_config("utd+msr"), Simple())
    with pytest.raises(UserError, match="sets with the same joints, as amr does not take `joints`"):
        checks.require_mixture_fits(amr.get_config("utd+kard"), Simple())


def test_small_sets_share_the_small_model():
    one, several = amr.get_config("utd"), amr.get_config("kard+utd+florence")
    assert several.input.max_frames == 310
    several.dataset, several.input.max_frames = one.dataset, one.input.max_frames
    assert several == one
    assert amr.get_config("utd+ntu60_xsub").encoder.width == 256
