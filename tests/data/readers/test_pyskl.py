"""The exchange format: what is read, and what is refused with which message."""

import numpy as np
import pytest

from amr_jax.data.readers import arrays, files, pyskl
from amr_jax.errors import BadFile
from tests import custom_sets

FORM = arrays.Form(17, "xyc")


def load(folder, content, protocol=4) -> pyskl.Content:
    return pyskl.load(
        files.RawFile(str(custom_sets.write_pickle(folder / "x.pkl", content, protocol)))
    )


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_reads_sequences_and_splits(tmp_path, protocol):
    content = custom_sets.exchange(6)
    content["split"]["sub_val"].append("S099")
    loaded = load(tmp_path, content, protocol)
    assert (loaded.splits, loaded.absent) == (["sub_train", "sub_val"], ["S099"])
    assert [a.splits for a in loaded.annotations[:3]] == [
        ("sub_val",), ("sub_train",), ("sub_train",),
    ]  # fmt: skip
    for annotation, entry in zip(loaded.annotations, content["annotations"], strict=True):
        example = pyskl.read(annotation, FORM)
        joints = example.pop("joints")
        bodies, frames = entry["keypoint"].shape[:2]
        assert joints.shape == (frames, bodies, 17, 3)
        np.testing.assert_array_equal(joints[..., :2], entry["keypoint"].swapaxes(0, 1))
        np.testing.assert_array_equal(joints[..., 2], entry["keypoint_score"].swapaxes(0, 1))
        assert example == {
            "name": entry["frame_dir"],
            "label": str(entry["label"]),
            "subject": "",
            "splits": annotation.splits,
        }


def test_in_space_and_without_label_or_length(tmp_path):
    content = custom_sets.exchange(2, channels="xyz")
    for key in ("label", "total_frames"):
        del content["annotations"][0][key]
    annotation = load(tmp_path, content).annotations[0]
    example = pyskl.read(annotation, arrays.Form(17, "xyz"))
    assert example["joints"].shape[1:] == (2, 17, 3)
    assert example["label"] == ""


LAUGHS = ["ha"]  # 10^12 of them, in a few hundred bytes
for _ in range(12):
    LAUGHS = [LAUGHS] * 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoint": None}, "no array 'keypoint'"),
        ({"keypoint": np.ones((4, 17, 2))}, r"'keypoint' of shape \(4, 17, 2\)"),
        ({"keypoint": [[1.0]]}, "no array 'keypoint'"),
        ({"keypoint_score": np.ones((1, 17))}, r"'keypoint_score' of shape \(1, 17\)"),
        ({"keypoint_score": None}, "no confidences"),
        ({"total_frames": 99}, "total_frames, 99"),
        ({"label": [0, 1]}, "the label a list; expected a whole number from 0, or a name"),
        ({"label": 1.5}, "the label 1.5; expected"),
        ({"label": np.arange(2)}, "the label a ndarray; expected"),
        ({"label": -2}, "the label -2; expected"),
        ({"label": True}, "the label True; expected"),
        ({"label": 10**6000}, "the label a int"),
        ({"label": LAUGHS}, "the label a list"),
        ({"total_frames": LAUGHS}, "total_frames, a list"),
        ({"total_frames": np.arange(3)}, "total_frames, a ndarray"),
        ({"keypoint": np.ones((1, 1, 17, 2)), "total_frames": True}, "total_frames, True"),
        ({"total_frames": 10**6000}, "total_frames, a int"),
        ({"keypoint": np.ones((1, 4, 18, 2)), "total_frames": 4}, "18"),
    ],
)
def test_refuses_a_sequence(tmp_path, changes, message):
    entry = custom_sets.annotation(1, 0) | changes
    entry = {key: value for key, value in entry.items() if value is not None}
    (annotation,) = load(tmp_path, {"split": {}, "annotations": [entry]}).annotations
    with pytest.raises(BadFile, match=message) as caught:
        pyskl.read(annotation, FORM)
    assert caught.value.path == f"{tmp_path}/x.pkl, S001"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "no dict"),
        ({"a": 1}, "the keys 'a'; expected a dict with 'annotations'"),
        ({"annotations": {}}, "'annotations' that are a dict; expected a dict with 'annotations'"),
        ({"x": [], "y": [3]}, "the keys 'x', 'y'"),
        ({"annotations": [{"label": 1}]}, r"no 'frame_dir' in annotations\[0\]"),
        ({"annotations": [3]}, r"no 'frame_dir' in annotations\[0\]"),
        ({"annotations": [{"frame_dir": "a"}] * 2}, "the frame_dir 'a' twice"),
        ({"annotations": [], "split": ["a"]}, "a list under 'split'"),
        ({"annotations": [], "split": {"a": "b"}}, "split 'a', which is no list"),
        ({"annotations": [], "split": {10**6000: []}}, "a split called a int"),
        ({"annotations": [], "split": {"a": ["b", "b"]}}, "split 'a' with a name twice"),
    ],
)
def test_refuses_a_pickle(tmp_path, content, message):
    with pytest.raises(BadFile, match=message):
        load(tmp_path, content)


