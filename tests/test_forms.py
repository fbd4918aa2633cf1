"""Forms in which people have their files: names in other encodings, gzip, odd folders."""

import gzip
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.data.readers import archives, files, search
from amr_jax.errors import BadFile
from amr_jax.inference import model_file
from amr_jax.run import checkpoint
from tests import cases, custom_sets, raw_sets, tiny_models
from tests.data.readers import ntu_files
from tests.test_prepare import everything

GBK = "动作".encode("gbk")
NAME = r"\xb6\xaf\xd7\xf7"  # how these bytes are written
SJIS = "動き".encode("shift-jis")


def prepare(raw, out, *flags):
    how = ("--layout=coco_17", "--channels=xyz", "--name=d", "--num_workers=1")
    amr_jax_command(
        [
            "prepare",
            "--dataset=custom",
            f"--manual_dir={os.fsdecode(raw)}",
            f"--data_dir={out}",
            *how,
            *flags,
        ]
    )


def written(out) -> dict[str, str]:
    """The name of each sequence -> its split."""
    builder = tfds.builder_from_directory(out / "custom" / "d" / "1.0.0")
    return {
        example["name"].decode(): split
        for split in builder.info.splits
        for example in builder.as_data_source(split)
    }


def refused(capsys, function, *arguments) -> str:
    with pytest.raises(SystemExit) as ended:
        function(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def clip(seed: int, split: str = "train") -> bytes:
    content = io.BytesIO()
    joints = np.random.default_rng(seed).normal(size=(4, 17, 3)).astype(np.float32)
    np.savez(content, joints=joints, label=seed % 2, split=split)
    return content.getvalue()


def write(folder, names) -> None:
    """Two clips for training, then two for testing."""
    os.makedirs(folder, exist_ok=True)
    for i, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(clip(i, ("train", "test")[i // 2 % 2]))


def zipped(path, names: list[bytes]) -> None:
    """An archive whose names have these bytes, and no mark that they are UTF-8."""
    buffer, replaced = io.BytesIO(), {}
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, name in enumerate(names):
            placeholder = b"%02d" % i + b"x" * (len(name) - 6) + b".npz"
            replaced[placeholder] = name
            archive.writestr(placeholder.decode(), clip(i, ("train", "test")[i // 2]))
    data = buffer.getvalue()
    for placeholder, name in replaced.items():
        data = data.replace(placeholder, name)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([GBK + b"%d.npz" % i for i in range(4)], [f"{NAME}{i}" for i in range(4)]),
        ([SJIS + b"%d.npz" % i for i in range(4)], [rf"\x93\xae\x82\xab{i}" for i in range(4)]),
        ([GBK + b"/%d.npz" % i for i in range(4)], [f"{NAME}/{i}" for i in range(4)]),
        ([b"\xff%d.NPZ" % i for i in range(4)], [rf"\xff{i}" for i in range(4)]),
        ([f"動{i}.npz".encode() for i in range(4)], [f"動{i}" for i in range(4)]),
    ],
)
def test_names_in_any_encoding_are_read(tmp_path, names, expected):
    write(tmp_path / "raw", names)
    prepare(tmp_path / "raw", tmp_path / "out")
    splits = dict(zip(expected, ("train", "train", "test", "test"), strict=True))
    assert written(tmp_path / "out") == splits
    # A table can name them as they are written; names and reasons reach the list of the others.
    rows = [f"{name},{i % 2},{split}" for i, (name, split) in enumerate(splits.items())]
    table = "\n".join(["name,label,split", *rows])
    (tmp_path / "raw" / "labels.csv").write_text(table)
    (tmp_path / "raw" / os.fsdecode(GBK + b".npz")).write_bytes(b"bad")
    prepare(tmp_path / "raw", tmp_path / "table", "--on_bad_file=skip")
    assert written(tmp_path / "table") == splits
    (row,) = json.loads((tmp_path / "table/custom/d/left_out.json").read_text())
    assert row["name"] == NAME
    assert f"{NAME}.npz: found no row for it" in row["why"]


@pytest.mark.parametrize(("code", "name"), [("gbk", "╢»╫≈"), ("utf-8", "动作"), ("cp437", "Gänge")])
def test_names_in_archives(tmp_path, code, name):
    text = name if code == "cp437" else "动作"
    zipped(tmp_path / "raw.zip", [f"{text}{i}.npz".encode(code) for i in range(4)])
    prepare(tmp_path / "raw.zip", tmp_path / "out")
    assert set(written(tmp_path / "out")) == {f"{name}{i}" for i in range(4)}


def test_names_in_archives_of_older_windows_programs(tmp_path):
    write(tmp_path / "raw", [b"a/%d.npz" % i for i in range(4)])
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for i in range(4):
            info = zipfile.ZipInfo(f"a\\{i}.npz")
            info.create_system = 0
            archive.writestr(info, (tmp_path / f"raw/a/{i}.npz").read_bytes())
    prepare(tmp_path / "raw", tmp_path / "folder")
    prepare(tmp_path / "raw.zip", tmp_path / "zip")
    assert written(tmp_path / "zip") == written(tmp_path / "folder")
    assert "a/0" in written(tmp_path / "zip")


def test_a_folder_in_another_encoding(tmp_path, capsys):
    folder = os.path.join(os.fsencode(tmp_path), GBK)
    write(folder, [b"%d.npz" % i for i in range(4)])
    prepare(folder, tmp_path / "out")
    assert set(written(tmp_path / "out")) == set("0123")
    error = refused(capsys, prepare, folder, os.fsdecode(folder))
    assert f"{NAME}: found a name that is not UTF-8; expected UTF-8" in error
    assert os.listdir(folder)
    for command in (
        ["pretrain", "--config=amr:nwucla", f"--workdir={os.fsdecode(folder)}"],
        ["pretrain", "--config=amr:nwucla", f"--config.data_dir={os.fsdecode(folder)}"],
        ["predict", f"--checkpoint={os.fsdecode(folder)}", "a.npy"],
    ):
        assert "not UTF-8" in refused(capsys, amr_jax_command, command)


def test_two_names_that_are_written_alike_are_refused(tmp_path, capsys):
    write(tmp_path / "raw", [GBK + b".npz", NAME.encode() + b".npz"])
    error = refused(capsys, prepare, tmp_path / "raw", tmp_path / "out")
    assert f"{NAME} with another content than in " in error


@pytest.fixture(scope="module")
def checkpoint_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    model_file.write(folder / model_file.NAME, tiny_models.make())
    return folder


def test_predict_reads_these_names_and_gzip(checkpoint_folder, tmp_path, capsys):
    joints = tiny_models.joints(0, 5)
    np.save(tmp_path / "plain.npy", joints)
    data = (tmp_path / "plain.npy").read_bytes()
    other, packed = tmp_path / os.fsdecode(GBK + b".npy"), tmp_path / "a.npy.GZ"
    newline = tmp_path / "a\nb" / "x.zip"
    newline.parent.mkdir()
    other.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    with zipfile.ZipFile(newline, "w") as archive:
        archive.writestr("m.npy.gz", gzip.compress(data))
    names = [str(tmp_path / "plain.npy"), str(other), str(packed), f"{newline}!m.npy.gz"]
    command = ["predict", f"--checkpoint={checkpoint_folder}"]
    amr_jax_command([*command, f"--json={tmp_path}/out.jsonl", *names])
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [
        names[0], f"{tmp_path}/{NAME}.npy", names[2], names[3],
    ]  # fmt: skip
    assert all(row["top"] == rows[0]["top"] for row in rows)
    assert f"{tmp_path}/{NAME}.npy" in capsys.readouterr().out
    amr_jax_command([*command, f"--embeddings={tmp_path}/out.npz", *names])
    with np.load(tmp_path / "out.npz") as found:
        assert found["names"][1] == f"{tmp_path}/{NAME}.npy"
    other.write_bytes(b"bad")
    assert f"{NAME}.npy: found no header" in refused(capsys, amr_jax_command, [*command, names[1]])


def test_files_packed_with_gzip(tmp_path, capsys):
    write(tmp_path / "raw", [b"%d.npz" % i for i in range(4)])
    (tmp_path / "raw/labels.csv").write_text(
        "name,label,split\n0.npz.gz,0,train\n1,1,train\n2.npz,0,test\n3,1,test\n"
    )
    prepare(tmp_path / "raw", tmp_path / "plain")
    for path in [tmp_path / "raw/0.npz", tmp_path / "raw/3.npz", tmp_path / "raw/labels.csv"]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    prepare(tmp_path / "raw", tmp_path / "packed")
    assert written(tmp_path / "packed") == written(tmp_path / "plain")
    (tmp_path / "raw/0.npz").write_bytes(clip(9))
    error = refused(capsys, prepare, tmp_path / "raw", tmp_path / "both")
    assert "0.npz: found 0 with another content than in " in error
    assert "0.npz.gz; expected every sample once" in error


def test_a_skeleton_file_and_a_pickle_packed_with_gzip(tmp_path):
    film = ntu_files.film(3, (ntu_files.FIRST_ID, [0, 1, 2], ntu_files.person(0, 3)))
    name, content = "S001C001P001R001A001", ntu_files.skeleton_text(film)
    path = tmp_path / f"{name}.skeleton.gz"
    path.write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]))  # two parts
    (raw,) = search.find(tmp_path, ".skeleton", what="skeletons")
    assert (raw.name, raw.read()) == (f"{name}.skeleton", content)
    (tmp_path / "p").mkdir()
    exchange = custom_sets.write_pickle(tmp_path / "p/set.pkl", custom_sets.exchange())
    exchange.with_name("set.pkl.gz").write_bytes(gzip.compress(exchange.read_bytes()))
    exchange.unlink()
    for i, source in enumerate((tmp_path / "p", tmp_path / "p/set.pkl.gz")):
        prepare(source, tmp_path / f"out{i}", "--channels=xyc")
        assert len(written(tmp_path / f"out{i}")) == 12


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no gzip", "a damaged file .*expected a complete .gz file"),
        (gzip.compress(clip(0))[:-20], "ends early"),
        (gzip.compress(clip(0))[:-6] + b"\0" * 6, "a damaged file"),
        (gzip.compress(clip(0)) + b"more", "a damaged file"),
        (gzip.compress(clip(0)) + b"\0more", "other data are behind its end"),
        (b"", "it ends early"),
        (gzip.compress(b"") * 100_001, "more than 100,000 parts"),
        (gzip.compress(bytes(2**21)), "more than 1,048,576 bytes in a .gz file"),
    ],
)
def test_damaged_and_enormous_gzip(tmp_path, data, message, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 2**20)
    monkeypatch.setattr(archives, "MAX_RATIO", 10)
    (tmp_path / "a.npz.gz").write_bytes(data)
    with pytest.raises(BadFile, match=message) as caught:
        files.RawFile(str(tmp_path / "a.npz.gz")).read()
    assert caught.value.path == f"{tmp_path}/a.npz.gz"


