"""What the numbers of files and arrays mean, where nobody says it."""

import numpy as np
import pytest

import amr_jax as amr
from amr_jax.data import contents
from amr_jax.errors import BadFile
from amr_jax.pictures import clips


@pytest.mark.parametrize(
    "shape", [(3, 33, 4), (3, 33, 5), (3, 132), (3, 165), (3, 99), (3, 1, 33, 4)]
)
def test_mediapipes_landmarks(tmp_path, shape):
    values = np.random.default_rng(0).uniform(0.1, 1, shape).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    whole = values.reshape(3, 1, 33, -1)
    for layout, channels in ((None, None), ("mediapipe_33", None), ("mediapipe_33", "xyz")):
        (of_file,) = clips.of_files([str(tmp_path / "a.npy")], layout, channels)
        (drawn,) = amr.show(values if len(shape) < 4 else [values], layout=layout).clips
        for one in (of_file, drawn):
            np.testing.assert_array_equal(one.joints, whole[..., :3])
            assert (one.layout.name, one.channels) == ("mediapipe_33", "xyz")
    if whole.shape[-1] > 3:
        (flat,) = clips.of_files([str(tmp_path / "a.npy")], None, "xyc")
        np.testing.assert_array_equal(flat.joints, whole[..., [0, 1, 3]])


def test_landmarks_are_of_no_other_layout(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 33, 4)))
    with pytest.raises(BadFile, match="25 joints"):
        list(clips.of_files([str(tmp_path / "a.npy")], "ntu_25"))


@pytest.mark.parametrize(
    ("shape", "scored", "layout", "expected"),
    [
        ((9, 1, 25, 3), False, "", ("ntu_25", "xyz")),
        ((9, 1, 25, 3), True, "", ("ntu_25", "xyz")),
        ((9, 1, 25, 2), True, "", ("openpose_25", "xyc")),
        ((9, 1, 25, 3), False, "openpose_25", ("openpose_25", "xyc")),
        ((9, 17, 3), False, "", ("coco_17", "xyc")),
        ((9, 17, 2), False, "", ("coco_17", "xy")),
        ((9, 7, 3), False, "", ("", "xyz")),
    ],
)
def test_a_guess_by_shape(shape, scored, layout, expected):
    assert contents.meaning(shape, scored, layout) == expected
