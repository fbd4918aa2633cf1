"""What a preparation could not look at, or does not use, is an error or is told."""

import json
import os
import re

import pytest
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401 - registers the builders
from amr_jax import prepare
from amr_jax.errors import BadFile, UserError
from tests import raw_sets
from tests.data.build.test_identities import TEXT, A, B, put

SCANDIR = os.scandir


def find(root, dataset="ntu_rgbd60"):
    return tfds.builder_cls(dataset).find(root)


class Interrupted:
    """A listing that breaks off after its first entry."""

    def __init__(self, entries):
        self._entries = entries

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entries.close()

    def __iter__(self):
        yield next(self._entries)
        raise OSError(5, "Input/output error")


def refuse(monkeypatch, name, interrupt=False):
    """Lets the folder `name` be listed by nobody, not even by root."""

    def scandir(path):
        if isinstance(path, int) or os.path.basename(path) != name:
            return SCANDIR(path)
        if interrupt:
            return Interrupted(SCANDIR(path))
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)


def unlistable(root, monkeypatch):
    put(root, {f"closed/{B}.skeleton": TEXT[B]})
    refuse(monkeypatch, "closed")


def breaks_off(root, monkeypatch):
    put(root, {f"closed/{B}.skeleton": TEXT[B], f"closed/{A}2.skeleton": TEXT[A]})
    refuse(monkeypatch, "closed", interrupt=True)


def dangling_folder(root, _):
    (root / "closed").symlink_to("/mnt/gone/nturgb+d_skeletons")


def dangling_file(root, _):
    (root / "closed").mkdir()
    (root / "closed" / f"{B}.skeleton").symlink_to(root / "gone.skeleton")


def dangling_list(root, _):
    (root / "closed_missing.txt").symlink_to("gone.txt")


def dangling_archive(root, _):
    (root / "closed.zip").symlink_to("gone.zip")


def link_to_itself(root, _):
    (root / "closed").symlink_to("closed")


def links_in_a_circle(root, _):
    (root / "closed").symlink_to("closed2")
    (root / "closed2").symlink_to("closed")


def pipe(root, _):
    os.mkfifo(root / "closed.skeleton")


PROBLEMS = [
    unlistable, breaks_off, dangling_folder, dangling_file, dangling_list, dangling_archive,
    link_to_itself, links_in_a_circle, pipe,
]  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_cannot_be_looked_at(problem, tmp_path, monkeypatch):
    problem(put(tmp_path / "raw", {f"{A}.skeleton": TEXT[A]}), monkeypatch)
    found = find(tmp_path / "raw")
    assert [raw.name for raw in found.tasks] == [f"{A}.skeleton"]
    with pytest.raises(BadFile, match=r"cannot be listed|leads nowhere|another kind") as error:
        found.parse(tmp_path)
    assert f"{tmp_path}/raw/closed" in error.value.path
    spool = found.parse(tmp_path, on_bad_file="skip")
    assert len(spool) == 1
    assert spool.left_out[0].file == error.value.path
    assert spool.left_out[0].why == error.value.found


