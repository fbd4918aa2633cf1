"""A user's own data through all commands: from a pickle of 2-D key points to a linear probe."""

import json
import math

import jax
import numpy as np
import pytest

from amr_jax import evaluate, methods, prepare, pretrain
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.config import arguments
from amr_jax.data import datasets, record_folder, records
from amr_jax.errors import UserError
from amr_jax.evaluation import adapt as transfer
from amr_jax.evaluation import encoder_under_test
from amr_jax.ops import normalise
from amr_jax.run import workdir
from amr_jax.studies import rows
from tests import custom_sets
from tests.config.test_configs import COMPARISONS, METHODS, PROTOCOLS, get_config, leaves


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """Folder of prepared records: 12 sequences in an image, with confidence."""
    folder = tmp_path_factory.mktemp("own")
    exchange = custom_sets.write_pickle(folder / "set.pkl", custom_sets.exchange())
    amr_jax_command(
        [
            "prepare",
            "--dataset=custom",
            f"--manual_dir={exchange}",
            f"--data_dir={folder}/data",
            "--name=mine",
            "--layout=coco_17",
            "--channels=xyc",
            "--num_workers=1",
        ]
    )
    return folder / "data" / "custom" / "mine"


def test_the_folder_is_a_row_of_the_table(own):
    row = datasets.get(str(own))
    assert row.layout.name == "coco_17"
    assert (row.channels, row.has_confidence, row.centre) == ("xyc", True, True)
    assert row.turns_about == (False, False, True)
    assert row.max_frames == max(
        custom_sets.annotation(i, i % 2)["total_frames"] for i in range(12)
    )
    assert (row.first("train", 8), row.first("train", 7)) == ("train", "train[:7]")
    assert datasets.get("nwucla").first("train", 64) == "train[:64]"