@pytest.mark.parametrize("name", ["more.7z", "more.tar.gz", "more.rar", "more.npz.xz", "more.tgz"])
def test_archives_that_are_not_read_are_named(tmp_path, name, capsys):
    write(tmp_path / "raw", [b"%d.npz" % i for i in range(4)])
    (tmp_path / "raw" / name).write_bytes(b"packed")
    prepare(tmp_path / "raw", tmp_path / "out")
    assert f"{name}: not read. " in capsys.readouterr().out
    (tmp_path / "raw" / name.removesuffix(".gz").rpartition(".")[0]).mkdir()  # unpacked
    prepare(tmp_path / "raw", tmp_path / "again")
    assert f"{name}: not read" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["DATA, v2", "a[1]", "a*b", "a?", "#1", "50%", "a%20b", "a\nb", "~a", "a\\b", "x.zip"]
)
def test_folders_with_any_character(tmp_path, name, monkeypatch):
    write(tmp_path / name / f"raw {name}", [b"%d.npz" % i for i in range(4)])
    monkeypatch.chdir(tmp_path)
    prepare(f"./{name}/raw {name}/", tmp_path / f"{name}/")
    assert set(written(tmp_path / name)) == set("0123")
    amr_jax_command(["prepare", "--verify", f"--data_dir={tmp_path / name}"])


