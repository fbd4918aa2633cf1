"""Data and workdirs in a bucket, which is simulated."""

import ast
import time
from concurrent import futures
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from amr_jax import prepare, pretrain
from amr_jax.config import arguments
from amr_jax.data import records, split
from amr_jax.errors import UserError
from amr_jax.evaluation import score_file
from amr_jax.inference import load, model_file
from amr_jax.run import checkpoint, metrics, paths, sharding, workdir
from amr_jax.train import step as train_step
from configs import amr
from tests import buckets, custom_sets, fake_programs, tiny_models

RUN = "s3://bucket/run"


@pytest.fixture
def bucket(monkeypatch, tmp_path) -> buckets.Bucket:
    return buckets.make(monkeypatch, tmp_path / "cache")


@pytest.fixture
def data_dir(bucket, tiny_ucla) -> str:
    """The records of `tiny_ucla` in the bucket."""
    buckets.upload(tiny_ucla, "s3://bucket/data")
    return "s3://bucket/data"


def read(data_dir) -> split.Split:
    source = records.Records(str(data_dir), "nw_ucla/xview", "train", 0, 300)
    return split.read(source, sharding.make_mesh())


def test_records_are_those_on_the_disk(data_dir, tiny_ucla):
    found, expected = read(data_dir), read(tiny_ucla)
    for name in ("frames", "length", "label", "names"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_records_are_copied_once_and_again_when_they_change(data_dir, tmp_path):
    read(data_dir)
    (copy,) = (tmp_path / "cache").iterdir()
    (copy / "mark").touch()
    read(data_dir)
    assert list((tmp_path / "cache").iterdir()) == [copy]
    assert sorted(path.name for path in copy.iterdir()) == [".lock", "1.0.0", "mark"]
    small = epath.Path(data_dir) / "nw_ucla" / "xview" / "1.0.0" / "checksums.json"
    small.write_text(small.read_text() + "\n")  # what it says is the same
    read(data_dir)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_one_of_several_threads_copies(bucket, monkeypatch):
    file, copies, copy = epath.Path("s3://bucket/model.safetensors"), [], paths._copy
    file.write_bytes(b"A" * 100)

    def slow(*args):
        copies.append(args)
        time.sleep(0.2)
        copy(*args)

    monkeypatch.setattr(paths, "_copy", slow)
    with futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(paths.on_disk, [file] * 4))
    assert [path.read_bytes() for path in found] == [b"A" * 100] * 4
    assert len(copies) == 1


def test_a_rewritten_file_is_copied_again(bucket):
    file = epath.Path("s3://bucket/model.safetensors")
    for content in (b"A" * 100, b"B" * 100):
        file.write_bytes(content)
        assert paths.on_disk(file).read_bytes() == content


