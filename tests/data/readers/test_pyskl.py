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
        ({"label": "wave"}, "the label 'wave'; expected a whole number"),
        ({"label": -1}, "the label -1; expected"),
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
        ({"annotations": {}}, "the keys 'annotations'"),
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