NAMES = ["S000", "S001"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "names",
    [
        tuple(NAMES),
        np.array(NAMES),
        np.array(NAMES, object),  # a column of a table
        np.array([NAMES]),
        set(NAMES),
        frozenset(NAMES),
        dict.fromkeys(NAMES, 1),
        [np.str_(name) for name in NAMES],
    ],
)
def test_names_of_a_split_in_any_container(tmp_path, names, protocol):
    content = custom_sets.exchange(3) | {"split": {"train": names, "val": ["S002"]}}
    loaded = load(tmp_path, content, protocol)
    assert [a.splits for a in loaded.annotations] == [("train",), ("train",), ("val",)]
    assert (sorted(loaded.splits), loaded.absent) == (["train", "val"], [])


@pytest.mark.parametrize("names", [{1, 2}, np.arange(3), np.array([1, "a"], object), "S001", None])
def test_names_of_a_split_that_are_no_texts(tmp_path, names):
    content = custom_sets.exchange(3) | {"split": {"train": names}}
    with pytest.raises(BadFile, match=r"no list of names|objects that are no texts"):
        load(tmp_path, content)


def write_lists(folder, **lists) -> list[files.RawFile]:
    paths = [
        custom_sets.write_pickle(folder / f"{name}.pkl", entries) for name, entries in lists.items()
    ]
    return [files.RawFile(str(path)) for path in paths]


def of_splits(content: pyskl.Content) -> dict:
    return {annotation.name: annotation.splits for annotation in content.annotations}


def test_older_forms(tmp_path):
    """A list of annotations per split; one annotation per file; a dict of lists; one list."""
    a, b, c = (custom_sets.annotation(i, 0) for i in range(3))
    expected = {"S000": ("x_train",), "S001": ("x_train",), "S002": ("x_val",)}
    both = pyskl.load(*write_lists(tmp_path / "0", x_train=[a, b], x_val=[c]))
    assert of_splits(both) == expected
    assert both.splits == ["x_train", "x_val"]
    assert both.annotations[2].file == f"{tmp_path}/0/x_val.pkl"
    together = pyskl.load(*write_lists(tmp_path / "1", all={"x_train": [a, b], "x_val": [c]}))
    assert of_splits(together) == expected
    without = dict.fromkeys(expected, ())
    for folder, lists in (("2", {"v0": a, "v1": b, "v2": c}), ("3", {"train": [a, b, c]})):
        loaded = pyskl.load(*write_lists(tmp_path / folder, **lists))
        assert (of_splits(loaded), loaded.splits) == (without, [])


