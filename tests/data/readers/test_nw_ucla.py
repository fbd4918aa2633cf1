"""The reader of Northwestern-UCLA: what it reads, and what it refuses with which message."""

import collections
import json

import numpy as np
import pytest

from amr_jax.data.readers import files, nw_ucla, search
from amr_jax.errors import BadFile


def write(folder, name="a08_s02_e01_v03", num_frames=3, **changes):
    """A raw file whose joints are 0, 1, 2, ... in reading order; `changes` replace its keys."""
    joints = np.arange(num_frames * 60, dtype=float).reshape(num_frames, 20, 3)
    content = {"file_name": name, "skeletons": joints.tolist(), "label": 7} | changes
    path = folder / f"{name}.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return files.RawFile(str(path))


def test_reads_content_and_name(tmp_path):
    example = nw_ucla.read(write(tmp_path))
    joints = example.pop("joints")
    assert joints.shape == (3, 1, 20, 3)
    assert joints.dtype == np.float32
    assert joints[1, 0, 2].tolist() == [66.0, 67.0, 68.0]  # frame 1 starts at 60, joint 2 at + 6
    assert example == {
        "name": "a08_s02_e01_v03",
        "label": 6,
        "action": 8,
        "subject": 2,
        "replication": 1,
        "camera": 3,
    }


def test_single_frame(tmp_path):
    assert nw_ucla.read(write(tmp_path, num_frames=1))["joints"].shape == (1, 1, 20, 3)


@pytest.mark.parametrize(
    ("changes", "found", "expected"),
    [
        ({"label": 8}, "label 8", "7, the label of action code a08"),
        ({"label": True}, "label True", "7, the label of action code a08"),
        ({"file_name": "a08_s02_e01_v02"}, "a08_s02_e01_v02", "'a08_s02_e01_v03'"),
        ({"label": None}, "['file_name', 'skeletons']", "also label"),
        ({"skeletons": []}, "no frame", "at least one frame"),
        ({"skeletons": 5}, "no frame", "at least one frame"),
        ({"skeletons": [[[0, 0, 0]] * 20, [[0, 0, 0]] * 19]}, "in skeletons[1]", "20 joints"),
        *(
            ({"skeletons": [[[0, 0, odd]] * 20]}, "in skeletons[0]", "3 finite numbers")
            for odd in ("x", "1.5", True, None, float("nan"), 1e300, 10**400)
        ),
        ({"skeletons": [[[0, 0]] * 20]}, "in skeletons[0]", "20 joints of 3"),
        ({"skeletons": [[0, 0, 0] * 20]}, "in skeletons[0]", "20 joints of 3"),
    ],
)
def test_refuses(tmp_path, changes, found, expected):
    raw = write(tmp_path, **changes)
    with pytest.raises(BadFile) as caught:
        nw_ucla.read(raw)
    assert caught.value.path == str(raw)
    assert found in caught.value.found
    assert expected in caught.value.expected


@pytest.mark.parametrize("name", ["a07_s01_e00_v01", "a01_s01_e00", "walking"])
def test_refuses_names(tmp_path, name):
    with pytest.raises(BadFile, match=name[:3]):
        nw_ucla.read(write(tmp_path, name=name))


def test_the_real_set(shared_data):
    raw = search.find(shared_data, ".json", what="NW-UCLA")
    examples = [nw_ucla.read(file) for file in raw]
    lengths = [len(example["joints"]) for example in examples]
    cameras = collections.Counter(example["camera"] for example in examples)
    assert len(examples) == 1484
    assert cameras[1] + cameras[2] == 1020
    assert cameras[3] == 464
    assert (min(lengths), max(lengths), round(np.mean(lengths))) == (1, 201, 39)
    assert {example["label"] for example in examples} == set(range(10))
    assert {example["subject"] for example in examples} == set(range(1, 11))


def test_read_joints_ignores_the_name(tmp_path):
    raw = write(tmp_path, name="mine", file_name=None, label=None)
    np.testing.assert_array_equal(nw_ucla.read_joints(raw), nw_ucla.read(write(tmp_path))["joints"])


def test_read_joints_needs_them(tmp_path):
    with pytest.raises(BadFile, match=r"the keys \['joints'\]; expected also skeletons"):
        nw_ucla.read_joints(write(tmp_path, skeletons=None, file_name=None, label=None, joints=[]))
