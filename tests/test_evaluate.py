"""The command `evaluate`: its files, its numbers, and what it refuses."""

import csv
import json

import jax
import matplotlib.image
import numpy as np
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.data import records
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test, score_file
from amr_jax.inference import apply, load, predict
from amr_jax.inference.read_file import Sequence
from amr_jax.pictures import look
from amr_jax.report import pretraining
from amr_jax.run import checkpoint, metrics, sharding, workdir
from amr_jax.skeleton import layouts
from configs import amr, finetune, knn, linear, semi
from tests.report.parsed import Page


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
    """Two of the eight simulated devices: with more, waiting takes most of the time."""
    make_mesh = sharding.make_mesh
    monkeypatch.setattr(
        sharding,
        "make_mesh",
        lambda devices=None, fsdp=1: make_mesh(devices or jax.devices()[:2], fsdp),
    )


@pytest.fixture(scope="module")
def pretrained(tiny_ucla, tmp_path_factory):
    """The workdir of a short pre-training run."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = amr.get_config("nwucla,runlocal")
    config.data_dir = str(tiny_ucla)
    config.input.split = "train"
    config.encoder.depth = config.model.decoder_depth = config.epochs = 1
    pretrain.run(config, folder, jax.devices()[:1])
    return folder


def configured(module, folder, **changes):
    config = module.get_config("nwucla,runlocal")
    config.pretrained = str(folder)
    config.train_split, config.test_split = "train", "test"
    config.update_from_flattened_dict(changes)
    return config


def test_linear_writes_its_files_and_leaves_the_encoder_unchanged(pretrained, tiny_ucla, tmp_path):
    before, _, _ = checkpoint.load_encoder(pretrained)
    results = evaluate.run(configured(linear, pretrained, epochs=3), tmp_path)
    after, _, _ = checkpoint.load_encoder(pretrained)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a, b)

    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert (results["train_sequences"], results["test_sequences"]) == (40, 20)
    for encoder in ("pretrained", "random"):
        numbers = results["encoders"][encoder]
        assert numbers["best_epoch_top1"] >= numbers["top1"]
        confusion = np.genfromtxt(tmp_path / f"confusion_{encoder}.csv", delimiter=",")[1:, 1:]
        assert confusion.sum() == 20
        np.testing.assert_allclose(np.trace(confusion) / 20, numbers["top1"])
        assert matplotlib.image.imread(tmp_path / f"confusion_{encoder}.png").size
        epochs = [line for line in metrics.read_metrics(tmp_path) if f"{encoder}/top1" in line]
        assert [line["step"] for line in epochs] == [1, 2, 3]
        assert epochs[-1][f"{encoder}/top1"] == numbers["top1"]
    written = score_file.read(tmp_path)
    assert sorted(written.logits) == ["pretrained", "random"]
    for encoder, logits in written.logits.items():
        right = logits.argmax(axis=1) == written.labels
        assert right.mean() == pytest.approx(results["encoders"][encoder]["top1"])
    assert all(name.endswith("_v03") for name in written.names)  # the test's camera
    assert "pretrained_accuracy" in (tmp_path / "per_class.csv").read_text()
    with (tmp_path / "results.csv").open() as file:
        for line in csv.DictReader(file):
            encoder = line["encoder"].split()[0]
            assert float(line["top1"]) == results["encoders"][encoder]["top1"]
    assert r"\toprule" in (tmp_path / "results.tex").read_text()
    assert (tmp_path / "per_class.tex").read_text().count(r" \\") == 1 + 10  # classes
    assert workdir.read_config(tmp_path).dtype == "float32"

    model = check_model_agrees(tmp_path, tiny_ucla, "pretrained")
    assert model.provenance["encoders"] == results["encoders"]

    shown = Page(tmp_path / "report.html")
    shown.check()
    accuracies = {row["encoder"]: row["top-1 %"] for row in shown.table("encoder")}
    assert accuracies == {
        name: f"{100 * numbers['top1']:.2f}" for name, numbers in results["encoders"].items()
    }


def test_the_report_of_a_run_draws_what_it_predicts_or_says_why_not(pretrained, monkeypatch):
    assert "Not drawn of a run of fewer than 100 steps" in (pretrained / "report.html").read_text()
    monkeypatch.setattr(pretraining, "_FEWEST_STEPS", 1)
    drawn = pretraining.content(pretrained, None, {})
    assert drawn.count('src="data:image/png;base64,') == 1
    assert "The first training sequence, a0" in drawn

    def refused(*_, **__):
        raise UserError("gfp <predicts> nothing that can be drawn.")

    monkeypatch.setattr(look, "of_run", refused)
    drawn = pretraining.content(pretrained, None, {})
    assert "Not drawn: gfp &lt;predicts&gt; nothing" in drawn
    assert "data:image/png" not in drawn


def check_model_agrees(folder, data_dir, encoder):
    """`predict` on the raw test sequences gives the logits of the evaluation."""
    model, said = load.load_model(folder), score_file.read(folder)
    assert model.class_names == tuple(said.class_names)
    test = records.Records(data_dir, "nw_ucla/xview", "test", None, model.input.max_frames)
    captured = [Sequence(name, test.joints(i)) for i, name in enumerate(said.names)]
    found = [result.output for result in predict.outputs(model, apply.logits, captured)]
    np.testing.assert_allclose(found, said.logits[encoder], atol=1e-3)
    return model


def test_a_classifier_on_another_readout_predicts_as_it_was_judged(pretrained, tiny_ucla, tmp_path):
    config = configured(linear, pretrained, epochs=2, readout="joint_deviation")
    results = evaluate.run(config, tmp_path)
    assert results["readout"] == "joint_deviation"
    model = check_model_agrees(tmp_path, tiny_ucla, "pretrained")
    width = model.encoder.width
    kernel = model.variables["params"]["head"]["dense"]["kernel"]
    assert kernel.shape == (2 * 20 * width, len(model.class_names))


def test_raw_coordinates_are_judged_beside_the_encoders(pretrained, tiny_ucla, tmp_path):
    plain = evaluate.run(configured(knn, pretrained), tmp_path / "plain")["encoders"]
    config = configured(knn, pretrained, raw_coordinates=True)
    found = evaluate.run(config, tmp_path / "raw")["encoders"]
    assert list(found) == ["pretrained", "random", "raw"]
    assert {name: found[name] | {"seconds": 0} for name in plain} == {
        name: numbers | {"seconds": 0} for name, numbers in plain.items()
    }
    assert (tmp_path / "raw" / "confusion_raw.csv").exists()
    drawn = [a for tag, a in Page(tmp_path / "raw" / "report.html").tags if tag == "svg"]
    strips = [a["aria-label"] for a in drawn if a["class"] == "film"]
    assert len(strips) in (8, 12, 16)  # 2 to 4 test sequences with three neighbours each

    subject = encoder_under_test.Subject.of(config)
    view = encoder_under_test.views(subject.config, subject.seen)["test_view"]
    vectors, labels = [], []
    for source in subject.open_records():
        examples = list(source.examples(np.arange(len(source))))
        rows = []
        for example in examples:
            joints = example["joints"][:, 0]  # NW-UCLA shows one body
            rows.append(np.asarray(view(None, joints, len(joints)), np.float64).ravel())
        vectors.append(np.array(rows) / np.linalg.norm(rows, axis=1)[:, None])
        labels.append(np.array([example["label"] for example in examples]))
    nearest = (vectors[1] @ vectors[0].T).argmax(axis=1)
    expected = (labels[0][nearest] == labels[1]).mean()
    assert found["raw"]["top1"] == pytest.approx(expected)


def test_knn_again_and_adapted_to_its_own_data_set_gives_the_same_numbers(
    pretrained, tmp_path, capsys
):
    config = configured(knn, pretrained)
    first = evaluate.run(config, tmp_path / "plain")["encoders"]
    results = evaluate.run(config, tmp_path / "plain")
    again = results["encoders"]
    assert results["test_sequences_with_twin"] == 20
    # Each test sequence was seen by the two cameras of the training split.
    said = capsys.readouterr().out
    assert "evaluating again" in said
    assert "20 of 20 test sequences show a performance" in said
    assert "1-NN without twins %" in said
    assert all(numbers["top1_without_twins"] <= 1 for numbers in again.values())
    adapted = evaluate.run(configured(knn, pretrained, adapt=True), tmp_path / "adapted")
    for encoder, numbers in first.items():
        for other in (again, adapted["encoders"]):
            assert other[encoder] | {"seconds": 0} == numbers | {"seconds": 0}


def test_an_encoder_is_adapted_to_other_joints_and_frames(pretrained, tiny_ntu, tmp_path, capsys):
    changes = {"dataset": "ntu60_xsub", "data_dir": str(tiny_ntu), "adapt": True, "num_frames": 24}
    results = evaluate.run(configured(knn, pretrained, **changes), tmp_path)
    said = capsys.readouterr().out
    assert "20 of 25 joints matched; 12 times interpolated to 6" in said
    assert "neck, left hand tip" in said
    assert results["adaptation"]["joints"]["spine base"] == "hip centre"
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert results["encoders"].keys() == {"pretrained", "random"}


def test_the_stream_is_the_pretraining_runs():
    pretraining = amr.get_config("nwucla")
    clip = np.random.default_rng(0).normal(size=(60, 20, 3)).astype(np.float32)

    def seen(stream):
        pretraining.input.stream = stream
        views = encoder_under_test.views(knn.get_config("nwucla"), pretraining).values()
        return [np.asarray(view(jax.random.key(0), clip, 60)) for view in views]

    parents = layouts.KINECT_20.parents
    for joints, bones, motion in zip(seen("joint"), seen("bone"), seen("motion"), strict=True):
        np.testing.assert_allclose(bones, joints - joints[:, parents], atol=1e-6)
        np.testing.assert_allclose(motion[:-1], np.diff(joints, axis=0), atol=1e-6)
        assert not motion[-1].any()


def test_without_a_run_fine_tuning_is_training_from_scratch(tiny_ucla, tmp_path, capsys):
    config = configured(finetune, "", data_dir=str(tiny_ucla), epochs=2)
    # All that is trained is read from here alone.
    config.scratch.encoder.update({"width": 8, "depth": 1})
    with pytest.raises(UserError, match=r"encoder\.num_joints = 25: expected 20, the joints"):
        evaluate.run(
            configured(finetune, "", **{"scratch.encoder.num_joints": 25}), tmp_path / "results"
        )
    results = evaluate.run(config, tmp_path / "results")
    assert list(results["encoders"]) == ["random"]
    assert results["pretraining"] is None
    assert results["encoders"]["random"]["epochs"] == 2
    output = capsys.readouterr().out
    assert "random (trained from scratch)" in output
    assert "untrained, from config.scratch" in output
    assert list(score_file.read(tmp_path / "results").logits) == ["random"]
    check_model_agrees(tmp_path / "results", tiny_ucla, "random")
    assert workdir.read_config(tmp_path / "results").pretrained is None


def test_draws_are_reported_each_and_together(pretrained, tmp_path, capsys):
    config = configured(semi, pretrained, epochs=1, fraction=0.5, random_encoder=False)
    results = evaluate.run(config, tmp_path)
    numbers = results["encoders"]["pretrained"]
    top1 = [draw["top1"] for draw in numbers["each_draw"]]
    assert len(top1) == numbers["draws"] == 2
    assert numbers["top1"] == pytest.approx(np.mean(top1))
    assert numbers["labelled_sequences"] == 20
    confusion = np.genfromtxt(tmp_path / "confusion_pretrained.csv", delimiter=",")[1:, 1:]
    assert confusion.sum() == 2 * 20
    output = capsys.readouterr().out
    mean, std = 100 * numbers["top1"], 100 * numbers["top1_std"]
    assert f"{mean:.2f} ± {std:.2f}" in output
    assert f"top-1 % of each of 2 draws: {100 * top1[0]:.2f}, {100 * top1[1]:.2f}" in output


def test_wrong_settings_are_named_before_anything_is_written(pretrained, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    folder = tmp_path / "results"
    for changes, message in {
        ("pretrained", ""): r"--config\.pretrained=DIR",
        ("pretrained", str(empty)): r"config\.json: not found; expected the workdir",
        ("pretrained", str(tmp_path / "absent")): r"absent/config\.json: not found",
        ("step", 999): r"found steps? .*expected 999",
        ("average", True): r"kept no average",
        (
            "dataset",
            "ntu60_xsub",
        ): r"with 20 joints .*not 25.*trained on nwucla.*--config\.adapt=True",
        ("num_frames", 24): r"num_frames = 24: expected 48: .*--config\.adapt=True",
        ("num_frames", 50): r"num_frames = 50: expected None or a multiple of 4",
        ("dataset", "ntu61"): r"unknown data set 'ntu61'",
        ("data_dir", "/nowhere"): r"/nowhere.*python -m amr_jax\.prepare",
        ("protocol", "magic"): r"config\.protocol = 'magic'",
        ("test_fraction", 1.5): r"config\.test_fraction = 1\.5",
        ("dtype", "float16"): r"config\.dtype",
    }.items():
        with pytest.raises(UserError, match=message):
            evaluate.run(configured(knn, pretrained, **dict([changes])), folder)
        assert not folder.exists(), changes


def test_an_encoder_of_another_architecture_is_refused(pretrained, tmp_path):
    config_file = pretrained / workdir.CONFIG_FILE
    text = config_file.read_text()
    config = json.loads(text)
    config["encoder"]["width"] = 64
    config_file.write_text(json.dumps(config))
    try:
        with pytest.raises(UserError, match=r"(?s)another architecture.*\(32,\).*\(64,\)"):
            evaluate.run(configured(knn, pretrained), tmp_path)
    finally:
        config_file.write_text(text)


def test_a_workdir_that_cannot_be_made_is_named(pretrained, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"--workdir=.*/file/results: cannot make this folder"):
        evaluate.run(configured(knn, pretrained), tmp_path / "file" / "results")
