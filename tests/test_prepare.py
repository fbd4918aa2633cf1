"""The preparation: raw files to records, and how it fails."""

import errno
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_jax import prepare
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.data.build import prepare as build
from amr_jax.data.readers import ntu, search
from amr_jax.errors import BadFile, UserError
from tests import raw_sets

NAME = "S001C001P001R001A001"


def run(raw, out, dataset="ntu_rgbd60", **options):
    return prepare.prepare(dataset, raw, out, **({"num_workers": 1} | options))


def source(out, name, split):
    return tfds.builder_from_directory(out / name / "1.0.0").as_data_source(split)


def left_out(out, dataset="ntu_rgbd60"):
    return json.loads((out / dataset / "left_out.json").read_text())


def everything(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def raw(tmp_path):
    raw_sets.write_ntu(tmp_path / "raw" / "nturgb+d_skeletons")
    return tmp_path / "raw"


def test_all_protocols_from_one_parse(raw, tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(ntu, "read", lambda raw, *a, **kw: reads.append(raw) or READ(raw, *a, **kw))
    rows = run(raw, tmp_path / "out")
    assert len(reads) == len(set(reads)) == 12
    counts = {(row.protocol, row.split): row.sequences for row in rows}
    assert counts == {
        ("xsub", "train"): 6,
        ("xsub", "test"): 6,
        ("xview", "train"): 8,
        ("xview", "test"): 4,
    }
    subjects = {
        example["subject"] for example in source(tmp_path / "out", "ntu_rgbd60/xsub", "train")
    }
    cameras = {
        example["camera"] for example in source(tmp_path / "out", "ntu_rgbd60/xview", "test")
    }
    assert (subjects, cameras) == ({1}, {1})
    assert left_out(tmp_path / "out") == []


READ = ntu.read


def test_examples_are_what_the_reader_reads(raw, tmp_path):
    run(raw, tmp_path / "out")
    examples = {e["name"].decode(): e for e in source(tmp_path / "out", "ntu_rgbd60/xsub", "test")}
    assert len(examples) == 6
    for file in search.find(raw, ".skeleton", "skeletons"):
        expected = ntu.read(file)
        if expected["subject"] == 3:
            got = examples[expected["name"]]
            np.testing.assert_array_equal(got["joints"], expected["joints"])
            assert got["joints"].dtype == np.float32
            assert got["label"] == expected["action"] - 1
            for key in ("setup", "camera", "subject", "replication"):
                assert got[key] == expected[key]
    builder = tfds.builder_from_directory(tmp_path / "out/ntu_rgbd60/xsub/1.0.0")
    assert builder.info.features["label"].names[59] == "walking apart from each other"
    assert dict(builder.info.metadata)["gaps"] == "contiguous"


def test_same_bytes_from_any_number_of_workers(tmp_path):
    raw = tmp_path / "raw"
    raw_sets.write_ntu(raw, setups=(1, 2), actions=(1, 2, 3, 4))  # 48 files: two chunks
    (raw / f"{NAME}.skeleton").write_text(raw_sets.skeleton_text(np.zeros((4, 0, 3))))
    run(raw, tmp_path / "one", num_workers=1)
    run(raw, tmp_path / "two", num_workers=2)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_a_zip_gives_the_same_records(raw, tmp_path):
    with zipfile.ZipFile(tmp_path / "nturgbd_skeletons_s001_to_s017.zip", "w") as archive:
        for path in raw.rglob("*.skeleton"):
            archive.write(path, f"nturgb+d_skeletons/{path.name}")
    run(raw, tmp_path / "out")
    run(tmp_path / "nturgbd_skeletons_s001_to_s017.zip", tmp_path / "zip")
    assert everything(tmp_path / "out") == everything(tmp_path / "zip")


def test_samples_without_a_body_and_listed_ones_are_left_out(raw, tmp_path):
    folder = raw / "nturgb+d_skeletons"
    (folder / f"{NAME}.skeleton").write_text(raw_sets.skeleton_text(np.zeros((4, 0, 3))))
    listed = "S001C002P003R001A060"
    (raw / "NTU_RGBD_samples_with_missing_skeletons.txt").write_text(
        f"The following samples have missing skeletons:\n\n{listed}\nS017C003P040R002A060\n"
    )
    rows = run(raw, tmp_path / "out")
    assert sum(row.sequences for row in rows if row.protocol == "xsub") == 10
    first, second = left_out(tmp_path / "out")
    assert (first["name"], second["name"]) == (NAME, listed)
    assert "no body" in first["why"]
    assert "NTU_RGBD_samples_with_missing_skeletons.txt" in second["why"]


def test_missing_list_without_names(raw, tmp_path):
    (raw / "missing.txt").write_text("not found\n")
    with pytest.raises(BadFile, match=r"missing\.txt.*no name of a sample"):
        run(raw, tmp_path / "out")


@pytest.fixture
def bad(raw):
    """One truncated file, and one whose name does not parse."""
    folder = raw / "nturgb+d_skeletons"
    text = (folder / f"{NAME}.skeleton").read_text()
    (folder / f"{NAME}.skeleton").write_text(text[: len(text) // 2])
    (folder / "walking.skeleton").write_text(text)
    return raw


def test_a_bad_file_leaves_nothing_behind(bad, tmp_path):
    with pytest.raises(BadFile, match=f"{NAME}.skeleton, line"):
        run(bad, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


def test_bad_files_are_skipped_and_listed(bad, tmp_path, capsys):
    rows = run(bad, tmp_path / "out", on_bad_file="skip")
    assert sum(row.sequences for row in rows if row.protocol == "xsub") == 11
    first, second = left_out(tmp_path / "out")
    assert (first["name"], second["name"]) == (NAME, "walking")
    assert "bad file" in first["why"]
    assert first["file"].endswith(f"{NAME}.skeleton")
    out = capsys.readouterr().out
    assert "left out: 2 samples" in out
    assert str(tmp_path / "out/ntu_rgbd60/left_out.json") in out


def test_bad_file_in_a_worker_process(bad, tmp_path):
    raw_sets.write_ntu(bad, setups=range(2, 6))
    with pytest.raises(BadFile) as caught:
        run(bad, tmp_path / "out", num_workers=2)
    assert caught.value.path.endswith(f"{NAME}.skeleton")
    assert everything(tmp_path / "out") == {}


def test_half_downloaded_zip(raw, tmp_path):
    path = raw / "nturgbd_skeletons_s001_to_s017.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(raw / "nturgb+d_skeletons" / f"{NAME}.skeleton", f"{NAME}.skeleton")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="download probably stopped"):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_invalid_settings(raw, tmp_path):
    with pytest.raises(UserError, match=r"'ntu60'.*ntu_rgbd60, ntu_rgbd120, nw_ucla, pku_mmd"):
        run(raw, tmp_path / "out", dataset="ntu60")
    with pytest.raises(UserError, match="--gaps is 'none'; expected contiguous or true_time"):
        run(raw, tmp_path / "out", gaps="none")
    with pytest.raises(UserError, match="--gaps does not apply to nw_ucla"):
        run(raw, tmp_path / "out", dataset="nw_ucla", gaps="true_time")
    with pytest.raises(UserError, match="expected a local folder"):
        run(raw, "gs://bucket/records")
    with pytest.raises(UserError, match="--on_bad_file is 'x'; expected fail or skip"):
        run(raw, tmp_path / "out", on_bad_file="x")


def test_prepared_records_stay_as_they_are(raw, tmp_path, capsys):
    first = run(raw, tmp_path / "out")
    before = everything(tmp_path / "out")
    assert run(tmp_path / "gone", tmp_path / "out") == first  # without raw files
    assert "already prepared" in capsys.readouterr().out
    assert everything(tmp_path / "out") == before


def test_other_settings_are_refused(raw, tmp_path):
    run(raw, tmp_path / "out")
    with pytest.raises(UserError, match=r"contiguous.*true_time.*--overwrite"):
        run(raw, tmp_path / "out", gaps="true_time")
    run(raw, tmp_path / "out", gaps="true_time", overwrite=True)
    builder = tfds.builder_from_directory(tmp_path / "out/ntu_rgbd60/xview/1.0.0")
    assert dict(builder.info.metadata) == {"gaps": "true_time"}


def test_overwriting_that_fails_keeps_the_old_records(raw, tmp_path):
    run(raw, tmp_path / "out")
    before = everything(tmp_path / "out")
    (raw / "walking.skeleton").write_text("0\n")
    with pytest.raises(BadFile):
        run(raw, tmp_path / "out", overwrite=True)
    assert everything(tmp_path / "out") == before


@pytest.mark.parametrize("damage", ["empty folder", "no json", "truncated shard"])
def test_folder_that_is_no_complete_record(raw, tmp_path, damage):
    folder = tmp_path / "out/ntu_rgbd60/xsub/1.0.0"
    if damage == "empty folder":
        folder.mkdir(parents=True)
    else:
        run(raw, tmp_path / "out")
        shard = folder / "ntu_rgbd60-test.array_record-00000-of-00001"
        damaged = folder / "dataset_info.json" if damage == "no json" else shard
        damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"1\.0\.0: not a complete folder.*--overwrite"):
        run(raw, tmp_path / "out")
    run(raw, tmp_path / "out", overwrite=True)
    assert len(source(tmp_path / "out", "ntu_rgbd60/xsub", "train")) == 6


@pytest.mark.parametrize(
    ("place", "error"),
    [
        # While parsing, while ArrayRecord writes, and at the very last file.
        ("parsing._parse_chunk", OSError(errno.ENOSPC, "No space left on device")),
        (
            "builder.writer.ExampleWriter.write",
            RuntimeError("write() failed: No space left on device; writing x; at byte 5"),
        ),
        ("prepare.write_left_out", OSError(errno.EDQUOT, "Disk quota exceeded")),
    ],
)
def test_full_disk(raw, tmp_path, monkeypatch, place, error):
    def write(*_):
        raise error

    monkeypatch.setattr(f"amr_jax.data.build.{place}", write)
    with pytest.raises(UserError, match=r"disk is full.*no records were written"):
        run(raw, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


def test_a_second_preparation_is_refused(raw, tmp_path):
    with (
        build._staging(tmp_path / "out/ntu_rgbd60"),
        pytest.raises(UserError, match="another preparation"),
    ):
        run(raw, tmp_path / "out")


INTERRUPTED = """
import os, signal, sys
# A shell that runs the tests in the background ignores Ctrl-C, and this process would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from amr_jax.__main__ import script
from amr_jax.data.readers import ntu
read, reads = ntu.read, []
def interrupted(raw, *options, **more):
    reads.append(raw)
    if len(reads) == 8:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    return read(raw, *options, **more)
ntu.read = interrupted
script("prepare")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle(raw, tmp_path, number):
    out = tmp_path / "out"
    arguments = [f"--manual_dir={raw}", f"--data_dir={out}", "--num_workers=1"]
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "--dataset=ntu_rgbd60", *arguments],
        env=os.environ | {"SIGNAL": str(int(number))},
        capture_output=True,
        text=True,
    )
    assert process.returncode in (-number, 128 + number)
    assert "Traceback" not in process.stderr
    assert list(out.rglob("1.0.0*")) == []
    if number != signal.SIGKILL:
        assert everything(out) == {}
    run(raw, out)
    run(raw, tmp_path / "undisturbed")
    assert everything(out) == everything(tmp_path / "undisturbed")


def test_command_says_errors_without_traceback(tmp_path, capsys):
    flags = [f"--manual_dir={tmp_path}/x", f"--data_dir={tmp_path}"]
    with pytest.raises(SystemExit) as caught:
        amr_jax_command(["prepare", "--dataset=nw_ucla", *flags])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: looked for the sequences of NW-UCLA")
    with pytest.raises(SystemExit):
        amr_jax_command(["prepare", "nw_ucla", *flags])
    assert "unknown argument 'nw_ucla'" in capsys.readouterr().err


def test_imports_neither_tensorflow_nor_jax():
    code = "import sys, amr_jax.prepare; print({'tensorflow', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_real_nw_ucla(shared_data, tmp_path):
    rows = run(shared_data, tmp_path, dataset="nw_ucla")
    rows = [row for row in rows if row.protocol == "xview"]
    assert [(row.split, row.sequences) for row in rows] == [("train", 1020), ("test", 464)]
    assert [row.published for row in rows] == [1020, 464]
    train = source(tmp_path, "nw_ucla/xview", "train")
    assert {train[i]["camera"] for i in range(len(train))} == {1, 2}
    assert sorted({len(example["joints"]) for example in train})[0] == 1
    # Any slice is a fair sample of the classes.
    labels = [
        example["label"]
        for example in tfds.builder_from_directory(tmp_path / "nw_ucla/xview/1.0.0").as_data_source(
            "train[:10%]"
        )
    ]
    assert len(set(labels)) == 10