@pytest.mark.parametrize("dataset", ["ntu_rgbd60", "nw_ucla", "pku_mmd"])
def test_a_folder_that_cannot_be_listed_ends_the_command(dataset, tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    raw_sets.write_pku(raw)
    raw_sets.write_ntu(raw)
    joints = raw_sets.body(0)[:, :20].tolist()
    content = {"file_name": "a01_s01_e00_v01", "skeletons": joints, "label": 1}
    put(raw, {"a01_s01_e00_v01.json": json.dumps(content), "closed/x": ""})
    refuse(monkeypatch, "closed")
    with pytest.raises(BadFile, match=r"raw/closed: found a folder .*\(Permission denied\).*skip"):
        prepare.prepare(dataset, raw, tmp_path / "out", num_workers=1)
    assert not list((tmp_path / "out").rglob("*.json"))
    prepare.prepare(dataset, raw, tmp_path / "out", num_workers=1, on_bad_file="skip")
    listed = json.loads((tmp_path / "out" / dataset / "left_out.json").read_text())
    assert [entry["name"] for entry in listed] == ["closed"]


def test_the_only_folder_cannot_be_listed(tmp_path, monkeypatch):
    put(tmp_path, {f"closed/{A}.skeleton": TEXT[A]})
    refuse(monkeypatch, "closed")
    with pytest.raises(BadFile, match="closed: found a folder that cannot be listed"):
        find(tmp_path)


def test_a_folder_linked_to_its_parent_is_no_problem(tmp_path):
    put(tmp_path, {f"in/{A}.skeleton": TEXT[A]})
    (tmp_path / "in/again").symlink_to(tmp_path)
    found = find(tmp_path)
    assert (len(found.tasks), [*found.left_out, *found.notes]) == (1, [])


@pytest.mark.parametrize(
    "name",
    [
        "outer.zip!inner.zip",
        "outer.zip!deep/nturgbd_skeletons_s001_to_s017.ZIP",
        "outer.zip!inner.7z",
        "more.7z",
        "more.tar.gz",
        "more.tgz",
        "more.rar",
        "more.zip.001",
        "more.z01",
        "more.tar.zst",
    ],
)
def test_an_archive_that_is_not_read_is_told(name, tmp_path):
    found = find(put(tmp_path, {f"{A}.skeleton": TEXT[A], name: b"PK"}))
    place = f"{tmp_path}/{name}"
    assert any(f"{place}: not read. " in note for note in found.notes)
    (sample,) = found.left_out
    assert sample.file == place
    assert "is not read" in sample.why
    assert len(found.parse(tmp_path)) == 1


def test_nothing_but_an_archive_in_an_archive(tmp_path):
    with pytest.raises(ValueError, match=r"none among 1 file.*Unpack it first.*outer\.zip!inner"):
        find(put(tmp_path, {"outer.zip!inner.zip": b"PK"}))


def test_other_files_are_counted(tmp_path):
    others = {f"{A}.skeleton.txt": TEXT[A], f"{B}_rgb.avi": "", "b.avi": "", "README": "", ".x": ""}
    found = find(put(tmp_path, {f"{A}.skeleton": TEXT[A], **others}))
    assert "not read: 2 .avi, 1 README, 1 .txt." in found.notes


SETS = {  # the name of a sample, of one that nearly is, and of files that are none
    "msr_action3d": ("a01_s01_e01_skeleton3D.txt", "a1_s1_e1_skeleton3D.txt", "README.txt"),
    "kard": ("a01_s01_e01_realworld.txt", "a01_s01_e01_realword.txt", "README.txt"),
    "utkinect": ("a01_s01_e01.txt", "a01_s01_e1.txt", "README.txt"),
    "florence3d": ("a01_s1_id1.txt", "A01_S01_id1.txt", "README.TXT"),
    "utd_mhad": ("a1_s1_t1_skeleton.mat", "a01_s1_t1_skeleton.mat", "calibration.mat"),
    "nw_ucla": ("a01_s01_e00_v01.json", "a01_s01_e00_v1.json", "package.json"),
}


@pytest.mark.parametrize("place", ["", "set.zip!"])
@pytest.mark.parametrize("dataset", SETS)
def test_a_foreign_file_of_the_same_ending_is_told(dataset, place, tmp_path):
    sample, near, foreign = SETS[dataset]
    put(tmp_path, {f"{place}{foreign}": "{}"})
    with pytest.raises(UserError, match=rf"there is none among 1 file\(s\) \(1 {foreign}\)"):
        find(tmp_path, dataset)
    found = find(put(tmp_path, {sample: "x", f"{place}{foreign}": "{}"}), dataset)
    assert [raw.name for raw in found.tasks] == [sample]
    assert found.notes == [f"not read: 1 {foreign}."]
    found = find(put(tmp_path, {near: "x"}), dataset)
    assert {raw.name for raw in found.tasks} == {sample, near}
    with pytest.raises(BadFile, match=f"the file name '{near.split('.')[0]}"):
        found.read(next(raw for raw in found.tasks if raw.name == near))


ARCHIVES = (
    "nw_ucla_all_sqe.zip",
    "utd_mhad_skeleton.zip",
    "msr_action3d_real3d.zip",
    "kard_realworld.zip",
    "utkinect.zip",
    "florence3d.zip",
)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dataset", SETS)
def test_the_archives_of_other_sets_may_lie_beside(dataset, packed, tmp_path):
    """Sets of text files are told by name; a file of none of them still stops the preparation."""
    sample, near, _ = SETS[dataset]
    others = {name: of for name, (of, _, _) in SETS.items() if name != dataset}
    put(tmp_path, {f"{name}.zip!raw/{of}" if packed else of: "x" for name, of in others.items()})
    with pytest.raises(UserError, match="there is none among 5 file"):
        find(tmp_path, dataset)
    found = find(put(tmp_path, {sample: "x"}), dataset)
    assert [raw.name for raw in found.tasks] == [sample]
    (note,) = found.notes
    texts = {"MSR-Action3D", "KARD", "UTKinect", "Florence 3D"}
    titles = set(re.findall(r"1 files of ([^,.]+)", note))
    if sample.endswith(".txt"):
        assert len(titles) == 3
        assert titles < texts
        assert not re.search(r"\.txt", note)
    else:
        assert "4 .txt" in note
    found = find(put(tmp_path, {near: "x"}), dataset)
    assert {raw.name for raw in found.tasks} == {sample, near}


COUNTS = {  # x-sub's, and the sequences that are left out
    "nw_ucla": (724, 760, 0),
    "utd_mhad": (431, 430, 0),
    "msr_action3d": (291, 275, 1),
    "kard": (270, 270, 0),
    "utkinect": (100, 100, 0),
    "florence3d": (109, 106, 0),
}


@pytest.mark.parametrize("dataset", COUNTS)
def test_all_real_sets_from_one_folder(dataset, shared_data, tmp_path, capsys):
    """The archives as the field exchanges them; the folder holds other files, too."""
    if not all((shared_data / name).is_file() for name in ARCHIVES):
        pytest.skip(f"not all of {', '.join(ARCHIVES)} are in {shared_data}")
    rows = prepare.prepare(dataset, shared_data, tmp_path, num_workers=1)
    *counts, left_out = COUNTS[dataset]
    of = {row.split: row for row in rows if row.protocol == "xsub"}
    assert [of["train"].sequences, of["test"].sequences] == counts
    assert all(row.published in (None, row.sequences) for row in rows)
    listed = json.loads((tmp_path / dataset / "left_out.json").read_text())
    assert len(listed) == left_out
    said = capsys.readouterr().out
    assert "not read: " in said
    # Views 2 and 3 of two actions of NW-UCLA hold the same numbers.
    assert ("95 sequences are there under several names" in said) == (dataset == "nw_ucla")


def test_files_of_the_other_sensors_of_utd_are_counted(tmp_path):
    clips = [f"a{a}_s1_t{t}" for a in (1, 10, 27) for t in (1, 2)]
    kinds = ("skeleton.mat", "inertial.mat", "Depth.mat", "color.mat", "color.avi")
    found = find(put(tmp_path, {f"{c}_{kind}": c for c in clips for kind in kinds}), "utd_mhad")
    assert [raw.name for raw in found.tasks] == sorted(f"{clip}_skeleton.mat" for clip in clips)
    (note,) = found.notes
    for kind in ("6 a#_s#_t#_inertial.mat", "6 a#_s#_t#_Depth.mat", "6 a#_s#_t#_color.mat"):
        assert kind in note
    assert "6 .avi" in note


def test_many_foreign_files_are_all_counted(tmp_path):
    others = {f"notes_{letter}.txt": "" for letter in "abcdefgh"}
    (note,) = find(put(tmp_path, {"a01_s01_e01.txt": "x", **others}), "utkinect").notes
    assert note.startswith("not read: 1 notes_a.txt, ")
    assert note.endswith(", and 2 more.")


SPLITS = {
    # Names for training and for validation -> what is told of the videos 0002-L, 0002-M, 0003-L.
    "absent from training": ("0002-L, 0004-L", "0002-M, 0003-L", "1 videos that .* here: 0004-L"),
    "absent from both": ("0002-L, 0004-L", "0003-L, 0005-R, 0002-M", "2 videos .* 0004-L, 0005-R"),
    "many absent": (
        "0002-L, 0004-L, 0005-L, 0006-L, 0007-L",
        "0002-M, 0003-L",
        "4 videos .*: 0004-L, 0005-L, 0006-L and 1 more",
    ),
    "in no list": ("0002-L", "0003-L", "1 videos are in no list of .* test videos.*: 0002-M"),
    "lower case": ("0002-l, 0004-l", "0002-M, 0003-L", "1 videos .* not here: 0004-L"),
}


@pytest.mark.parametrize("case", SPLITS)
def test_names_in_a_split_without_a_file_and_files_in_no_split(case, tmp_path):
    train, test, expected = SPLITS[case]
    raw_sets.write_pku(tmp_path, names=())
    text = f"Training videos:\n{train}\nValidataion videos:\n{test}\n"
    found = find(put(tmp_path, {"cross-subject.txt": text}), "pku_mmd")
    told = [note for note in found.notes if note.startswith("v1_xsub")]
    assert len(told) == 1
    assert re.search(expected, told[0])
    absent = {"0004-L", "0005-L", "0006-L", "0007-L", "0005-R"} & {
        name.strip().upper() for name in f"{train},{test}".split(",")
    }
    assert {sample.name for sample in found.left_out} == absent


def said_by(capsys, dataset, raw, out):
    prepare.prepare(dataset, raw, out, num_workers=1)
    return capsys.readouterr().out


def test_classes_without_a_training_sequence_are_told(tmp_path, capsys):
    raw_sets.write_ntu(tmp_path / "raw")  # performers 1 and 3, actions 1 and 60
    (tmp_path / "raw/S001C002P001R001A060.skeleton").unlink()
    (tmp_path / "raw/S001C003P001R001A060.skeleton").unlink()
    said = said_by(capsys, "ntu_rgbd60", tmp_path / "raw", tmp_path / "out")
    assert "ntu_rgbd60/xsub: 58 of 60 classes have no sequence: eat meal/snack, " in said
    assert "none for training" not in said
    (tmp_path / "raw/S001C001P001R001A060.skeleton").unlink()
    said = said_by(capsys, "ntu_rgbd60", tmp_path / "raw", tmp_path / "out2")
    assert (
        "ntu_rgbd60/xsub: 1 of 60 classes have test sequences, but none for training: "
        "walking apart from each other." in said
    )


def test_sequences_in_no_split_are_told_and_listed(tmp_path, capsys):
    for seed, view in enumerate((1, 3, 4)):
        name = f"a01_s01_e00_v0{view}"
        joints = raw_sets.body(seed)[:, :20].tolist()
        content = {"file_name": name, "skeletons": joints, "label": 1}
        put(tmp_path, {f"raw/{name}.json": json.dumps(content)})
    said = said_by(capsys, "nw_ucla", tmp_path / "raw", tmp_path)
    assert "1 sequences are in no split: a01_s01_e00_v04." in said
    listed = json.loads((tmp_path / "nw_ucla/left_out.json").read_text())
    assert listed == [{"name": "a01_s01_e00_v04", "file": "", "why": "in no split"}]
    counts = tfds.builder_from_directory(tmp_path / "nw_ucla/xview/1.0.0").info.splits
    assert (counts["train"].num_examples, counts["test"].num_examples) == (1, 1)


def test_the_same_joints_under_two_names_are_told(tmp_path, capsys):
    put(tmp_path, {f"raw/{A}.skeleton": TEXT[A], f"raw/{B}.skeleton": TEXT[A]})
    said = said_by(capsys, "ntu_rgbd60", tmp_path / "raw", tmp_path)
    assert f"1 sequences are there under several names, with equal joints: {A} = {B}." in said
