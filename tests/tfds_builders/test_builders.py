"""The TFDS builders: registration, their raw files, their protocols."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders
from amr_jax import prepare
from amr_jax.data.readers import ntu, search
from amr_jax.errors import BadFile, UserError
from tests import raw_sets
from tfds_builders import ntu_rgbd60, ntu_rgbd120, nw_ucla

PROTOCOLS = {
    "ntu_rgbd60": ["xsub", "xview"],
    "ntu_rgbd120": ["xsub", "xset"],
    "nw_ucla": ["xview", "xsub"],
    "utd_mhad": ["xsub"],
    "msr_action3d": ["xsub"],
    "kard": ["xsub"],
    "utkinect": ["xsub", *(f"loso{s}" for s in range(1, 11))],
    "florence3d": ["xsub", *(f"loso{s}" for s in range(1, 11))],
    "pku_mmd": ["v1_xsub", "v1_xview", "v2_xsub", "v2_xview"],
}


@pytest.mark.parametrize("name", sorted(set(tfds_builders.__all__) - {"custom"}))
def test_registered_with_their_protocols_and_names(name, tmp_path):
    cls = tfds.builder_cls(name)
    assert list(cls.builder_configs) == PROTOCOLS[name]
    assert set(cls.PUBLISHED) <= set(PROTOCOLS[name])
    assert len(set(cls.CLASS_NAMES)) == len(cls.CLASS_NAMES)
    info = tfds.builder(f"{name}/{PROTOCOLS[name][-1]}", data_dir=tmp_path).info
    joints = info.features["joints"]
    assert joints.shape == (None, cls.MAX_BODIES, cls.NUM_JOINTS, 3)
    assert joints.np_dtype == np.float32
    assert str(info.version) == "1.0.0"
    assert cls.RELEASE_NOTES["1.0.0"]


def test_classes():
    names = tfds.builder_cls("ntu_rgbd120").CLASS_NAMES
    assert len(names) == 120
    assert names[:60] == tfds.builder_cls("ntu_rgbd60").CLASS_NAMES
    assert (names[22], names[57], names[111]) == ("hand waving", "handshaking", "high-five")
    pku = tfds.builder_cls("pku_mmd").CLASS_NAMES
    assert len(pku) == 51
    # The two-person actions of phase I, which the literature lists by number.
    assert [pku[i - 1] for i in (14, 16)] == ["handshaking", "hugging other person"]
    assert len(tfds.builder_cls("nw_ucla").CLASS_NAMES) == 10


def members(builder, protocol, **ranges):
    ((key, values),) = ranges.items()
    fields = {"subject": 1, "camera": 1, "setup": 1}
    return [v for v in values if builder.split(protocol, {**fields, key: v}) == "train"]


def test_protocols_of_ntu():
    assert len(members(ntu_rgbd60.Builder, "xsub", subject=range(1, 41))) == 20
    assert members(ntu_rgbd60.Builder, "xview", camera=(1, 2, 3)) == [2, 3]
    subjects = members(ntu_rgbd120.Builder, "xsub", subject=range(1, 107))
    assert len(subjects) == 53
    assert subjects[:20] == members(ntu_rgbd60.Builder, "xsub", subject=range(1, 41))
    assert sum(subjects) == 2795  # summed up from the published list
    setups = members(ntu_rgbd120.Builder, "xset", setup=range(1, 33))
    assert setups == list(range(2, 33, 2))
    assert members(nw_ucla, "xview", camera=(1, 2, 3)) == [1, 2]


def test_the_builder_alone_writes_the_same_records(tmp_path):
    raw_sets.write_ntu(tmp_path / "raw")
    prepare.prepare("ntu_rgbd60", tmp_path / "raw", tmp_path / "prepared", num_workers=1)
    builder = tfds.builder("ntu_rgbd60/xsub", data_dir=tmp_path / "built")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / "raw")
    )
    folder = "ntu_rgbd60/xsub/1.0.0"
    for path in (tmp_path / "prepared" / folder).iterdir():
        assert (tmp_path / "built" / folder / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "built" / folder / "left_out.json").read_text() == "[]\n"
    assert list((tmp_path / "built/ntu_rgbd60/xsub").iterdir()) == [tmp_path / "built" / folder]
    assert len(tfds.builder("ntu_rgbd60/xsub", data_dir=tmp_path / "built").as_data_source("test"))


def test_tfds_load_with_tensorflow(tmp_path):
    pytest.importorskip("tensorflow", reason="tfds.load needs the extra `tf`")
    raw_sets.write_ntu(tmp_path / "raw")
    prepare.prepare("ntu_rgbd60", tmp_path / "raw", tmp_path, num_workers=1)
    loaded, info = tfds.load("ntu_rgbd60/xview", data_dir=tmp_path, split="test", with_info=True)
    examples = list(tfds.as_numpy(loaded))
    expected = list(tfds.builder("ntu_rgbd60/xview", data_dir=tmp_path).as_data_source("test"))
    assert len(examples) == len(expected) == info.splits["test"].num_examples == 4
    for got, wanted in zip(examples, expected, strict=True):
        for key, value in wanted.items():
            np.testing.assert_array_equal(got[key], value)
    pairs = tfds.load("ntu_rgbd60/xsub", data_dir=tmp_path, as_supervised=True, batch_size=5)
    joints, label = next(iter(pairs["train"]))
    assert joints.shape == (5, 3, 2, 25, 3)
    assert label.shape == (5,)


@pytest.mark.slow
def test_tfds_build_with_tensorflow(tmp_path):
    for module in ("tensorflow", "apache_beam", "mlcroissant"):
        pytest.importorskip(module, reason="tfds build needs the extra `tf`")
    raw_sets.write_pku(tmp_path / "raw")
    tool = Path(sys.executable).with_name("tfds")
    folders = [f"--data_dir={tmp_path}/built", f"--manual_dir={tmp_path}/raw"]
    subprocess.run(
        [tool, "build", "--config=v1_xsub", *folders],
        cwd=Path(tfds_builders.__file__).parent / "pku_mmd",
        check=True,
    )
    prepare.prepare("pku_mmd", tmp_path / "raw", tmp_path / "prepared", num_workers=1)
    for path in (tmp_path / "prepared/pku_mmd/v1_xsub/1.0.0").glob("*record-*"):
        built = tmp_path / "built/pku_mmd/v1_xsub/1.0.0" / path.name
        assert built.read_bytes() == path.read_bytes()


def test_the_builder_leaves_nothing_after_a_failure(tmp_path):
    raw_sets.write_ntu(tmp_path / "raw")
    (tmp_path / "raw/walking.skeleton").write_text("0\n")
    builder = tfds.builder("ntu_rgbd60/xsub", data_dir=tmp_path / "built")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "raw")
    with pytest.raises(BadFile):
        builder.download_and_prepare(download_config=config)
    assert list((tmp_path / "built/ntu_rgbd60/xsub").iterdir()) == []
    builder = tfds.builder(
        "ntu_rgbd60/xsub", data_dir=tmp_path / "built", on_bad_file="skip", gaps="true_time"
    )
    builder.download_and_prepare(download_config=config)
    assert "walking" in (tmp_path / "built/ntu_rgbd60/xsub/1.0.0/left_out.json").read_text()


def test_gaps_reach_the_reader(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    # A body in frames 1 and 3; another body in frame 2, which would be dropped if empty.
    first, second = raw_sets.body(0), raw_sets.body(1)
    lines = ["3"]
    for frame, ids in enumerate([(7,), (8,), (7,)]):
        lines.append(str(len(ids)))
        for body_id in ids:
            joints = (first if body_id == 7 else second)[frame : frame + 1]
            lines += raw_sets.skeleton_text(joints, body_id).splitlines()[2:]
    (raw / "S001C001P001R001A001.skeleton").write_text("\n".join(lines) + "\n")
    (file,) = search.find(raw, ".skeleton", "skeletons")
    for gaps in ntu.GAPS:
        prepare.prepare("ntu_rgbd60", raw, tmp_path / gaps, gaps=gaps, num_workers=1)
        (example,) = tfds.builder_from_directory(
            tmp_path / gaps / "ntu_rgbd60/xsub/1.0.0"
        ).as_data_source("train")
        np.testing.assert_array_equal(example["joints"], ntu.read(file, gaps=gaps)["joints"])


def test_ntu60_ignores_the_other_half(tmp_path, capsys):
    raw_sets.write_ntu(tmp_path / "raw")
    raw_sets.write_ntu(tmp_path / "raw", setups=(18,), actions=(61,))
    rows = prepare.prepare("ntu_rgbd60", tmp_path / "raw", tmp_path / "out", num_workers=1)
    assert sum(row.sequences for row in rows if row.protocol == "xsub") == 12
    assert "6 files of other setups are ignored" in capsys.readouterr().out


def test_ntu60_from_the_wrong_archive(tmp_path):
    raw_sets.write_ntu(tmp_path / "raw", setups=(18,), actions=(61,))
    with pytest.raises(UserError, match=r"none of 6 .* setups 1 to 17.*s001_to_s017"):
        prepare.prepare("ntu_rgbd60", tmp_path / "raw", tmp_path / "out")


def test_ntu60_has_no_action_61(tmp_path):
    raw_sets.write_ntu(tmp_path / "raw", actions=(61,))
    with pytest.raises(BadFile, match="action A061; expected A001 to A060"):
        prepare.prepare("ntu_rgbd60", tmp_path / "raw", tmp_path / "out", num_workers=1)


def test_ntu120_reports_a_missing_half(tmp_path, capsys):
    raw_sets.write_ntu(tmp_path / "raw")
    prepare.prepare("ntu_rgbd120", tmp_path / "raw", tmp_path / "half", num_workers=1)
    assert "no file of setups 18 to 32 is there: nturgbd_skeletons_s018_to_s032.zip" in (
        capsys.readouterr().out
    )
    raw_sets.write_ntu(tmp_path / "raw", setups=(18,), subjects=(45, 106), actions=(120,))
    rows = prepare.prepare("ntu_rgbd120", tmp_path / "raw", tmp_path / "out", num_workers=1)
    assert [(row.protocol, row.split, row.sequences) for row in rows] == [
        ("xsub", "train", 6 + 3),
        ("xsub", "test", 6 + 3),
        ("xset", "train", 6),
        ("xset", "test", 12),
    ]
    assert "no file of setups" not in capsys.readouterr().out


def pku_source(out, protocol, split):
    return tfds.builder_from_directory(out / "pku_mmd" / protocol / "1.0.0").as_data_source(split)


def test_pku(tmp_path, capsys):
    raw_sets.write_pku(tmp_path / "raw")
    rows = prepare.prepare("pku_mmd", tmp_path / "raw", tmp_path / "out", num_workers=1)
    assert [(row.protocol, row.split, row.sequences) for row in rows] == [
        ("v1_xsub", "train", 4),
        ("v1_xsub", "test", 2),
        ("v1_xview", "train", 4),
        ("v1_xview", "test", 2),
    ]
    assert "no file of phase II is there" in capsys.readouterr().out
    test = {e["name"]: e for e in pku_source(tmp_path / "out", "v1_xsub", "test")}
    assert set(test) == {b"0003-L_000", b"0003-L_001"}
    example = test[b"0003-L_001"]
    assert (example["start"], example["end"], example["label"]) == (4, 10, 50)
    assert example["video"] == b"0003-L"
    assert example["joints"].shape == (6, 2, 25, 3)
    np.testing.assert_array_equal(
        example["joints"][:, 0], raw_sets.body(2, 10)[4:].astype(np.float32)
    )
    assert not example["joints"][:, 1].any()


PHASE_2 = {"videos": ("A01N01-L", "A01N01-R"), "train": ("A01N01-L",)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # As in MAMP; hyphens or underscores; all in one folder; phases by names of folders.
        (
            {"folder": "v1"},
            {"folder": "v2", "names": ("cross_subject_v2.txt", "cross_view_v2.txt")},
        ),
        (
            {"folder": ".", "names": ("cross_subject.txt", "cross_view.txt")},
            {
                "folder": ".",
                "kinds": ("Skeleton_v2", "Label_PKUMMD_v2"),
                "names": ("cross-subject-v2.txt", "cross-view_v2.txt"),
            },
        ),
        (
            {"folder": ".", "kinds": ("Skeleton/PKU_Skeleton_Renew", "Train_Label_PKU_final")},
            {
                "folder": "Phase II",
                "kinds": ("Skeleton", "label"),
                "videos": ("0002-L", "0002-R"),
                "train": ("0002-L",),
            },
        ),
    ],
)
def test_pku_phases_side_by_side(tmp_path, first, second):
    raw = tmp_path / "raw"
    raw_sets.write_pku(raw / first.pop("folder"), **first)
    raw_sets.write_pku(raw / second.pop("folder"), **(PHASE_2 | second))
    rows = prepare.prepare("pku_mmd", raw, tmp_path / "out", num_workers=1)
    assert [row.sequences for row in rows] == [4, 2, 4, 2, 2, 2, 2, 2]
    videos = {e["video"] for e in pku_source(tmp_path / "out", "v2_xview", "test")}
    assert len(videos) == 1
    assert videos.pop().endswith(b"-R")


def test_pku_from_a_zip_beside_its_files(tmp_path):
    raw = tmp_path / "raw"
    raw_sets.write_pku(raw)
    with zipfile.ZipFile(raw / "Skeleton.zip", "w") as archive:
        for path in (raw / "skeleton").iterdir():
            archive.write(path, path.name)
    rows = prepare.prepare("pku_mmd", raw, tmp_path / "out", num_workers=1)
    assert sum(row.sequences for row in rows if row.protocol == "v1_xsub") == 6


def test_pku_label_out_of_its_video(tmp_path):
    raw_sets.write_pku(tmp_path / "raw", labels="1,0,4,2\n2,5,11,2\n3,4,4,2\n")
    with pytest.raises(BadFile, match=r"label/0002-L\.txt, line 2: found frames 5 to 11.*0 to 10"):
        prepare.prepare("pku_mmd", tmp_path / "raw", tmp_path / "out", num_workers=1)
    rows = prepare.prepare(
        "pku_mmd", tmp_path / "raw", tmp_path / "out", num_workers=1, on_bad_file="skip"
    )
    assert [row.sequences for row in rows] == [2, 1, 2, 1]
    text = (tmp_path / "out/pku_mmd/left_out.json").read_text()
    assert text.count("out of its video") == text.count("no frame in [4, 4)") == 3


def test_pku_video_without_labels_is_left_out(tmp_path):
    raw_sets.write_pku(tmp_path / "raw")
    (tmp_path / "raw/label/0002-M.txt").unlink()
    prepare.prepare("pku_mmd", tmp_path / "raw", tmp_path / "out", num_workers=1)
    text = (tmp_path / "out/pku_mmd/left_out.json").read_text()
    assert text.count("has no label file") == text.count('0002-M"') == 1


def test_pku_archives_that_are_not_unpacked(tmp_path):
    raw = tmp_path / "raw"
    raw_sets.write_pku(raw)
    for path in (raw / "label").iterdir():
        path.unlink()
    (raw / "Label_PKUMMD.7z").write_bytes(b"7z")
    with pytest.raises(UserError, match=r"found no labels of .*7z x .*Label_PKUMMD\.7z"):
        prepare.prepare("pku_mmd", raw, tmp_path / "out")


def test_pku_in_another_folder(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(UserError, match=r"found no file of PKU-MMD; expected Skeleton\.7z"):
        prepare.prepare("pku_mmd", tmp_path, tmp_path / "out")


def test_pku_without_its_splits(tmp_path):
    raw_sets.write_pku(tmp_path / "raw", names=())
    with pytest.raises(UserError, match=r"found no splits of PKU-MMD phase I; .*cross-sub"):
        prepare.prepare("pku_mmd", tmp_path / "raw", tmp_path / "out")
    raw_sets.write_pku(tmp_path / "raw", names=("cross-subject.txt",))
    rows = prepare.prepare("pku_mmd", tmp_path / "raw", tmp_path / "out", num_workers=1)
    assert {row.protocol for row in rows} == {"v1_xsub"}