def test_older_forms_that_contradict_each_other(tmp_path):
    a, b = (custom_sets.annotation(i, 0) for i in range(2))
    with pytest.raises(BadFile, match=r"val\.pkl: found the frame_dir 'S000', .*train\.pkl too"):
        pyskl.load(*write_lists(tmp_path / "0", train=[a], val=[b, a]))
    with pytest.raises(BadFile, match=r"whole\.pkl: found 'annotations', and other pickles beside"):
        pyskl.load(*write_lists(tmp_path / "1", train=[a], whole={"annotations": [b]}))
    train, _ = write_lists(tmp_path / "2", train=[a], val=[b])
    (other,) = write_lists(tmp_path / "2" / "x", train=[b])
    with pytest.raises(BadFile, match="found the split 'train' again"):
        pyskl.load(train, other)


def test_filename_stands_for_frame_dir_as_in_pyskl(tmp_path):
    content = custom_sets.exchange(3)
    for entry in content["annotations"]:
        entry["filename"] = entry["frame_dir"]
        entry["frame_dir"] = "/data/videos"
    assert of_splits(load(tmp_path, content))["S000"] == ("sub_val",)
    del content["annotations"][1]["filename"]
    with pytest.raises(BadFile, match=r"no 'filename' in annotations\[1\]"):
        load(tmp_path, content)


POINTS = np.random.default_rng(0).uniform(1, 9, (4, 17, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"keypoint": POINTS, "keypoint_score": np.ones((4, 17))},  # without the axis of bodies
        {"keypoint": POINTS[None], "keypoint_score": np.ones((4, 17))},
        {"keypoint": POINTS[None], "keypoint_score": np.ones((1, 4, 17), bool)},
        {"keypoint": POINTS[None].astype(np.float16), "total_frames": 4.0},
        {"keypoint": POINTS[None].astype(np.float64), "total_frames": np.int64(4)},
        {"keypoint": POINTS[None].astype(np.int64), "label": np.int64(3)},
        {"keypoint": np.asfortranarray(POINTS[None]).astype(">f4"), "label": np.array([3])},
        {"keypoint": POINTS[None], "label": np.float64(3)},
        {"keypoint": POINTS[None], "label": np.array([3], np.float32)},
        {"keypoint": POINTS[None].astype(np.uint8), "label": "3"},
        {"keypoint": np.concatenate([POINTS, np.ones((4, 17, 1))], -1), "keypoint_score": None},
    ],
)
def test_other_forms_of_key_points(tmp_path, changes):
    entry = custom_sets.annotation(1, label=3) | {
        "total_frames": 4, "keypoint_score": np.ones((1, 4, 17), np.float16),
    }  # fmt: skip
    content = {"annotations": [entry | changes]}
    (annotation,) = load(tmp_path, content).annotations
    example = pyskl.read(annotation, FORM)
    expected = changes["keypoint"].reshape(4, 1, 17, -1)[..., :2].astype(np.float32)
    np.testing.assert_array_equal(example["joints"][..., :2], expected)
    assert (example["joints"][..., 2] == 1).all()
    assert example["label"] == "3"


@pytest.mark.parametrize("score", [np.ones((1, 3, 17)), np.full((1, 4, 17), "1"), np.ones((2, 17))])
def test_scores_that_do_not_fit_are_refused_for_xy_too(tmp_path, score):
    entry = custom_sets.annotation(1, 0) | {"keypoint": POINTS[None], "total_frames": 4}
    content = {"annotations": [entry | {"keypoint_score": score}]}
    (annotation,) = load(tmp_path, content).annotations
    with pytest.raises(BadFile, match=r"S001: found (confidences|'keypoint_score' of shape)"):
        pyskl.read(annotation, arrays.Form(17, "xy"))


@pytest.mark.parametrize("label", [-1, np.int64(-1), -1.0, np.nan, None])
def test_no_label(tmp_path, label):
    entry = custom_sets.annotation(1, 0) | {"label": label}
    (annotation,) = load(tmp_path, {"annotations": [entry]}).annotations
    assert pyskl.read(annotation, FORM)["label"] == ""


def test_labels_that_are_names(tmp_path):
    entry = custom_sets.annotation(1, label=1) | {"label": " wave "}
    (annotation,) = load(tmp_path, {"annotations": [entry]}).annotations
    assert pyskl.read(annotation, FORM)["label"] == "wave"
