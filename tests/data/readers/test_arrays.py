"""Arrays of joints from users: what is accepted, and what is refused with which message."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from amr_jax.data.readers import arrays, files
from amr_jax.errors import BadFile
from amr_jax.ops import normalise
from tests import custom_sets

XYZ, XY, XYC = (arrays.Form(5, channels) for channels in ("xyz", "xy", "xyc"))
RNG = np.random.default_rng(0)


def values(*shape, low=0.1):
    return RNG.uniform(low, 1, size=shape)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize(("form", "channels"), [(XYZ, 3), (XY, 2), (XYC, 3)])
def test_accepts_numbers_of_any_width(dtype, form, channels):
    given = np.round(values(4, 2, 5, channels) + 0.5).astype(dtype)
    joints = arrays.joints(given, None, form, "x")
    np.testing.assert_array_equal(joints, given)
    assert joints.dtype == np.float32


def test_separate_confidence_becomes_the_third_channel():
    places, confidence = values(4, 2, 5, 2), values(4, 2, 5)
    joints = arrays.joints(places, confidence, XYC, "x")
    np.testing.assert_array_equal(joints[..., :2], places.astype(np.float32))
    np.testing.assert_array_equal(joints[..., 2], confidence.astype(np.float32))
    np.testing.assert_array_equal(arrays.joints(places, confidence, XY, "x"), joints[..., :2])


@pytest.mark.parametrize("form", [XYZ, XY, XYC])
def test_a_confidence_that_does_not_fit_is_refused(form):
    places = values(4, 1, 5, 3 if form is XYZ else 2)
    for shape in ((4, 1, 6), (3, 5), (5, 4), (4, 1, 5, 1), ()):
        with pytest.raises(BadFile, match=r"x: found .*confidences \(.*; expected"):
            arrays.joints(places, np.ones(shape), form, "x")
    with pytest.raises(BadFile, match=r"x: found confidences of dtype <U1; expected numbers"):
        arrays.joints(places, np.full((4, 1, 5), "1"), form, "x")
    with pytest.raises(BadFile, match=r"confidences \(4, 5\)"):
        arrays.joints(np.repeat(places, 2, axis=1), np.ones((4, 5)), form, "x")


@pytest.mark.parametrize("form", [XY, XYC])
def test_confidence_of_one_body_and_of_truth_values(form):
    places, confidence = values(4, 1, 5, 2), np.ones((4, 5), bool)
    confidence[1, 2] = False
    joints = arrays.joints(places, confidence, form, "x")
    expected = arrays.joints(places, confidence[:, None].astype(float), form, "x")
    np.testing.assert_array_equal(joints, expected)
    assert joints[1, 0, 2, -1] == 0


def test_scale_applies_to_coordinates_only():
    given = values(4, 1, 5, 3)
    scaled = arrays.joints(given, None, arrays.Form(5, "xyc", 0.5), "x")
    np.testing.assert_allclose(scaled, given * [0.5, 0.5, 1], rtol=1e-6)
    scaled = arrays.joints(given, None, arrays.Form(5, "xyz", 0.5), "x")
    np.testing.assert_allclose(scaled, given * 0.5, rtol=1e-6)


def test_scale_that_overflows():
    far = np.full((1, 1, 5, 3), 1e38)
    arrays.joints(far, None, arrays.Form(5, "xyz", 0.1), "x")
    with pytest.raises(BadFile, match=r"x: found inf in frame 0, body 0, joint 0, channel x"):
        arrays.joints(far, None, arrays.Form(5, "xyz", 1000.0), "x")


def test_slots_after_the_last_body_are_removed():
    given = values(4, 4, 5, 3)
    given[:, [0, 2, 3]] = 0
    given[0, 2, 1, 1] = 1
    assert arrays.joints(given, None, XYZ, "x").shape == (4, 3, 5, 3)


@pytest.mark.parametrize("given", [np.zeros((4, 2, 5, 3)), values(0, 2, 5, 3), values(4, 0, 5, 3)])
def test_no_body(given):
    with pytest.raises(arrays.NoBody, match="no body in any frame"):
        arrays.joints(given, None, XYZ, "x")


def test_a_body_with_zero_confidence_is_absent():
    given = values(4, 2, 5, 3)
    given[:, 1, :, 2] = 0
    assert arrays.joints(given, None, XYC, "x").shape == (4, 1, 5, 3)
    given[..., 2] = 0
    with pytest.raises(arrays.NoBody):
        arrays.joints(given, None, XYC, "x")


def with_value(value, shape=(4, 2, 5, 3)):
    given = values(*shape)
    given[2, 1, 3, 2 % shape[-1]] = value
    return given


@pytest.mark.parametrize(
    ("form", "given", "confidence", "message"),
    [
        (XYZ, values(4, 2, 6, 3), None, r"\(4, 2, 6, 3\).*5 joints, 3 channels xyz.*--layout and"),
        (XYZ, values(4, 2, 5, 2), None, "3 channels xyz"),
        (XY, values(4, 2, 5, 3), None, "2 channels xy"),
        (XYZ, values(4, 5, 3), None, r"\(4, 5, 3\)"),
        (
            XYC,
            values(4, 2, 5, 2),
            None,
            r"no confidences; expected x and y of each joint.*--layout and --channels define",
        ),
        (XYC, values(4, 2, 5, 2), values(4, 2, 6), r"confidences \(4, 2, 6\)"),
        (
            XYC,
            values(4, 2, 5, 3),
            values(4, 2, 5),
            r"\(4, 2, 5, 3\) and confidences.*xyz have no confidences",
        ),
        (XYC, values(4, 2, 5, 2), values(4, 2, 5).astype(str), "confidences of dtype"),
        (XYZ, values(4, 2, 5, 3).astype(complex), None, "dtype complex128"),
        (XYZ, values(4, 2, 5, 3).astype(object), None, "dtype object"),
        (XYZ, with_value(np.nan), None, "nan in frame 2, body 1, joint 3, channel z.*zeros stand"),
        (XY, with_value(-np.inf, (4, 2, 5, 2)), None, "-inf in frame 2, body 1, joint 3"),
        (
            XYC,
            with_value(-0.5),
            None,
            "confidence -0.5; expected 0 to 1.*use xyz for a coordinate",
        ),
        (XYC, with_value(2.0), None, "confidence 2; expected 0 to 1"),
    ],
)
def test_refuses(form, given, confidence, message):
    with pytest.raises(BadFile, match=message):
        arrays.joints(given, confidence, form, "x")


def by_the_rules(places, score, scale):
    """Joint by joint: what is stored, and what of it was found; None if it is refused."""
    stored, found = np.zeros((*score.shape, 3)), np.zeros(score.shape, bool)
    for at in np.ndindex(score.shape):
        (x, y), s = places[at], score[at]
        nowhere = (x != x and y != y) or x == y == 0
        if (s == 0 and (x != x or y != y)) or (s != s and nowhere):
            continue
        if not all(map(math.isfinite, (x, y, s))) or (scale is None and not 0 <= s <= 1.5):
            return None
        s = s if scale is None else min(max(s, 0), scale) / scale
        stored[at], found[at] = (x, y, s), (x != 0 or y != 0) and s > 0
    frames, slots = found.any(axis=(1, 2)), np.flatnonzero(found.any(axis=(0, 2)))
    stored = stored[frames][:, : slots[-1] + 1] if slots.size else stored[:0]
    return stored.astype(np.float32), found[frames][:, : stored.shape[1]]


NAN = np.nan
JOINTS_IN_FILES = [
    (7, 9, 0.5), (7, 9, 1), (7, 0, 1), (0, 0, 0), (0, 0, 1), (9, 7, 0), (NAN, NAN, 0), (NAN, 3, 0),
    (NAN, NAN, NAN), (0, 0, NAN), (7, 9, 4), (7, 9, -1), (NAN, 9, 1),
]  # fmt: skip


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(
    chosen=st.lists(st.sampled_from(JOINTS_IN_FILES), min_size=6, max_size=6),
    scale=st.sampled_from([None, 2.0, 8.0]),
    apart=st.booleans(),
)
def test_what_was_found_joint_by_joint(chosen, scale, apart):
    values = np.reshape(chosen, (3, 2, 1, 3)).astype(float)
    places, score = values[..., :2], values[..., 2]
    form, expected = arrays.Form(1, "xyc", scores=scale), by_the_rules(places, score, scale)
    given = (places, score) if apart else (values, None)
    try:
        joints = arrays.joints(*given, form, "x")
    except arrays.NoBody:
        assert not len(expected[0])
    except BadFile:
        assert expected is None
    else:
        np.testing.assert_array_equal(joints, expected[0])
        np.testing.assert_array_equal(normalise.found(joints, "xyc"), expected[1])


def files_of(folder, name, save, content) -> files.RawFile:
    path = folder / name
    with path.open("wb") as file:
        save(file, **content) if isinstance(content, dict) else save(file, content)
    return files.RawFile(str(path))


JOINTS = np.arange(1, 1 + 2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i2", "u1"])
def test_reads_npy_of_any_numbers(tmp_path, dtype):
    for array in (JOINTS.astype(dtype), np.asfortranarray(JOINTS.astype(dtype))):
        found, confidence = arrays.read(files_of(tmp_path, "a.npy", np.save, array))
        assert confidence is None
        np.testing.assert_array_equal(found, JOINTS)
    found, _ = arrays.read(files_of(tmp_path, "a.npy", np.save, JOINTS[:, 0].astype(dtype)))
    np.testing.assert_array_equal(found, JOINTS[:, :1])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"x": JOINTS}, None),
        ({"label": 3, "joints": JOINTS, "other": JOINTS[:1]}, None),
        ({"confidence": JOINTS[..., 0], "joints": JOINTS}, JOINTS[..., 0]),
        ({"confidence": JOINTS[:, 0, :, 0], "joints": JOINTS[:, 0]}, JOINTS[:, :1, :, 0]),
    ],
)
def test_reads_npz(tmp_path, content, expected):
    found, confidence = arrays.read(files_of(tmp_path, "A.NPZ", np.savez_compressed, content))
    np.testing.assert_array_equal(found, JOINTS[:, : found.shape[1]])
    assert (confidence is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(confidence, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([{}], object), "an array of Python objects"),
        ({"x": JOINTS, "y": JOINTS}, r"arrays x, y; expected one array, or one called 'joi"),
        ({}, r"arrays \(none\)"),
    ],
)
def test_refuses_files(tmp_path, content, message):
    name, save = ("a.npz", np.savez) if isinstance(content, dict) else ("a.npy", np.save)
    with pytest.raises(BadFile, match=message):
        arrays.read(files_of(tmp_path, name, save, content))


def test_limit_of_an_array_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", 10_000)
    with pytest.raises(BadFile, match=r"joints.npy of 80,128 bytes; expected at most 10,000"):
        example(tmp_path, joints=np.zeros(10_000))


BODY = arrays.Form(17, "xyz")


def example(folder, form=BODY, row=None, **content):
    raw = files.RawFile(str(custom_sets.write_npz(folder, **content)))
    return arrays.read_example(raw, "a", form, row)


def test_example_with_all_fields(tmp_path):
    joints = np.random.default_rng(0).normal(size=(4, 2, 17, 3))
    found = example(tmp_path, joints=joints, subject=7, label=np.int64(3))
    np.testing.assert_array_equal(found.pop("joints"), joints.astype(np.float32))
    assert found == {"name": "a", "label": "3", "split": "train", "subject": "7"}


def test_example_of_one_body_without_label(tmp_path):
    joints, confidence = values(4, 17, 2), values(4, 17)
    form = arrays.Form(17, "xyc")
    found = example(tmp_path, form, joints=joints, confidence=confidence, label=None, split=None)
    assert found["joints"].shape == (4, 1, 17, 3)
    np.testing.assert_array_equal(found["joints"][:, 0, :, 2], confidence.astype(np.float32))
    assert (found["label"], found["split"], found["subject"]) == ("", "", "")


def test_a_row_of_the_table_replaces_the_fields_of_the_file(tmp_path):
    row = {"label": "run", "split": "test", "subject": ""}
    found = example(tmp_path, row=row)
    assert {key: found[key] for key in row} == row


def test_a_row_without_some_columns_leaves_what_the_file_holds(tmp_path):
    found = example(tmp_path, row={"subject": "7"})
    assert (found["label"], found["split"], found["subject"]) == ("wave", "train", "7")


def test_other_forms_of_labels(tmp_path):
    for label, text in [(1.0, "1"), (np.float32(3), "3"), (np.nan, ""), (-1, ""), (-1.0, "")]:
        assert example(tmp_path, label=label)["label"] == text
    found = example(tmp_path, label="walk ", split="train\n", subject=" ann")
    assert (found["label"], found["split"], found["subject"]) == ("walk", "train", "ann")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"joints": None}, "no array 'joints'"),
        ({"label": [1, 2]}, r"'label' of shape \(2,\)"),
        ({"label": 1.5}, "'label' 1.5; expected a whole number from 0, or a name"),
        ({"label": np.inf}, "'label' inf; expected a whole number"),
        ({"label": -2}, "'label' -2; expected a number from 0"),
        ({"split": -1}, "'split' -1; expected a number from 0"),
        ({"split": b"tr\xff"}, "'split' of bytes that are not text"),
        ({"split": True}, "'split' .*bool"),
        ({"joints": np.zeros((2, 17))}, r"joints of shape \(2, 17\)"),
    ],
)
def test_refuses_examples(tmp_path, content, message):
    with pytest.raises(BadFile, match=message) as caught:
        example(tmp_path, **content)
    assert caught.value.path.endswith("a.npz")
