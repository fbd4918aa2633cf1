"""Writers: TensorBoard's files read back, the calls of services, resumed runs, failures."""

import importlib.machinery
import io
import json
import struct
import sys
import types
from unittest import mock

import ml_collections
import numpy as np
import pytest
from PIL import Image

from amr_jax import pretrain
from amr_jax.config import files
from amr_jax.errors import UserError
from amr_jax.pictures import look
from amr_jax.pictures.training import Pictures
from amr_jax.run import metrics, workdir
from amr_jax.run.run import Run
from tests import tiny_models

SETTINGS = {"optim.lr": 1e-3, "model.windows": [4, 8], "seed": 0, "centre": True, "step": None}


def picture(width=3, height=2) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(content, "png")
    return content.getvalue()


def log(folder, resume_step, *names):
    """A run of two steps, with a picture after the last one."""
    writer = metrics.MetricWriter(folder, resume_step, names)
    writer.config(SETTINGS)
    for step in (resume_step + 1, resume_step + 2):
        writer.scalars(step, {"loss": 1 / step, "pretrained/top1": 0.5})
    writer.image(resume_step + 2, "confusion/pretrained", picture())
    writer.close()


def events(folder) -> list:
    """All events of the files in a folder, in TensorBoard's order."""
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            found.append(event_pb2.Event.FromString(content[12 : 12 + size]))
            content = content[size + 16 :]
    return found


def test_tensorboard_has_scalars_pictures_and_settings(tmp_path):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    log(tmp_path, 0, "tensorboard")
    values = [(event.step, value) for event in events(tmp_path) for value in event.summary.value]
    scalars = {
        (step, v.tag): v.simple_value
        for step, v in values
        if not v.HasField("image") and not v.HasField("metadata")
    }
    assert scalars == pytest.approx(
        {
            (1, "loss"): 1.0,
            (2, "loss"): 0.5,
            (1, "pretrained/top1"): 0.5,
            (2, "pretrained/top1"): 0.5,
        }
    )
    ((step, drawn),) = [(step, v) for step, v in values if v.HasField("image")]
    assert (step, drawn.tag) == (2, "confusion/pretrained")
    assert (drawn.image.width, drawn.image.height) == (3, 2)
    assert Image.open(io.BytesIO(drawn.image.encoded_image_string)).size == (3, 2)
    plugin = {
        v.tag: HParamsPluginData.FromString(v.metadata.plugin_data.content)
        for _, v in values
        if v.metadata.plugin_data.plugin_name == "hparams"
    }
    started = plugin["_hparams_/session_start_info"].session_start_info.hparams
    assert started["optim.lr"].number_value == 1e-3
    assert started["model.windows"].string_value == "[4, 8]"
    assert started["centre"].bool_value is True
    assert "step" not in started
    assert "_hparams_/session_end_info" in plugin


def package(monkeypatch, name) -> mock.MagicMock:
    """A package that notes what is called."""
    made = mock.MagicMock(name=name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, made)
    return made


def test_weights_and_biases_get_one_run_over_all_starts(tmp_path, monkeypatch, capsys):
    wandb = package(monkeypatch, "wandb")
    folder = tmp_path / "sweep" / "lr_1e-3"
    folder.mkdir(parents=True)
    log(folder, 0, "wandb")
    log(folder, 1, "wandb")
    first, second = (call.kwargs for call in wandb.init.call_args_list)
    assert first["id"] == second["id"] == json.loads((folder / "writers.json").read_text())["wandb"]
    assert (first["resume"], first["project"]) == ("allow", "amr_jax")
    assert (first["name"], first["dir"]) == ("sweep/lr_1e-3", str(folder))
    run = wandb.init.return_value
    run.config.update.assert_called_with(SETTINGS, allow_val_change=True)
    run.define_metric.assert_called_with("*", step_metric="step")
    logged = [call.args[0] for call in run.log.call_args_list]
    assert logged[0] == {"loss": 1.0, "pretrained/top1": 0.5, "step": 1}
    assert [line["step"] for line in logged] == [1, 2, 2, 2, 3, 3]
    assert logged[2] == {"confusion/pretrained": wandb.Image.return_value, "step": 2}
    assert wandb.Image.call_args.args[0].size == (3, 2)
    assert run.finish.call_count == 2
    assert "Weights & Biases: " in capsys.readouterr().out
    assert not (folder / "tensorboard").exists()


def test_mlflow_gets_one_run_over_all_starts(tmp_path, monkeypatch):
    mlflow = package(monkeypatch, "mlflow")
    mlflow.entities = types.SimpleNamespace(Param=lambda *x: x, Metric=lambda *x: x)
    client = mlflow.MlflowClient.return_value
    client.get_experiment_by_name.return_value = None
    client.create_run.return_value.info.run_id = "abc"
    log(tmp_path, 0, "mlflow", "tensorboard")
    log(tmp_path, 1, "mlflow", "tensorboard")
    client.create_experiment.assert_called_once_with("amr_jax")
    client.create_run.assert_called_once()
    client.update_run.assert_called_once_with("abc", status="RUNNING")
    batches = [call.kwargs for call in client.log_batch.call_args_list]
    # Its parameters cannot change, so that only the first start writes them.
    (params,) = [batch["params"] for batch in batches if "params" in batch]
    assert ("optim.lr", "0.001") in params
    sent = [batch["metrics"] for batch in batches if "metrics" in batch]
    assert [(key, value, step) for key, value, _, step in sent[1]] == [
        ("loss", 0.5, 2),
        ("pretrained/top1", 0.5, 2),
    ]
    assert sent[0][0][2] > 1e12  # milliseconds
    assert client.log_image.call_args_list[0].kwargs == {
        "artifact_file": "confusion/pretrained/00000002.png"
    }
    assert client.set_terminated.call_count == 2
    assert {e.step for e in events(tmp_path)} >= {1, 2, 3}


