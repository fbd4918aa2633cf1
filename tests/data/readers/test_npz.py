"""A user's own npz files."""

import numpy as np
import pytest

from amr_jax.data.readers import arrays, files, npz
from amr_jax.errors import BadFile
from tests import custom_sets

FORM = arrays.Form(17, "xyz")


def read(folder, form=FORM, told=None, **content):
    raw = files.RawFile(str(custom_sets.write_npz(folder, **content)))
    return npz.read(raw, "a", form, told)


def test_reads_everything(tmp_path):
    joints = np.random.default_rng(0).normal(size=(4, 2, 17, 3))
    example = read(tmp_path, joints=joints, subject=7, label=np.int64(3))
    np.testing.assert_array_equal(example.pop("joints"), joints.astype(np.float32))
    assert example == {"name": "a", "label": "3", "split": "train", "subject": "7"}


def test_one_body_needs_no_axis_and_little_must_be_told(tmp_path):
    joints = np.random.default_rng(0).uniform(size=(4, 17, 2))
    confidence = np.random.default_rng(1).uniform(size=(4, 17))
    form = arrays.Form(17, "xyc")
    example = read(tmp_path, form, joints=joints, confidence=confidence, label=None, split=None)
    assert example["joints"].shape == (4, 1, 17, 3)
    np.testing.assert_array_equal(example["joints"][:, 0, :, 2], confidence.astype(np.float32))
    assert (example["label"], example["split"], example["subject"]) == ("", "", "")


def test_a_row_of_the_table_counts_instead(tmp_path):
    told = {"label": "run", "split": "test", "subject": ""}
    example = read(tmp_path, told=told)
    assert {key: example[key] for key in told} == told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"joints": None}, "no array 'joints'"),
        ({"label": [1, 2]}, r"'label' of shape \(2,\)"),
        ({"label": 1.5}, "'label' of shape .*float64; expected one number from 0"),
        ({"label": -1}, "'label' -1; expected a number from 0"),
        ({"split": b"tr\xff"}, "'split' of bytes that are not text"),
        ({"split": True}, "'split' .*bool"),
        ({"joints": np.zeros((2, 17))}, r"joints of shape \(2, 17\)"),
    ],
)
def test_refuses(tmp_path, content, message):
    with pytest.raises(BadFile, match=message) as caught:
        read(tmp_path, **content)
    assert caught.value.path.endswith("a.npz")