def test_a_config_finds_the_records_from_anywhere(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    chosen = arguments.read("./mine,runlocal")
    name, row = chosen.name, chosen.dataset
    assert (name, chosen.runlocal, chosen.published) == (str(own), True, False)
    monkeypatch.chdir("/")
    assert datasets.get(name) == row
    split = records.Records("not/there", row.records, "train", row.layout.centre, row.max_frames)
    assert (split.num_slots, split.num_joints, split.num_channels) == (2, 17, 3)


def test_loaded_bodies_have_the_size_of_one(own):
    row = datasets.get(str(own))
    split = records.Records("", row.records, "train", row.layout.centre, row.max_frames)
    for joints in map(split.joints, range(len(split))):
        hips = joints[0, 0, list(row.layout.centre), :2]
        np.testing.assert_allclose(hips.mean(axis=0), 0, atol=1e-5)
        assert normalise.body_size(joints, "xyc") == pytest.approx(1, rel=1e-3)
        confidence = joints[:, 0, :, 2]
        assert confidence.min() > 0.4
        assert confidence.max() <= 1
    captured = records.Records("", row.records, "train", None, row.max_frames).joints(0)
    assert normalise.body_size(captured, "xyc") == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_config_for_it(own, method):
    config, runlocal = get_config(method, str(own)), get_config(method, f"{own},runlocal")
    assert sorted(leaves(config).values()) == sorted(leaves(runlocal).values())
    assert config.dataset == str(own)
    assert (config.encoder.num_joints, config.encoder.channels) == (17, 3)
    assert config.encoder.confidence
    assert config.augment.max_angles == (0, 0, 0.3)
    if method == "sjepa":
        assert config.model.view_angles == (0, 0, 0.3)
    assert runlocal.input.split == "train"
    methods.build(pretrain.resolve(config))


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_every_protocol_has_a_config_for_it(own, protocol):
    assert get_config(protocol, f"{own},runlocal").dataset == str(own)


@pytest.mark.parametrize("comparison", sorted(COMPARISONS))
def test_methods_can_be_compared_on_it(own, comparison):
    config = get_config(comparison, f"{own},runlocal")
    trained = [name for name in rows.in_order(config) if "config" in config.rows[name]]
    assert len(trained) > 2  # the others are ensembles
    for name in trained:
        made = pretrain.resolve(rows.pretraining(config, name))
        assert made.dataset == str(own)
        methods.build(made)


def tiny(own, method="amr"):
    config = get_config(method, f"{own},runlocal")
    config.epochs = 1
    config.batch_size = 8
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 8
    config.encoder.depth = 1
    return config


def test_pretrained_and_probed(own, tmp_path):
    config = tiny(own)
    state = pretrain.run(config, tmp_path / "run", jax.devices()[:1])
    assert int(state.step) == 1
    # r·l frames of a joint are predicted, x and y of each: no confidence.
    assert state.params["decoder"]["pred"]["bias"].shape == (6 * 4 * 2,)
    assert state.params["encoder"]["patch_embed"]["kernel"].shape == (4 * 3, 8)
    # A later command needs only the workdir and the data set's folder.
    assert datasets.get(workdir.read_config(tmp_path / "run").dataset) == datasets.get(str(own))
    probe = get_config("linear", f"{own},runlocal")
    probe.pretrained = str(tmp_path / "run")
    probe.epochs = 1
    probe.random_encoder = False
    results = evaluate.run(probe, tmp_path / "probe")
    assert (results["train_sequences"], results["test_sequences"]) == (8, 4)
    assert results["num_classes"] == 2
    assert math.isfinite(results["encoders"]["pretrained"]["top1"])


def test_a_rotation_out_of_the_image_is_refused(own, tmp_path):
    config = tiny(own)
    config.augment.max_angles = (0.3, 0.3, 0.3)
    with pytest.raises(UserError, match="rotate about z only"):
        pretrain.run(config, tmp_path / "run", jax.devices()[:1])


def test_a_confidence_is_not_taken_for_a_coordinate(own, tmp_path):
    config = tiny(own)
    config.encoder.confidence = False
    with pytest.raises(UserError, match=r"confidence=False: the records of .*is a confidence"):
        pretrain.run(config, tmp_path / "run", jax.devices()[:1])


def test_another_set_of_other_channels_is_refused(own, tmp_path):
    exchange = custom_sets.write_pickle(
        tmp_path / "set.pkl", custom_sets.exchange(4, channels="xyz")
    )
    how = {"name": "space", "layout": "coco_17", "channels": "xyz", "num_workers": 1}
    prepare.prepare("custom", exchange, tmp_path, **how)
    probe = get_config("linear", f"{tmp_path}/custom/space")
    probe.pretrained = "run"
    run = get_config("amr", str(own))
    probe = encoder_under_test.resolve(probe, run)
    with pytest.raises(UserError, match=r"channels xyc, not xyz: .*mine"):
        transfer.settings(probe, run)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, "FileNotFoundError"),
        ("{", "JSONDecodeError"),
        ('{"gaps": "contiguous"}', "KeyError"),
        ("[]", "TypeError"),
    ],
)
def test_a_folder_that_is_no_set(tmp_path, content, kind):
    folder = tmp_path / "custom" / "gone"
    if content is not None:
        (folder / record_folder.VERSION).mkdir(parents=True)
        (folder / record_folder.VERSION / "metadata.json").write_text(content)
    with pytest.raises(UserError, match=rf"gone: found no custom data.*{kind}.*correct 'dataset'"):
        get_config("amr", str(folder))


def test_a_damaged_layout_is_named(own, tmp_path):
    file = tmp_path / record_folder.VERSION / "metadata.json"
    file.parent.mkdir()
    metadata = json.loads((own / record_folder.VERSION / "metadata.json").read_text())
    file.write_text(json.dumps(metadata | {"layout": "coco_18"}))
    with pytest.raises(UserError, match=r"metadata\.json: found .*; expected"):
        datasets.get(str(tmp_path))


def test_records_that_went_are_missed_by_name(own, tmp_path):
    with pytest.raises(UserError, match=r"--dataset=custom --name=x .*--data_dir=.*data\."):
        records.Records("", str(tmp_path / "data./custom/x"), "train", None, 10)