def test_absent_records_and_an_unwritable_cache_are_errors(data_dir, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"s3://bucket/none/nw_ucla/xview: found nothing"):
        read("s3://bucket/none")
    (tmp_path / "file").touch()
    monkeypatch.setenv("AMR_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"AMR_CACHE_DIR=DIR"):
        read(data_dir)


@pytest.mark.parametrize("folder", ["data", "DATA, v2", "a[1]*?#50%"])
def test_own_records_are_found_by_their_absolute_path(bucket, tmp_path, folder):
    raw = custom_sets.write_pickle(tmp_path / "set.pkl", custom_sets.exchange())
    data, options = tmp_path / "data", {"name": "mine", "layout": "coco_17", "channels": "xyc"}
    prepare.prepare("custom", raw, data, num_workers=1, **options)
    buckets.upload(data, f"s3://bucket/{folder}")
    chosen = arguments.read(f"s3://bucket/{folder}/custom/mine,runlocal")
    assert (chosen.name, chosen.runlocal) == (f"s3://bucket/{folder}/custom/mine", True)
    row = chosen.dataset
    source = records.Records("not/there", row.records, "train", row.layout.centre, row.max_frames)
    assert (len(source), source.num_joints, source.channels) == (8, 17, "xyc")
    with pytest.raises(UserError, match=r"--name=x .*--data_dir=DIR, and copy .* to s3://bucket$"):
        records.Records("", "s3://bucket/custom/x", "train", None, 10)


def test_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(paths.absolute("run")) == f"{tmp_path}/run"
    assert str(paths.absolute("~/run")) == "/home/me/run"
    for path in ("gs://bucket/run", "s3://bucket/run"):
        assert str(paths.absolute(path)) == str(paths.absolute(paths.absolute(path))) == path


# Raw files, records under construction and benchmarks are on the disk of this machine.
_ON_DISK = ("data/readers", "data/build", "synthetic", "benchmark", "inference/pytorch",
            "inference/model_file.py", "run/paths.py", "data/contents.py",
            "inference/read_inputs.py", "inference/read_file.py", "info.py", "demo.py",
            "video")  # fmt: skip


def test_nothing_goes_around_epath():
    package = Path(paths.__file__).parents[1]
    for file in package.rglob("*.py"):
        if str(file.relative_to(package)).startswith(_ON_DISK):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            match node:
                case ast.Call(func=ast.Name(id="open")):
                    pytest.fail(f"{where}: open() of a path that may be in a bucket: use epath")
                case ast.Attribute(value=ast.Name(id="os"), attr="path"):
                    pytest.fail(f"{where}: os.path of what may be in a bucket: use epath")
                case ast.Call(func=ast.Attribute(attr="absolute", value=value)):
                    assert ast.unparse(value) == "paths", f"{where}: use paths.absolute"


def test_a_file_on_the_disk_is_not_copied(tmp_path):
    assert paths.on_disk(tmp_path) == epath.Path(tmp_path)
    assert not paths.is_remote(tmp_path)


def test_flushed_metrics_in_a_bucket_are_complete(bucket):
    writer = metrics.MetricWriter(RUN, resume_step=0)
    writer.scalars(10, {"loss": 1.0})
    writer.scalars(20, {"loss": 2.0})
    assert metrics.read_metrics(RUN) == []  # not written at every line
    writer.flush()
    assert [line["step"] for line in metrics.read_metrics(RUN)] == [10, 20]
    writer.scalars(30, {"loss": 3.0})
    writer.close()
    assert [line["step"] for line in metrics.read_metrics(RUN)] == [10, 20, 30]
    writer = metrics.MetricWriter(RUN, resume_step=20)
    writer.scalars(30, {"loss": 4.0})
    writer.close()
    assert [line["loss"] for line in metrics.read_metrics(RUN)] == [1.0, 2.0, 4.0]


def test_metrics_in_a_bucket_are_rewritten_every_30_seconds(bucket, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    writer = metrics.MetricWriter(RUN, resume_step=0)
    for step, at in ((10, 29.0), (20, 31.0), (30, 60.0), (40, 62.0)):
        now[0] = at
        writer.scalars(step, {"loss": 1.0})
        assert len(metrics.read_metrics(RUN)) == {10: 0, 20: 2, 30: 2, 40: 4}[step]


def test_a_run_in_a_bucket_with_its_checkpoints_on_the_disk(
    data_dir, bucket, tmp_path, monkeypatch
):
    """Orbax writes to object stores by itself, so the checkpoints stay on the disk here.

    Nothing is trained: compiling takes long and has nothing to do with files.
    """
    measured = {"loss": jax.device_put(np.ones(2, np.float32))}
    monkeypatch.setattr(
        train_step,
        "make_dispatch",
        lambda *_: fake_programs.not_compiled(lambda state, *_, **__: (state, measured)),
    )
    own = checkpoint.Checkpoints
    monkeypatch.setattr(checkpoint, "Checkpoints", lambda _, *rest: own(tmp_path / "saved", *rest))
    has_one = checkpoint.has_one
    monkeypatch.setattr(checkpoint, "has_one", lambda _: has_one(tmp_path / "saved"))
    config = amr.get_config("nwucla,runlocal")
    config.data_dir = data_dir
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 16
    config.encoder.depth = config.model.decoder_depth = 1
    config.batch_size, config.input.split, config.epochs = 8, "train", 2
    pretrain.run(config, RUN, jax.devices()[:1])
    assert [line["step"] for line in metrics.read_metrics(RUN)][-1] == 10
    files = {name.partition("/")[0] for name in bucket.files("bucket/run")}
    written = {"metrics.jsonl", "report.html", "tensorboard"}
    assert files == {workdir.CONFIG_FILE, workdir.VERSIONS_FILE, *written}
    assert workdir.read_config(RUN).data_dir == data_dir
    config.seed += 1
    with pytest.raises(UserError, match=r"s3://bucket/run/config\.json: this workdir belongs"):
        pretrain.run(config, RUN, jax.devices()[:1])


def test_files_of_an_evaluation_in_a_bucket_are_read_back(bucket):
    scores = score_file.Scores(
        np.array(["a", "b"]), np.array([0, 1], np.int32), ("x", "y"),
        {"pretrained": np.eye(2, dtype=np.float32)},
    )  # fmt: skip
    score_file.write(RUN, scores)
    np.testing.assert_array_equal(score_file.read(RUN).logits["pretrained"], np.eye(2))
    model_file.write(f"{RUN}/{model_file.NAME}", tiny_models.make())
    assert load.load_model(RUN).class_names == tiny_models.CLASSES
    assert bucket.files("bucket/run") == {score_file.FILE, model_file.NAME}


@pytest.mark.parametrize("name", ["manual_dir", "data_dir"])
def test_prepare_refuses_a_bucket(name, tmp_path):
    folders = {"manual_dir": tmp_path, "data_dir": tmp_path, name: "gs://bucket/x"}
    with pytest.raises(UserError, match=rf"--{name} is 'gs://bucket/x'.*prepare_on_gcs\.sh"):
        prepare.prepare("nw_ucla", **folders)