@pytest.mark.parametrize("name", ["a[1]", "a*b", "a?b", "a\\b"])
def test_a_workdir_that_would_lose_checkpoints_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected a --workdir without \* \? \[ and"):
        checkpoint.Checkpoints(tmp_path / name, keep=1)
    assert not (tmp_path / name).exists()


def test_raw_files_of_ntu_in_such_folders_and_packed(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path / "raw"), GBK)
    os.makedirs(folder)
    for i, performer in enumerate((1, 3)):
        film = ntu_files.film(3, (ntu_files.FIRST_ID, [0, 1, 2], ntu_files.person(i, 3)))
        name = b"S001C001P%03dR001A001.skeleton.gz" % performer
        with open(os.path.join(folder, name), "wb") as file:
            file.write(gzip.compress(ntu_files.skeleton_text(film)))
    with open(os.path.join(folder, b"S001C001P003R002A001.skeleton"), "wb") as file:
        file.write(b"bad")
    amr_jax_command(
        [
            "prepare",
            "--dataset=ntu_rgbd60",
            f"--manual_dir={tmp_path}/raw",
            f"--data_dir={tmp_path}/out",
            "--on_bad_file=skip",
            "--num_workers=2",
        ]
    )
    builder = tfds.builder("ntu_rgbd60/xsub", data_dir=tmp_path / "out")
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 1,
        "test": 1,
    }
    (row,) = json.loads((tmp_path / "out/ntu_rgbd60/left_out.json").read_text())
    assert row["file"] == f"{tmp_path}/raw/{NAME}/S001C001P003R002A001.skeleton"


