"""Workdirs: nothing of value is damaged, and nobody is locked out of one that holds nothing."""

import hashlib
import json
import re

import jax
import numpy as np
import pytest

from amr_jax import compare, evaluate, prepare, pretrain
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import UserError
from amr_jax.evaluation import ensembles
from amr_jax.inference.pytorch import files, runs
from amr_jax.run import checkpoint, lock, metrics, workdir
from configs import compare as compare_config
from configs import knn, linear
from tests import custom_sets
from tests.inference.pytorch import published
from tests.refusals import refused
from tests.test_evaluate import configured, two_devices  # noqa: F401 - a fixture for all
from tests.test_pretrain import assert_same, run_killed_at_step_8, tiny_config

ONE = jax.devices()[:1]


@pytest.fixture(scope="module")
def trained(tiny_ucla, tmp_path_factory):
    """A finished run, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, pretrain.run(tiny_config(tiny_ucla), folder, ONE)


@pytest.fixture
def unchanged(trained):
    """Asserts in the end that no file of the finished run has changed."""

    def digests():
        return {
            path: hashlib.sha256(path.read_bytes()).digest()
            for path in sorted(trained[0].rglob("*"))
            if path.is_file() and path.name != lock.LOCK_FILE
        }

    before = digests()
    yield trained[0]
    assert digests() == before


@pytest.mark.parametrize("protocol", [linear, knn])
def test_an_evaluation_in_the_run_itself_is_refused(protocol, unchanged):
    config = configured(protocol, unchanged)
    with pytest.raises(UserError) as error:
        evaluate.run(config, unchanged)
    said = str(error.value)
    assert said.startswith(f"{unchanged}: the workdir of a pre-training run; expected a folder of")
    assert f"such as --workdir={unchanged}/{config.protocol}. Nothing was changed." in said


def test_other_commands_in_the_workdir_of_a_run_are_refused(unchanged, tiny_ucla, tmp_path):
    config = compare_config.get_config("nwucla,runlocal")
    config.data_dir = str(tiny_ucla)
    with pytest.raises(UserError, match=r"workdir of a pre-training run; .* for a comparison"):
        compare.run(config, unchanged)
    with pytest.raises(UserError, match="the workdir of a run; expected a folder of its own for"):
        ensembles.run([tmp_path / "a", tmp_path / "b"], [1, 1], unchanged)
    files.write(tmp_path / "w.npz", published.state_dict(joints=20))
    with pytest.raises(UserError, match="holds a run with checkpoints already"):
        runs.import_run(tmp_path / "w.npz", unchanged, "nwucla", num_heads=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--format=safetensors", "--out=RUN/config.json"),
        ("export", "--format=stablehlo", "--out=RUN/metrics.jsonl"),
        ("export", "--format=torch", "--out=RUN/checkpoints/10/weights.npz"),
        ("predict", "--embeddings=RUN/versions.json", "x.npy"),
        ("predict", "--json=RUN/metrics.jsonl", "x.npy"),
    ],
)
def test_outputs_do_not_replace_files_of_a_run(arguments, unchanged, capsys):
    command, *rest = (argument.replace("RUN", str(unchanged)) for argument in arguments)
    told = refused(capsys, amr_jax_command, [command, f"--checkpoint={unchanged}", *rest])
    assert "which commands read again; expected another name" in told


def test_a_finished_run_goes_on_as_if_planned_longer(tiny_ucla, trained, tmp_path, capsys):
    """The steps and the bits of a run that was planned so from the start."""
    folder, shorter = tmp_path / "run", tiny_config(tiny_ucla)
    pretrain.run(shorter, folder, ONE)
    with pytest.raises(UserError, match="The learning rate follows a curve over the whole run"):
        pretrain.run(tiny_config(tiny_ucla, epochs=4), folder, ONE)
    longer = tiny_config(tiny_ucla, epochs=4, **{"optim.schedule_epochs": 2.0})
    capsys.readouterr()
    state = pretrain.run(longer, folder, ONE)
    assert (
        "was planned for 2 epochs with a schedule of 2; expected now: 4 epochs with"
        in capsys.readouterr().out
    )
    assert_same(state, pretrain.run(longer, tmp_path / "planned", ONE))
    lines = [metrics.read_metrics(at) for at in (folder, tmp_path / "planned", trained[0])]
    assert [line["step"] for line in lines[0]] == list(range(2, 21, 2))
    losses = [[line["loss"] for line in of_run] for of_run in lines]
    assert losses[0] == losses[1]
    assert losses[0][:5] == losses[2]
    assert workdir.read_config(folder).epochs == 4


def test_a_run_that_died_before_its_first_checkpoint_begins_anew(
    tiny_ucla, trained, tmp_path, monkeypatch, capsys
):
    run_killed_at_step_8(
        tiny_config(tiny_ucla, seed=7, **{"checkpoint.epochs": 50}), tmp_path, monkeypatch
    )
    assert not checkpoint.has_one(tmp_path)
    assert len(metrics.read_metrics(tmp_path)) == 3
    for use in (
        lambda: evaluate.run(configured(knn, tmp_path), tmp_path / "knn"),
        lambda: runs.export_run(tmp_path, tmp_path / "x.npz"),
        lambda: amr_jax_command(["predict", f"--checkpoint={tmp_path}", "--embeddings=x", "y.npy"]),
    ):
        with pytest.raises((UserError, SystemExit)) as error:
            use()
        said = f"{error.value}{capsys.readouterr().err}"
        assert "found no complete checkpoint; expected one" in said
        assert "Start its pretrain command again" in said
    state = pretrain.run(tiny_config(tiny_ucla), tmp_path, ONE)
    said = capsys.readouterr().out
    assert "ended before it saved anything; it is replaced:" in said
    assert "config.checkpoint.epochs" not in said  # may differ in any case
    assert "config.seed: 7 in the workdir, 0 now" in said
    assert_same(state, trained[1])
    lines = [[line["loss"] for line in metrics.read_metrics(at)] for at in (tmp_path, trained[0])]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    "changes", [{"epochs": 5}, {"model.r": 3}, {"encoder.width": 8}, {"batch_size": 16}]
)
def test_any_setting_may_change_before_the_first_checkpoint(
    changes, tiny_ucla, tmp_path, monkeypatch, capsys
):
    def killed(*_):
        raise SystemExit

    monkeypatch.setattr(pretrain.loop, "train", killed)
    for config in (tiny_config(tiny_ucla), tiny_config(tiny_ucla, **changes)):
        with pytest.raises(SystemExit):
            pretrain.run(config, tmp_path, ONE)
    ((key, value),) = changes.items()
    assert re.search(rf"config\.{key}: \d+ in the workdir, {value} now", capsys.readouterr().out)
    assert workdir.flat(workdir.read_config(tmp_path))[key] == value


def test_an_evaluation_without_results_takes_another_config(trained, tmp_path, monkeypatch, capsys):
    one = configured(knn, trained[0], k=1)
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_outcomes", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            evaluate.run(one, tmp_path)
    evaluate.run(configured(knn, trained[0], k=2), tmp_path)
    said = capsys.readouterr().out
    assert "config.k: 1 in the workdir, 2 now" in said
    with pytest.raises(UserError, match=r"config\.k: 2 in the workdir, 1 now"):
        evaluate.run(one, tmp_path)
    (tmp_path / workdir.CONFIG_FILE).unlink()  # as the folder of an ensemble
    with pytest.raises(UserError, match="holds the results of another command"):
        evaluate.run(one, tmp_path)
    assert json.loads((tmp_path / evaluate.RESULTS_FILE).read_text())["encoders"]


def own_set(folder, labels, splits, **options):
    """Records of a user's own data with these labels and splits; -1 stands in a labels.csv."""
    if labels[0] == -1:
        rows = [f"s{number:02},-1,{split or ''}" for number, split in enumerate(splits)]
        (folder / "raw").mkdir()
        (folder / "raw" / "labels.csv").write_text("\n".join(["name,label,split", *rows]))
        labels = splits = [None] * len(labels)
    for number, (label, split) in enumerate(zip(labels, splits, strict=True)):
        joints = np.random.default_rng(number).normal(size=(30, 1, 20, 3))
        name = f"s{number:02}"
        custom_sets.write_npz(folder / "raw", name, label=label, split=split, joints=joints)
    options |= {"name": "mine", "layout": "kinect_20", "channels": "xyz"}
    prepare.prepare("custom", folder / "raw", folder / "data", num_workers=1, **options)
    return str(folder / "data" / "custom" / "mine")


