"""A user's own data, from files to records, and the errors."""

import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_jax import prepare
from amr_jax.data import records
from amr_jax.data.build import custom, folder_names, own_files
from amr_jax.data.readers import arrays, search
from amr_jax.errors import BadFile, UserError
from amr_jax.skeleton import layouts
from tests import custom_sets
from tests.data.readers.test_layout_file import PUPPET
from tests.test_prepare import everything


def run(raw, out, **options):
    how = {"name": "mine", "layout": "coco_17", "channels": "xyz", "num_workers": 1}
    return prepare.prepare("custom", raw, out, **how | options)


def counts(rows):
    return {row.split: row.sequences for row in rows}


def info(out, name="mine"):
    return tfds.builder_from_directory(out / "custom" / name / "1.0.0").info


def examples(out, split, name="mine"):
    builder = tfds.builder_from_directory(out / "custom" / name / "1.0.0")
    return {example["name"].decode(): example for example in builder.as_data_source(split)}


def left_out(out, name="mine"):
    return json.loads((out / "custom" / name / "left_out.json").read_text())


@pytest.fixture
def raw(tmp_path):
    """Npz files with all fields: two for training, one for testing; one with two bodies."""
    folder = tmp_path / "raw"
    two = np.random.default_rng(9).normal(size=(6, 2, 17, 3))
    custom_sets.write_npz(folder, "walk/a", subject=3)
    custom_sets.write_npz(folder, "walk/b", label="run", joints=two)
    custom_sets.write_npz(folder, "c", split="test")
    return folder


def test_npz_files(raw, tmp_path):
    rows = run(raw, tmp_path / "out")
    assert counts(rows) == {"train": 2, "test": 1}
    assert [row.published for row in rows] == [None, None]
    train = examples(tmp_path / "out", "train")
    assert set(train) == {"walk/a", "walk/b"}
    assert set(examples(tmp_path / "out", "test")) == {"c"}
    found = info(tmp_path / "out")
    assert found.features["label"].names == ["run", "wave"]
    assert found.features["joints"].shape == (None, 2, 17, 3)
    assert [train[name]["label"] for name in ("walk/a", "walk/b")] == [1, 0]
    assert train["walk/a"]["subject"] == b"3"
    written = np.load(raw / "walk/a.npz")["joints"].astype(np.float32)
    np.testing.assert_array_equal(train["walk/a"]["joints"][:, :1], written)
    np.testing.assert_array_equal(train["walk/a"]["joints"][:, 1], 0)
    assert dict(found.metadata) == {
        "layout": "coco_17",
        "channels": "xyz",
        "scale": 1.0,
        "train_split": "train",
        "test_split": "test",
        "longest": 6,
        "sequences": {"train": 2, "test": 1},
    }
    assert left_out(tmp_path / "out") == []