def test_a_service_that_fails_later_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    wandb = package(monkeypatch, "wandb")
    wandb.init.return_value.log.side_effect = ConnectionError("no route")
    log(tmp_path, 0, "wandb", "tensorboard")
    said = capsys.readouterr().out
    assert said.count("warning: config.writers: wandb failed (ConnectionError: no route)") == 1
    assert [line["step"] for line in metrics.read_metrics(tmp_path)] == [1, 2]
    assert {event.step for event in events(tmp_path)} >= {1, 2}


def test_a_service_that_refuses_the_start_is_an_error(tmp_path, monkeypatch):
    wandb, mlflow = package(monkeypatch, "wandb"), package(monkeypatch, "mlflow")
    wandb.init.side_effect = ValueError("api_key not configured")
    with pytest.raises(UserError, match=r"api_key not configured.*wandb login"):
        log(tmp_path, 0, "wandb")
    (tmp_path / "writers.json").write_text('{"mlflow": "gone"}')
    mlflow.MlflowClient.return_value.update_run.side_effect = ValueError("no such run")
    with pytest.raises(UserError, match=r"no such run.*the run gone .*MLFLOW_TRACKING_URI"):
        log(tmp_path, 0, "mlflow")
    (tmp_path / "writers.json").write_text("{")
    with pytest.raises(UserError, match=r"writers\.json: not readable"):
        log(tmp_path, 0, "wandb")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "('wandb',)",
            r"config\.writers = \('wandb',\): expected .*pip install 'amr_jax\[wandb\]'",
        ),
        (
            "('tensorbord',)",
            r"config\.writers = .*: expected each 'tensorboard', 'wandb' or 'mlflow'",
        ),
        ("mlflow", r"config\.writers = \('mlflow',\): expected the package mlflow to be installed"),
    ],
)
def test_writers_that_are_not_there_are_refused_at_once(value, message, monkeypatch):
    monkeypatch.setattr("amr_jax.config.checks.importlib.util.find_spec", lambda name: None)
    config = files.get_config("amr:nwucla,runlocal")
    files.override(config, [f"writers={value}"])
    with pytest.raises(UserError, match=message):
        pretrain.resolve(config)


def test_a_run_may_resume_with_other_writers(tmp_path, monkeypatch):
    wandb = package(monkeypatch, "wandb")
    for names in ((), ("wandb",)):
        config = ml_collections.ConfigDict({"own": "x", "writers": names})
        with Run.open(tmp_path, config, pretrain.FREE_KEYS) as run:
            run.record()
            run.start_writers()
    wandb.init.assert_called_once()
    assert wandb.init.return_value.config.update.call_args.args[0]["own"] == "x"


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: extra 'wandb'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log(tmp_path, 0, "wandb")
    log(tmp_path, 1, "wandb")
    run_id = json.loads((tmp_path / "writers.json").read_text())["wandb"]
    stored = sorted((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/*.wandb"))
    assert stored
    assert b"confusion/pretrained" in stored[0].read_bytes()


def test_mlflow_in_a_local_store(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: extra 'mlflow'")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)  # artifacts
    log(tmp_path, 0, "mlflow")
    log(tmp_path, 1, "mlflow")
    client = mlflow.MlflowClient()
    run_id = json.loads((tmp_path / "writers.json").read_text())["mlflow"]
    run = client.get_run(run_id)
    assert run.data.params["optim.lr"] == "0.001"
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run_id, "loss")] == [1, 2, 2, 3]
    (drawn,) = client.list_artifacts(run_id, "confusion/pretrained")[:1]
    assert drawn.path.endswith("00000002.png")


def test_a_run_draws_what_it_reconstructs_now_and_then(tiny_ucla, tmp_path, monkeypatch, capsys):
    params = tiny_models.save_run(tmp_path, "amr", masking="random")
    config = workdir.read_config(tmp_path)
    config.data_dir, config.writers = str(tiny_ucla), ("tensorboard",)
    config.input.split = "train"
    config.input.body_frame = "none"
    workdir.write(tmp_path / "config.json", config.to_json_best_effort())
    state = types.SimpleNamespace(params=params, step=7)
    with Run.open(tmp_path, config, keep=1) as run:
        pictures = Pictures(run)
        pictures(state)  # too early
        monkeypatch.setattr(Pictures, "EVERY_S", 0.0)
        pictures(state)
    drawn = [(e.step, v) for e in events(tmp_path) for v in e.summary.value if v.HasField("image")]
    assert [(step, value.tag) for step, value in drawn] == [(7, "reconstruction")]
    assert drawn[0][1].image.width > 1000
    config.input.stream = "bone"
    with Run.open(tmp_path, config, keep=1) as run:
        pictures = Pictures(run)
        pictures(state)
        pictures(state)
    assert capsys.readouterr().out.count("note: no pictures of reconstructions: this run: amr") == 1
    monkeypatch.setattr(look, "given", lambda *_, **__: {}["bug"])
    with Run.open(tmp_path, config, keep=1) as run:
        Pictures(run)(state)  # the run goes on
    assert "note: no pictures of reconstructions: KeyError: 'bug'" in capsys.readouterr().out