def annotation(seed: int, **changes) -> dict:
    joints = tiny_models.joints(seed, 5).swapaxes(0, 1)
    return {"frame_dir": f"S{seed}", "label": 0, "total_frames": 5, "keypoint": joints} | changes


ENTRY = annotation(0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.pkl", {"split": {"val": {"S0"}}, "annotations": (ENTRY,)}),
        ("set.pkl.gz", {"split": {"val": ("S0",)}, "annotations": [ENTRY]}),
        ("val.pkl", [ENTRY]),
        ("S0.pickle", ENTRY),
        ("all.pkl", {"train": [], "val": [ENTRY]}),
        ("filename.pkl", [annotation(0, filename="S0", frame_dir="/videos")]),
        ("one_body.pkl", [annotation(0, keypoint=ENTRY["keypoint"][0])]),
        ("float64.pkl", [annotation(0, keypoint=ENTRY["keypoint"].astype(np.float64))]),
        ("label.pkl", [annotation(0, label="wave", total_frames=np.int64(5))]),
        ("splits.pkl", {"split": {"x": np.array(["S9"])}, "annotations": [ENTRY]}),
        (os.fsdecode(GBK + b".pkl"), [ENTRY]),
    ],
)
def test_predict_reads_pickles_in_these_forms(checkpoint_folder, tmp_path, name, content):
    data = pickle.dumps(content, protocol=4)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    np.save(tmp_path / "plain.npy", tiny_models.joints(0, 5))
    command = ["predict", f"--checkpoint={checkpoint_folder}", f"--json={tmp_path}/out"]
    amr_jax_command([*command, f"{tmp_path}/plain.npy", str(tmp_path / name)])
    plain, row = map(json.loads, (tmp_path / "out").read_text().splitlines())
    shown = name.replace(os.fsdecode(GBK), NAME)
    assert row == plain | {"file": f"{tmp_path}/{shown}[S0]"}


@pytest.mark.parametrize("dataset", ["pku_mmd", "nw_ucla"])
def test_raw_files_of_other_sets_packed(tmp_path, dataset):
    """All files, tables of labels and splits included."""
    if dataset == "pku_mmd":
        raw_sets.write_pku(tmp_path / "raw")
    else:
        raw_sets.tiny_ucla(tmp_path)  # in tmp_path / "raw", too
    flags = ["prepare", f"--dataset={dataset}", "--num_workers=1"]
    amr_jax_command([*flags, f"--manual_dir={tmp_path}/raw", f"--data_dir={tmp_path}/plain"])
    for path in (path for path in list((tmp_path / "raw").rglob("*")) if path.is_file()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    amr_jax_command([*flags, f"--manual_dir={tmp_path}/raw", f"--data_dir={tmp_path}/packed"])
    plain, packed = everything(tmp_path / "plain"), everything(tmp_path / "packed")
    assert {name for name in plain if plain[name] != packed[name]} <= {f"{dataset}/left_out.json"}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("file_name_gbk", {"DATA": (2, 2)}),
        ("class_names_twice", {"DATA": (3, 3)}),
        ("split_containers", {f"DATA_{form}": (2, 2) for form in ("tuple", "array", "list_alone")}),
    ],
)
def test_the_cases_that_people_reported(shared_data, tmp_path, case, expected):
    folder, result = cases.run(shared_data, case, tmp_path)
    for data, counts in expected.items():
        splits = list(written(folder / data).values())
        assert (splits.count("train"), splits.count("test")) == counts, result.stderr
    assert "Traceback" not in result.stderr
