"""The folder of a run: files are whole, and one run uses it."""

import json

import ml_collections
import pytest

from amr_jax.config import settings
from amr_jax.errors import UserError
from amr_jax.run import workdir


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
    run = {"method": "amr", "input": {}, "encoder": {}, "model": {}, "optim": {"lr": 1.0}}
    tuned = {"protocol": "finetune", "optim": {}, "scratch": {"encoder": {}}}
    tables = {"rows": {"a": 1}}
    for given, expected in (
        (run, {"judged": "encoder", "optim.decay_on": "kernels", "model.round_visible": "nearest"}),
        (tuned, {"second_body": "zeros", "scratch.encoder.patch_init": "xavier"}),
        (tables, {"published": False}),
        ({**run, "model": {"target": "motion"}}, {"model.motion_stride": 1}),
    ):
        workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps(given))
        read = workdir.read_config(tmp_path)
        assert {key: settings.lookup(read, key) for key in expected} == expected
    workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps({"protocol": "knn", "k": 1}))
    assert "optim" not in workdir.read_config(tmp_path)
    workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps(run))
    assert "motion_stride" not in workdir.read_config(tmp_path).model
    workdir.write(tmp_path / workdir.CONFIG_FILE, json.dumps({**run, "judged": "average"}))
    assert workdir.read_config(tmp_path).judged == "average"