HALVES = ["train"] * 6 + ["test"] * 6


@pytest.mark.parametrize("label", [None, -1])
@pytest.mark.parametrize("splits", [HALVES, [None] * 12])
def test_data_without_labels_are_not_evaluated(label, splits, trained, tmp_path):
    dataset = own_set(tmp_path, [label] * 12, splits)
    with pytest.raises(UserError, match=r"mine: its sequences have no labels; expected") as error:
        evaluate.run(configured(knn, trained[0], dataset=dataset, adapt=True), tmp_path / "knn")
    assert "labels.csv: docs/own_data.md" in str(error.value)
    assert "`pretrain` and `predict --embeddings` work" in str(error.value)
    assert not (tmp_path / "knn").exists()


def test_data_without_a_test_split_are_not_evaluated(trained, tmp_path):
    dataset = own_set(tmp_path, ["a", "b"] * 6, [None] * 12, test_fraction="0")
    with pytest.raises(UserError, match=r"found the splits train; .*--test_fraction=0\.2"):
        evaluate.run(configured(knn, trained[0], dataset=dataset, adapt=True), tmp_path / "knn")


@pytest.mark.parametrize(
    ("labels", "message", "untrained"),
    [
        (["walk"] * 12, "note: all sequences are of one class, 'walk'", []),
        (
            ["a", "b", "a", "b", "a", "b", "a", "c", "c", "d", "b", "a"],
            "note: 2 classes of the test split have no training sequence (c, d): 3 of 6 test",
            ["c", "d"],
        ),
        (["a", "b"] * 6, None, []),
    ],
)
def test_odd_labels_are_told(labels, message, untrained, trained, tmp_path, capsys):
    dataset = own_set(tmp_path, labels, HALVES)
    config = configured(knn, trained[0], dataset=dataset, adapt=True, random_encoder=False)
    results = evaluate.run(config, tmp_path / "knn")
    said = capsys.readouterr().out
    assert (message in said) if message else ("of one class" not in said)
    assert results["classes_only_in_test"] == untrained
