"""Counts and checksums of records: loading and --verify name damaged files."""

import shutil

import pytest

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.data import record_files, record_folder, records
from amr_jax.data.build import verify
from amr_jax.data.split import read
from amr_jax.errors import UserError
from amr_jax.run import sharding

SHARD = "nw_ucla-train.array_record-00000-of-00001"


@pytest.fixture
def data_dir(tiny_ucla, tmp_path):
    """A copy of the records that can be damaged."""
    return shutil.copytree(tiny_ucla, tmp_path / "data")


@pytest.fixture
def folder(data_dir):
    return data_dir / "nw_ucla" / "xview" / record_folder.VERSION


def load(data_dir, split="train"):
    source = records.Records(str(data_dir), "nw_ucla/xview", split, None, 100)
    return read(source, sharding.make_mesh())


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def test_verify_reports_undamaged_records(data_dir, folder, capsys):
    verify.verify(data_dir)
    said = capsys.readouterr().out
    assert "nw_ucla/xview/1.0.0: train 40, test 20 sequences; " in said
    assert said.endswith("are as written\n")
    written = record_files.read(folder)
    assert written.keys() == {path.name for path in folder.iterdir()} - {"checksums.json"}
    assert written[SHARD]["bytes"] == (folder / SHARD).stat().st_size


def cut(path):
    path.write_bytes(path.read_bytes()[:-70_000])


DAMAGES = {
    "other bytes": (SHARD, lambda path: flip(path, 40)),
    "bytes; expected": (SHARD, cut),
    "is missing": (SHARD, lambda path: path.unlink()),
    # A class gets another name: every file is well-formed, and nothing else would tell.
    "label.labels.txt: found other bytes": ("label.labels.txt", lambda path: flip(path, 0)),
    "dataset_info.json: is missing": ("dataset_info.json", lambda path: path.unlink()),
    "expected names of files with their bytes": ("checksums.json", lambda path: flip(path, 0)),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_loading_and_verify_name_a_damaged_file(data_dir, folder, message, capsys):
    name, damage = DAMAGES[message]
    damage(folder / name)
    with pytest.raises(UserError, match=message) as loading:
        load(data_dir)
    assert str(folder / name) in str(loading.value)
    with pytest.raises(UserError, match=rf"(?s)1 damaged file.*{message}") as verifying:
        verify.verify(data_dir)
    assert str(folder / name) in str(verifying.value)
    assert "1.0.0: 1 damaged file(s)" in capsys.readouterr().out
    if name == SHARD:  # the other split is still good
        assert len(load(data_dir, "test").label) == 20


@pytest.mark.parametrize("with_checksums", [True, False])
def test_the_summary_differs_where_records_differ(data_dir, folder, with_checksums):
    def summary(split="train"):
        return records.Records(str(data_dir), "nw_ucla/xview", split, None, 100).summary()

    whole = summary()
    assert whole.startswith("40 sequences of files with the crc32 ")
    if not with_checksums:  # older: they are compared all the same
        (folder / record_files.CHECKSUMS_FILE).unlink()
    assert summary() == whole != summary("test")
    flip(folder / SHARD, -1)  # as large as before, and as many records
    if with_checksums:
        record_files.write(folder)
    assert summary() != whole


def test_reading_a_slice_verifies_its_shards(data_dir, folder):
    assert len(load(data_dir, "train[:5]").label) == 5
    flip(folder / SHARD, 40)
    with pytest.raises(UserError, match="other bytes"):
        load(data_dir, "train[:5]")


def test_verify_refuses_a_bucket():
    with pytest.raises(UserError, match="expected a local folder; records are verified on a disk"):
        verify.verify("gs://bucket/data")


def test_records_without_checksums_can_be_read(data_dir, folder, capsys):
    (folder / "checksums.json").unlink()
    assert len(load(data_dir).label) == 40
    verify.verify(data_dir)
    assert "older than checksums, but every record can be read" in capsys.readouterr().out
    content = (folder / SHARD).read_bytes()
    cut(folder / SHARD)
    with pytest.raises(UserError, match=rf"{SHARD}: cannot be opened \(Corrupted"):
        load(data_dir)
    (folder / SHARD).write_bytes(content)
    flip(folder / SHARD, len(content) // 2)  # ArrayRecord's own hash tells of this one
    with pytest.raises(UserError, match=r"records can no longer be read .*mismatch"):
        load(data_dir)
    with pytest.raises(UserError, match="of train is not readable"):
        verify.verify(data_dir)


def test_a_shard_emptied_during_a_run_is_reported(data_dir, folder):
    split = records.Records(str(data_dir), "nw_ucla/xview", "train", None, 100)
    assert len(split.joints(3)) > 0
    (folder / SHARD).write_bytes(b"")
    with pytest.raises(UserError, match=r"1\.0\.0: records can no longer be read"):
        list(map(split.joints, range(len(split))))


def test_an_error_of_the_file_system_is_reported(data_dir, monkeypatch):
    split = records.Records(str(data_dir), "nw_ucla/xview", "train", None, 100)

    class Gone:
        def __getitem__(self, index):
            raise OSError(116, "Stale file handle")

    monkeypatch.setattr(split, "_source", Gone())
    with pytest.raises(UserError, match=r"1\.0\.0: records can no longer be read .*Stale"):
        split.joints(3)


def test_the_verify_command(data_dir, folder, capsys):
    def run(*arguments):
        amr_jax_command(["prepare", *arguments])

    run("--verify", f"--data_dir={data_dir}")
    assert "as written" in capsys.readouterr().out
    flip(folder / SHARD, 40)
    flip(folder / "features.json", 40)
    for arguments, message in {
        ("--verify", f"--data_dir={data_dir}"): "2 damaged file(s) of records",
        ("--verify", f"--data_dir={data_dir / 'nothing'}"): "found no records",
        ("--verify",): "--data_dir is missing",
    }.items():
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
