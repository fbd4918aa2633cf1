"""The folder of a run: files are whole, and one run uses it."""

import itertools
import json

import ml_collections
import pytest

from amr_jax import evaluate
from amr_jax.config import settings
from amr_jax.errors import UserError
from amr_jax.evaluation import score_file
from amr_jax.inference import model_file
from amr_jax.run import lock, metrics, workdir
from amr_jax.studies import cells


def config(**changes) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict({"a": 1, "sizes": (4, 8), "input": {"mode": "x"}} | changes)


def test_the_same_config_is_accepted_again(tmp_path):
    workdir.start(tmp_path, config(), set())
    workdir.start(tmp_path, config(), set())  # a tuple reads back as a list: still the same
    assert workdir.read_config(tmp_path).a == 1
    assert "jax" in (tmp_path / workdir.VERSIONS_FILE).read_text()


def test_another_config_is_refused_by_key(tmp_path):
    workdir.start(tmp_path, config(), set())
    with pytest.raises(UserError, match=r"(?s)another config.*config\.a: 1 in the workdir, 2 now"):
        workdir.start(tmp_path, config(a=2), {"input"})
    assert workdir.read_config(tmp_path).a == 1


KINDS = {
    "a pre-training run": {"method": "amr", "input": {}},
    "an evaluation": {"protocol": "linear"},
    "imported weights": {"method": "mamp", "imported": {"file": "x"}, "input": {}},
    "a comparison": {"rows": {}, "protocols": ["linear"]},
}


@pytest.mark.parametrize(("was", "now"), list(itertools.permutations(KINDS, 2)))
@pytest.mark.parametrize("holds_work", [True, False])
def test_the_folder_of_another_command_is_refused_in_one_sentence(was, now, holds_work, tmp_path):
    workdir.start(tmp_path, config(**KINDS[was]), set())
    before = (tmp_path / workdir.CONFIG_FILE).read_bytes()
    with pytest.raises(UserError) as error:
        workdir.start(tmp_path, config(**KINDS[now]), set(), holds_work)
    said = str(error.value)
    assert f"{tmp_path}: the workdir of {was}; expected a folder of its own for {now}" in said
    assert (f"such as --workdir={tmp_path}/linear" in said) == (now == "an evaluation")
    assert (tmp_path / workdir.CONFIG_FILE).read_bytes() == before


def test_a_config_that_nothing_was_made_with_is_replaced_and_told(tmp_path, capsys):
    workdir.start(tmp_path, config(), set())
    workdir.start(tmp_path, config(), set(), holds_work=False)
    assert capsys.readouterr().out == ""
    workdir.start(tmp_path, config(a=2, b=3, input={"mode": "y"}), {"input"}, holds_work=False)
    said = capsys.readouterr().out
    assert "ended before it saved anything; it is replaced" in said
    assert "config.a: 1 in the workdir, 2 now\n  config.b: absent in the workdir, 3 now" in said
    assert "mode" not in said  # may differ in any case
    assert workdir.read_config(tmp_path).a == 2
    (tmp_path / workdir.CONFIG_FILE).write_text('{"a": ')
    workdir.start(tmp_path, config(a=4), set(), holds_work=False)
    assert "config.json: not readable as JSON" in capsys.readouterr().out
    assert workdir.read_config(tmp_path).a == 4


OWN = (
    workdir.CONFIG_FILE,
    workdir.VERSIONS_FILE,
    lock.LOCK_FILE,
    metrics.METRICS_FILE,
    evaluate.RESULTS_FILE,
    cells.ROW_FILE,
    score_file.FILE,
    model_file.NAME,
)


@pytest.mark.parametrize(
    "name", [*OWN, "linear/results.json", "checkpoints/7/state", "checkpoints/x", "tensorboard/x"]
)
def test_files_of_a_run_are_not_written_over(name, tmp_path):
    workdir.refuse_own_file(tmp_path / name, "--out")  # not the workdir of a run
    workdir.start(tmp_path, config(), set())
    with pytest.raises(UserError, match=rf"--out={tmp_path}/{name}: a file of the workdir"):
        workdir.refuse_own_file(tmp_path / name, "--out")
    for other in ("features.npz", "predictions.jsonl", "exported/model.pth"):
        workdir.refuse_own_file(tmp_path / other, "--out")


def test_free_keys_may_change(tmp_path):
    workdir.start(tmp_path, config(), set())
    workdir.start(tmp_path, config(input={"mode": "y"}), {"input"})
    assert workdir.read_config(tmp_path).input.mode == "y"


def test_a_folder_without_a_config_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"config\.json: not found; expected the workdir"):
        workdir.read_config(tmp_path)


def test_a_damaged_config_is_named(tmp_path):
    (tmp_path / workdir.CONFIG_FILE).write_text('{"a": ')
    with pytest.raises(UserError, match=r"config\.json: not readable as JSON"):
        workdir.read_config(tmp_path)


def test_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    workdir.write(path, "old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(workdir.epath.Path(path)), "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        workdir.write(path, "new")
    assert path.read_text() == "old"


def test_settings_that_are_newer_take_the_values_that_were_computed_with(tmp_path):
    run = {"method": "amr", "input": {}, "encoder": {}, "optim": {"lr": 1.0}}
    run["model"] = {"mask_ratio": 0.9}
    tuned = {"protocol": "finetune", "optim": {}, "scratch": {"encoder": {}}}
    tables = {"rows": {"a": 1}}
    for given, expected in (
        (run, {"judged": "encoder", "optim.decay_on": "kernels", "model.round_visible": "nearest"}),
        (tuned, {"second_body": "zeros", "scratch.encoder.patch_init": "xavier"}),
        ({"protocol": "knn", "encode_batch_size": 64}, {"readout": "mean", "whiten": False}),
        (tables, {"published": False}),
        ({**run, "model": {"target": "motion"}}, {"model.motion_stride": 1}),
    ):
        workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps(given))
        read = workdir.read_config(tmp_path)
        assert {key: settings.lookup(read, key) for key in expected} == expected
    frozen = {"protocol": "linear", "encode_batch_size": 64}
    workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps(frozen))
    assert {"optim", "whiten"}.isdisjoint(workdir.read_config(tmp_path))
    workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps(run))
    assert "motion_stride" not in workdir.read_config(tmp_path).model
    workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps({**run, "judged": "average"}))
    assert workdir.read_config(tmp_path).judged == "average"