def test_a_zip_gives_the_same_records_as_its_folder(raw, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in raw.rglob("*.npz"):
            archive.write(path, path.relative_to(raw))
    run(raw, tmp_path / "folder")
    run(tmp_path / "set.zip", tmp_path / "zip")
    assert everything(tmp_path / "folder") == everything(tmp_path / "zip")


def test_a_table_of_labels_and_names_of_classes(raw, tmp_path):
    (raw / "labels.csv").write_text("name,label,split\nwalk/a,1,b\nwalk/b,0,a\nc,1,b\nd,0,a\n")
    (raw / "classes.txt").write_text("sit\nstand\nlie\n")
    rows = run(raw, tmp_path / "out", train_split="b", test_split="a")
    assert counts(rows) == {"train": 2, "test": 1}
    assert info(tmp_path / "out").features["label"].names == ["sit", "stand", "lie"]
    assert examples(tmp_path / "out", "test")["walk/b"]["label"] == 0
    ((absent,),) = [left_out(tmp_path / "out")]
    assert (absent["name"], absent["why"]) == ("d", "a row of the table, but no file of that name")
    (raw / "labels.csv").write_text("name,label\nwalk/a,1\nwalk/b,0\n")
    with pytest.raises(BadFile, match=r"c\.npz: found no row for it; expected .*'c' in .*labels"):
        run(raw, tmp_path / "other")


def test_a_table_of_subjects_keeps_labels_and_splits_of_the_files(raw, tmp_path):
    (raw / "labels.csv").write_text("name,subject\nwalk/a,7\nwalk/b,8\nc,9\n")
    assert counts(run(raw, tmp_path / "out")) == {"train": 2, "test": 1}
    assert info(tmp_path / "out").features["label"].names == ["run", "wave"]


def test_names_of_classes_stay_one_line_each(raw, tmp_path):
    custom_sets.write_npz(raw, "walk/b", label="wave\n")
    custom_sets.write_npz(raw, "d", label="a\u0308")
    custom_sets.write_npz(raw, "e", label="\u00e4", split="test ")
    run(raw, tmp_path / "out")
    assert info(tmp_path / "out").features["label"].names == ["wave", "\u00e4"]
    custom_sets.write_npz(raw, "f", label="run\nfast")
    with pytest.raises(UserError, match=r"f: label 'run\\nfast' with the character"):
        run(raw, tmp_path / "other")


def test_sequences_without_labels_are_for_pretraining(tmp_path, capsys):
    for name in "ab":
        custom_sets.write_npz(tmp_path / "raw", name, label=None, split=None)
    assert counts(run(tmp_path / "raw", tmp_path / "out")) == {"train": 2, "test": 0}
    assert "no sequence has a split; all are for training" in capsys.readouterr().out
    assert info(tmp_path / "out").features["label"].names == ["unlabelled"]
    with pytest.raises(UserError, match=r"expected 'test'.*--test_fraction=0\.2 --ov"):
        records.Records("", str(tmp_path / "out/custom/mine"), "test", None, 100)


def test_a_set_without_splits_is_divided(tmp_path, capsys):
    for i in range(10):
        custom_sets.write_npz(
            tmp_path / "raw", f"{i}", label=i % 2, split=None, subject=f"p{i % 5}"
        )
    rows = run(tmp_path / "raw", tmp_path / "out", test_fraction="0.2")
    assert counts(rows) == {"train": 8, "test": 2}
    ((subject,),) = [{e["subject"].decode() for e in examples(tmp_path / "out", "test").values()}]
    told = capsys.readouterr().out
    assert f"2 of 10 sequences are for testing, all those of the subjects {subject} (--test" in told
    metadata = dict(info(tmp_path / "out").metadata)
    assert metadata["test_fraction"] == 0.2
    assert (metadata["split_seed"], metadata["split_by"]) == (0, "subject")
    assert run(tmp_path / "gone", tmp_path / "out", test_fraction="0.2", split_seed="0") == rows
    assert run(tmp_path / "gone", tmp_path / "out") == rows
    with pytest.raises(UserError, match=r"made with {'split_seed': 0}, now .*'split_seed': 1"):
        run(tmp_path / "raw", tmp_path / "out", test_fraction="0.2", split_seed="1")
    run(tmp_path / "raw", tmp_path / "default")
    assert dict(info(tmp_path / "default").metadata) == metadata
    run(tmp_path / "raw", tmp_path / "other", test_fraction="0")
    with pytest.raises(UserError, match=r"made with {'split_seed': None, 'test_fraction': None}"):
        run(tmp_path / "raw", tmp_path / "other", test_fraction="0.2")


def test_a_set_with_splits_is_not_divided(raw, exchange, tmp_path):
    with pytest.raises(UserError, match=r"without splits; these have: sub_val, sub_train\. Remove"):
        run(exchange, tmp_path / "out", channels="xyc", test_fraction="0.2")
    exchange.unlink()
    custom_sets.write_npz(raw, "c", split=None)
    with pytest.raises(UserError, match=r"without splits; these have: train\. Remove"):
        run(raw, tmp_path / "out", test_fraction="0.2")


def test_a_pickle_without_splits_is_divided_by_class(tmp_path, capsys):
    content = custom_sets.exchange()
    del content["split"]
    exchange = custom_sets.write_pickle(tmp_path / "set.pkl", content)
    assert counts(run(exchange, tmp_path / "a0", channels="xyc")) == {"train": 10, "test": 2}
    without = run(exchange, tmp_path / "a", channels="xyc", test_fraction="0")
    assert counts(without) == {"train": 12, "test": 0}
    assert "--test_fraction=0.2 sets a fifth aside for testing" in capsys.readouterr().out
    run(exchange, tmp_path / "b", channels="xyc", test_fraction="0.3")
    test = examples(tmp_path / "b", "test")
    assert sorted(example["label"] for example in test.values()) == [0, 0, 1, 1]
    content["annotations"].reverse()
    custom_sets.write_pickle(exchange, content)
    run(exchange, tmp_path / "c", channels="xyc", test_fraction="0.3")
    assert everything(tmp_path / "b") == everything(tmp_path / "c")
    # One split only is none.
    content["split"] = {"all": [entry["frame_dir"] for entry in content["annotations"]]}
    custom_sets.write_pickle(exchange, content)
    with pytest.raises(UserError, match=r"one split, all; expected .*--test_fraction=0\.2"):
        run(exchange, tmp_path / "d", channels="xyc")
    run(exchange, tmp_path / "d", channels="xyc", test_fraction="0.3")
    assert set(examples(tmp_path / "d", "test")) == set(test)


def test_lists_of_two_splits(tmp_path):
    """MMAction2 0.x: one pickle for each split."""
    annotations = custom_sets.exchange(6)["annotations"]
    custom_sets.write_pickle(tmp_path / "raw" / "my_train.pkl", annotations[:4])
    custom_sets.write_pickle(tmp_path / "raw" / "my_val.pkl", annotations[4:])
    rows = run(tmp_path / "raw", tmp_path / "out", channels="xyc")
    assert counts(rows) == {"train": 4, "test": 2}
    assert set(examples(tmp_path / "out", "test")) == {"S004", "S005"}


def test_two_classes_of_one_name(tmp_path, capsys):
    exchange = custom_sets.write_pickle(tmp_path / "raw" / "set.pkl", custom_sets.exchange())
    exchange.with_name("classes.txt").write_text("tuck\ntuck\nleap\n")
    run(exchange, tmp_path / "out", channels="xyc")
    assert info(tmp_path / "out").features["label"].names == ["tuck", "tuck (class 1)", "leap"]
    told = "note: names in classes.txt that occur again became tuck (class 1)."
    assert told in capsys.readouterr().out


@pytest.fixture
def exchange(tmp_path):
    return custom_sets.write_pickle(tmp_path / "raw" / "set.pkl", custom_sets.exchange())


def test_a_pickle(exchange, tmp_path):
    rows = run(exchange, tmp_path / "out", channels="xyc")
    assert counts(rows) == {"train": 8, "test": 4}
    run(exchange.parent, tmp_path / "folder", channels="xyc")
    assert everything(tmp_path / "out") == everything(tmp_path / "folder")
    content = custom_sets.exchange()
    train = examples(tmp_path / "out", "train")
    assert set(train) == set(content["split"]["sub_train"])
    for entry in content["annotations"]:
        if entry["frame_dir"] in train:
            example = train[entry["frame_dir"]]
            bodies = len(entry["keypoint"])
            expected = entry["keypoint"].swapaxes(0, 1)
            np.testing.assert_array_equal(example["joints"][:, :bodies, :, :2], expected)
            np.testing.assert_array_equal(example["joints"][:, bodies:], 0)
            assert example["label"] == entry["label"]
    assert info(tmp_path / "out").features["joints"].shape == (None, 2, 17, 3)


def test_a_pickle_without_its_confidences_and_scaled(exchange, tmp_path):
    run(exchange, tmp_path / "out", channels="xy", scale="0.5")
    entry = custom_sets.annotation(1, label=1)
    joints = examples(tmp_path / "out", "train")["S001"]["joints"]
    np.testing.assert_array_equal(joints[:, 0], entry["keypoint"][0].astype(np.float32) / 2)


def test_tasks_can_be_sent_to_workers(raw, tmp_path):
    exchange = custom_sets.write_pickle(tmp_path / "set.pkl", custom_sets.exchange(1))
    options = {"name": "mine", "layout": "coco_17"}
    for folder, channels in ((raw, "xyz"), (exchange, "xyc")):
        found = custom.find(folder, custom.config_of(options | {"channels": channels}))
        read, tasks = pickle.loads(pickle.dumps((found.read, found.tasks)))
        expected, example = found.read(found.tasks[0]), read(tasks[0])
        np.testing.assert_array_equal(example.pop("joints"), expected.pop("joints"))
        assert example == expected


def test_splits_of_a_pickle_are_chosen_by_name(tmp_path, capsys):
    content = custom_sets.exchange()
    names = [entry["frame_dir"] for entry in content["annotations"]]
    content["split"] |= {"view_train": names[:5], "view_val": names[5:10], "both": names}
    exchange = custom_sets.write_pickle(tmp_path / "set.pkl", content)
    with pytest.raises(UserError, match="--train_split=sub_train --test_split=sub_val; --train_sp"):
        run(exchange, tmp_path / "out", channels="xyc")
    how = {"channels": "xyc", "train_split": "view_train", "test_split": "view_val"}
    assert counts(run(exchange, tmp_path / "out", **how)) == {"train": 5, "test": 5}
    assert "note: 2 sequences are in no split: S010, S011" in capsys.readouterr().out
    with pytest.raises(UserError, match="5 sequences are in both splits, view_train and both"):
        run(exchange, tmp_path / "other", **how | {"test_split": "both"})
    with pytest.raises(UserError, match="--test_split is 'x'; the data has: sub_train, sub_val"):
        run(exchange, tmp_path / "other", **how | {"test_split": "x"})
    assert everything(tmp_path / "other") == {}


def test_sequences_without_body_or_annotation_are_left_out(tmp_path):
    content = custom_sets.exchange()
    content["annotations"][4]["keypoint"] = np.zeros_like(content["annotations"][4]["keypoint"])
    content["annotations"][4]["keypoint_score"][:] = 0
    content["split"]["sub_val"].append("gone")
    exchange = custom_sets.write_pickle(tmp_path / "set.pkl", content)
    assert counts(run(exchange, tmp_path / "out", channels="xyc")) == {"train": 7, "test": 4}
    first, second = left_out(tmp_path / "out")
    assert (first["name"], first["why"]) == ("S004", "no body in any frame")
    assert (second["name"], second["why"]) == ("gone", "named in a split, but has no annotation")


@pytest.fixture
def bad(raw, exchange):
    """Sets with one bad sequence each, and its name."""
    custom_sets.write_npz(raw, "b.ad", joints=np.full((4, 1, 17, 3), np.nan))
    content = custom_sets.exchange()
    content["annotations"][4]["keypoint"] = np.zeros((1, 5, 18, 2))
    shutil.rmtree(exchange.parent / "walk")
    folder = exchange.parent.parent / "pickle"
    npz = exchange.parent.parent / "npz"
    npz.mkdir()
    for path in exchange.parent.glob("*.npz"):
        path.rename(npz / path.name)
    return {
        "b.ad": (npz, {"channels": "xyz"}, 1),
        "S004": (
            custom_sets.write_pickle(folder / "set.pkl", content),
            {"channels": "xyc"},
            11,
        ),
    }


@pytest.mark.parametrize("name", ["b.ad", "S004"])
def test_a_bad_sequence_leaves_nothing_behind_or_is_skipped(bad, tmp_path, name):
    source, how, others = bad[name]
    if name == "b.ad":  # the only other file tests
        how = how | {"test_split": "test"}
    with pytest.raises(BadFile, match=name):
        run(source, tmp_path / "out", **how)
    assert everything(tmp_path / "out") == {}
    rows = run(source, tmp_path / "out", on_bad_file="skip", **how)
    assert sum(counts(rows).values()) == others
    (sample,) = left_out(tmp_path / "out")
    assert sample["name"] == name
    assert sample["why"].startswith("bad file: ")


def test_two_sets_side_by_side(raw, exchange, tmp_path):
    for path in (raw / "walk", raw / "c.npz"):
        path.rename(tmp_path / path.name)
    (tmp_path / "npz").mkdir()
    (tmp_path / "walk").rename(tmp_path / "npz" / "walk")
    run(tmp_path / "npz", tmp_path / "out", train_split="train")
    before = everything(tmp_path / "out")
    run(exchange, tmp_path / "out", name="other", channels="xyc")
    assert before.items() <= everything(tmp_path / "out").items()


def test_prepared_records_stay_and_are_not_mixed(raw, tmp_path, capsys):
    first = run(raw, tmp_path / "out")
    before = everything(tmp_path / "out")
    assert run(tmp_path / "gone", tmp_path / "out") == first
    assert "already prepared" in capsys.readouterr().out
    assert run(tmp_path / "gone", tmp_path / "out", train_split="train") == first
    for options in (
        {"channels": "xy"},
        {"layout": "openpose_18"},
        {"scale": "0.001"},
        {"test_split": "val"},
    ):
        ((key, value),) = options.items()
        with pytest.raises(UserError, match=rf"made with {{'{key}': .*asked for: .*{value}.*over"):
            run(raw, tmp_path / "out", **options)
    assert everything(tmp_path / "out") == before
    run(raw, tmp_path / "out", scale="0.001", overwrite=True)
    assert dict(info(tmp_path / "out").metadata)["scale"] == 0.001


def test_a_custom_layout(tmp_path):
    layout = tmp_path / "puppet.json"
    layout.write_text(json.dumps(PUPPET))
    custom_sets.write_npz(tmp_path / "raw", joints=np.ones((4, 5, 3)))
    run(tmp_path / "raw", tmp_path / "out", layout=str(layout))
    assert dict(info(tmp_path / "out").metadata)["layout"] == PUPPET
    assert info(tmp_path / "out").features["joints"].shape == (None, 1, 5, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "needs --name"),
        ({"layout": ""}, "needs --layout"),
        ({"channels": ""}, "needs --channels"),
        ({"name": "a/b"}, "--name is 'a/b'; expected letters"),
        ({"channels": "xyzc"}, "--channels is 'xyzc'; expected xyz, xy, xyc"),
        ({"layout": "coco"}, "--layout is 'coco'; expected one of ntu_25"),
        ({"scale": "mm"}, "--scale is 'mm'; expected a number above 0"),
        ({"scale": "-1"}, "--scale is '-1'"),
        ({"gaps": "true_time"}, "--gaps does not apply to custom"),
        ({"test_fraction": "1"}, "--test_fraction is '1'; expected a number between 0 and 1"),
        ({"test_fraction": "-0.1"}, "--test_fraction is '-0.1'"),
        ({"people": "0"}, "--people is '0'; expected how many people to keep"),
        ({"test_fraction": "20%"}, "--test_fraction is '20%'"),
        ({"test_fraction": "0.2", "test_split": "test"}, "--test_fraction and --test_split"),
        ({"split_seed": "1"}, "--split_seed is for --test_fraction"),
        ({"test_fraction": "0.2", "split_seed": "-1"}, "--split_seed is '-1'"),
    ],
)
def test_invalid_settings(raw, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(raw, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_other_folders(raw, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")
    with pytest.raises(UserError, match=r"\(\*\.npz\).*there is none among 1 file"):
        run(tmp_path / "texts", tmp_path / "out")
    custom_sets.write_pickle(raw / "set.pkl", custom_sets.exchange(1))
    with pytest.raises(UserError, match=r"only pickles, or only \.npz files"):
        run(raw, tmp_path / "out")
    (raw / "set.pkl").unlink()
    for folder in ("walk", "."):
        (raw / folder / "labels.csv").write_text("name,label\n")
    with pytest.raises(UserError, match=r"expected at most one labels\.csv"):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_implausible_metres_are_reported(tmp_path, capsys):
    joints = 1000 * np.random.default_rng(0).normal(size=(4, 17, 3))
    custom_sets.write_npz(tmp_path / "raw", joints=joints)
    run(tmp_path / "raw", tmp_path / "out")
    assert "expected metres. --scale=0.001" in capsys.readouterr().out
    run(tmp_path / "raw", tmp_path / "scaled", scale="0.001")
    assert "expected metres" not in capsys.readouterr().out


def test_the_builder_refers_to_prepare(tmp_path):
    with pytest.raises(UserError, match="prepare --dataset=custom"):
        tfds.builder("custom", data_dir=tmp_path)
    assert set(layouts.CHANNELS) == {"xyz", "xy", "xyc"}


def test_files_that_are_not_read_are_counted(raw, exchange, tmp_path, capsys):
    for name in ("a.npy", "b.npy", "README.md", ".DS_Store", "labels.csv"):
        (raw / name).write_text("name,label,split\nwalk/a,0,train\nwalk/b,1,train\nc,1,test\n")
    exchange.rename(tmp_path / "set.pkl")
    run(raw, tmp_path / "out")
    assert "note: not read: 2 .npy, 1 .md." in capsys.readouterr().out
    shutil.rmtree(raw / "walk")
    (raw / "c.npz").unlink()
    (tmp_path / "set.pkl").rename(exchange)
    run(raw, tmp_path / "other", channels="xyc")
    assert "note: not read: 2 .npy, 1 .md, 1 .csv." in capsys.readouterr().out


def test_names_of_the_table_on_other_systems(tmp_path):
    """A Mac writes an accent as a character of its own, Windows a backslash for a slash."""
    for name in ("a\u0308/x", "b/y"):
        custom_sets.write_npz(tmp_path / "raw", name, label=None, split=None)
    (tmp_path / "raw" / "labels.csv").write_text(
        "name,label,split\n\u00e4\\x.npz,0,train\nb\\y,1,test\n"
    )
    run(tmp_path / "raw", tmp_path / "out")
    assert examples(tmp_path / "out", "test")["b/y"]["label"] == 1
    assert set(examples(tmp_path / "out", "train")) == {"a\u0308/x"}
    assert left_out(tmp_path / "out") == []
    custom_sets.write_npz(tmp_path / "raw", "\u00e4/x")
    with pytest.raises(UserError, match="have one row of labels, 'ä/x'; rename one"):
        run(tmp_path / "raw", tmp_path / "other")


def test_names_without_a_sequence_are_told(raw, tmp_path, capsys):
    rows = "".join(f"{name},0,train\n" for name in ("walk/a", "walk/b", "c", *"defgh"))
    (raw / "labels.csv").write_text(f"name,label,split\n{rows}")
    run(raw, tmp_path / "out")
    told = capsys.readouterr().out
    assert "note: 5 names without a sequence: d, e, f and 2 more." in told
    content = custom_sets.exchange()
    names = content["split"]
    content["split"] = {key: [f"v/{name}.avi" for name in names[key]] for key in names}
    exchange = custom_sets.write_pickle(tmp_path / "set.pkl", content)
    with pytest.raises(BadFile, match=r"'v/S000\.avi' in a split, and no ann.*, such as 'S000'"):
        run(exchange, tmp_path / "other", channels="xyc")


def test_bodies_before_frames_are_doubted(tmp_path, capsys):
    for name in "ab":
        custom_sets.write_npz(tmp_path / "raw", name, joints=np.ones((2, 9, 17, 3)))
    run(tmp_path / "raw", tmp_path / "out")
    assert (
        "note: all sequences have more bodies than frames; expected (T, M"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("table", ["set/labels.csv", "set/Labels.CSV", "labels.csv"])
def test_names_of_a_table_below_its_own_folder(raw, tmp_path, table):
    rows = "".join(f"{name},{i},train\n" for i, name in enumerate(("walk/a", "walk/b", "c")))
    prefixed = rows if "/" in table else rows.replace("walk", "set/walk").replace("c,", "set/c,")
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for path in raw.rglob("*.npz"):
            archive.write(path, f"set/{path.relative_to(raw)}")
        archive.writestr(table, f"name,label,split\n{prefixed}")
    run(tmp_path / "raw.zip", tmp_path / "out")
    found = {
        name: example["label"] for name, example in examples(tmp_path / "out", "train").items()
    }
    assert found == {"set/walk/a": 0, "set/walk/b": 1, "set/c": 2}


def test_a_file_without_a_name(raw, tmp_path):
    (raw / "c.npz").rename(raw / ".npz")
    with pytest.raises(BadFile, match=r"/\.npz: found no name; expected NAME\.npz"):
        run(raw, tmp_path / "out")


def clip_of_mediapipe(number):
    rng = np.random.default_rng(number)
    return [
        {
            "pose_world_landmarks": [
                dict(zip("xyz", map(float, place), strict=True)) for place in one
            ]
        }
        for one in rng.normal(size=(4, 33, 3))
    ]


def test_key_point_files_in_folders_of_classes(tmp_path, capsys):
    """Layout, channels, classes and a test split without a flag."""
    for i in range(10):
        path = tmp_path / "raw" / ["clap", "wave"][i % 2] / f"{i}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(clip_of_mediapipe(i)))
    data = np.random.default_rng(0).normal(size=(4, 132))
    np.save(tmp_path / "raw" / "wave" / "last.npy", data)
    how = {"on_bad_file": "fail", "num_workers": 1, "name": "mine"}
    rows = prepare.prepare("custom", tmp_path / "raw", tmp_path / "out", **how)
    assert counts(rows) == {"train": 9, "test": 2}
    told = capsys.readouterr().out
    assert "0.json says --layout=mediapipe_33 --channels=xyz." in told
    assert "labels are the names of the folders: clap (5), wave (6)." in told
    train = examples(tmp_path / "out", "train") | examples(tmp_path / "out", "test")
    assert train["wave/last"]["label"] == 1
    np.testing.assert_allclose(
        train["wave/last"]["joints"][:, 0], data.reshape(4, 33, 4)[..., :3], atol=1e-4
    )
    (tmp_path / "raw" / "labels.csv").write_text(
        "name,label,split\n"
        + "".join(f"{name},other,{'train' if i else 'test'}\n" for i, name in enumerate(train))
    )
    rows = prepare.prepare("custom", tmp_path / "raw", tmp_path / "out", overwrite=True, **how)
    assert counts(rows) == {"train": 10, "test": 1}
    assert info(tmp_path / "out").features["label"].names == ["other"]


def test_folders_of_splits_and_videos_of_openpose(tmp_path, capsys):
    for split, label, frames in (("train", "a", 2), ("train", "b", 3), ("test", "a", 1)):
        folder = tmp_path / "raw" / split / label / "clip"
        folder.mkdir(parents=True)
        for t in range(frames):
            people = [{"pose_keypoints_2d": [t + 1, 2, 0.5] * 25}]
            name = f"v_{t:012d}_keypoints.json"
            (folder / name).write_text(json.dumps({"people": people}))
    rows = prepare.prepare("custom", tmp_path / "raw", tmp_path / "out", num_workers=1, name="mine")
    assert counts(rows) == {"train": 2, "test": 1}
    assert "says --layout=openpose_25 --channels=xyc" in capsys.readouterr().out
    found = examples(tmp_path / "out", "train")
    assert {name: len(one["joints"]) for name, one in found.items()} == {
        "train/a/clip": 2,
        "train/b/clip": 3,
    }
    assert found["train/b/clip"]["label"] == 1


def test_one_table_alone_with_its_labels(tmp_path):
    rows = [
        f"s{i},{t},{j},{i + t},{j},{'ab'[i % 2]}"
        for i in range(6)
        for t in range(2)
        for j in (0, 1)
    ]
    (tmp_path / "all.csv").write_text("sequence,frame,joint,x,y,label\n" + "\n".join(rows) + "\n")
    layout = {"name": "pair", "joints": ["hip", "head"], "bones": [["head", "hip"]]}
    (tmp_path / "pair.json").write_text(json.dumps(layout))
    how = {"name": "mine", "num_workers": 1, "layout": str(tmp_path / "pair.json")}
    rows = prepare.prepare("custom", tmp_path / "all.csv", tmp_path / "out", channels="xy", **how)
    assert counts(rows) == {"train": 4, "test": 2}
    found = examples(tmp_path / "out", "train") | examples(tmp_path / "out", "test")
    np.testing.assert_array_equal(found["all/s5"]["joints"][1, 0], [[6, 0], [6, 1]])
    assert [found[f"all/s{i}"]["label"] for i in range(6)] == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(("folders", "labels"), [(("", ""), {""}), (("a/", "b/"), {"a", "b"})])
def test_names_of_tables_are_no_labels(tmp_path, folders, labels):
    lines = "".join(f"s{i},0,0,1,2\ns{i},0,1,3,4\n" for i in range(2))
    for i, folder in enumerate(folders):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"P{i}.csv").write_text("sequence,frame,joint,x,y\n" + lines)
    raws = search.Search(tmp_path, "tables").files
    tasks, _ = own_files.tasks(tmp_path, raws, None)
    read = [own_files.read(task, form=arrays.Form(2, "xy")) for task in tasks]
    found = [example for one in read for example in one]
    folder_names.take(found)
    assert [one["name"] for one in found][:2] == [f"{folders[0]}P0/s0", f"{folders[0]}P0/s1"]
    assert {one["label"] for one in found} == labels
