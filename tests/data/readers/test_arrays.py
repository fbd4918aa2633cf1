"""Joints that users hand in: what is taken, and what is refused with which words."""

import io
import zipfile

import numpy as np
import pytest

from amr_jax.data.readers import arrays
from amr_jax.errors import BadFile

XYZ, XY, XYC = (arrays.Form(5, channels) for channels in ("xyz", "xy", "xyc"))
RNG = np.random.default_rng(0)


def values(*shape, low=0.1):
    return RNG.uniform(low, 1, size=shape)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize(("form", "channels"), [(XYZ, 3), (XY, 2), (XYC, 3)])
def test_takes_numbers_of_any_width(dtype, form, channels):
    given = np.round(values(4, 2, 5, channels) + 0.5).astype(dtype)
    joints = arrays.joints(given, None, form, "x")
    np.testing.assert_array_equal(joints, given)
    assert joints.dtype == np.float32


def test_confidence_apart_becomes_the_third_channel():
    places, confidence = values(4, 2, 5, 2), values(4, 2, 5)
    joints = arrays.joints(places, confidence, XYC, "x")
    np.testing.assert_array_equal(joints[..., :2], places.astype(np.float32))
    np.testing.assert_array_equal(joints[..., 2], confidence.astype(np.float32))
    np.testing.assert_array_equal(arrays.joints(places, confidence, XY, "x"), joints[..., :2])


def test_scale_is_for_coordinates_alone():
    given = values(4, 1, 5, 3)
    scaled = arrays.joints(given, None, arrays.Form(5, "xyc", 0.5), "x")
    np.testing.assert_allclose(scaled, given * [0.5, 0.5, 1], rtol=1e-6)
    scaled = arrays.joints(given, None, arrays.Form(5, "xyz", 0.5), "x")
    np.testing.assert_allclose(scaled, given * 0.5, rtol=1e-6)


def test_a_scale_that_makes_too_much_of_a_number():
    far = np.full((1, 1, 5, 3), 1e38)
    arrays.joints(far, None, arrays.Form(5, "xyz", 0.1), "x")
    with pytest.raises(BadFile, match=r"x: found inf in frame 0, body 0, joint 0, channel x"):
        arrays.joints(far, None, arrays.Form(5, "xyz", 1000.0), "x")


def test_slots_behind_the_last_body_are_cut_off():
    given = values(4, 4, 5, 3)
    given[:, [0, 2, 3]] = 0
    given[0, 2, 1, 1] = 1
    assert arrays.joints(given, None, XYZ, "x").shape == (4, 3, 5, 3)


@pytest.mark.parametrize("given", [np.zeros((4, 2, 5, 3)), values(0, 2, 5, 3), values(4, 0, 5, 3)])
def test_nobody(given):
    with pytest.raises(arrays.NoBody, match="no body in any frame"):
        arrays.joints(given, None, XYZ, "x")


def test_places_without_any_confidence_are_nobody():
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
            r"no confidences; expected x and y of each joint.*--layout and --channels say",
        ),
        (XYC, values(4, 2, 5, 2), values(4, 2, 6), r"confidences \(4, 2, 6\)"),
        (
            XYC,
            values(4, 2, 5, 3),
            values(4, 2, 5),
            r"\(4, 2, 5, 3\) and confidences.*nor has xyz",
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
            "confidence -0.5; expected 0 to 1.*of a coordinate, xyz would",
        ),
        (XYC, with_value(2.0), None, "confidence 2; expected 0 to 1"),
    ],
)
def test_refuses(form, given, confidence, message):
    with pytest.raises(BadFile, match=message):
        arrays.joints(given, confidence, form, "x")


def npz(**content) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content)
    return buffer.getvalue()


def test_reads_what_is_wanted_of_an_npz():
    joints = np.asfortranarray(values(4, 5, 3))
    found = arrays.read_npz(npz(joints=joints, label="é", other=1), ("joints", "label", "x"), "x")
    assert list(found) == ["joints", "label"]
    np.testing.assert_array_equal(found["joints"], joints)
    assert found["label"].item() == "é"


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("joints.npy", content)
    return buffer.getvalue()


def npy(shape=(2, 3), dtype="<f8", data=bytes(48)) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def test_the_hand_made_header_is_one():
    found = arrays.read_npz(zipped(npy()), ("joints",), "x")
    np.testing.assert_array_equal(found["joints"], np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a zip", "damaged file"),
        (npz(joints=np.zeros(3))[:-40], "damaged file"),
        (npz(joints=np.array([{}], object)), "x!joints.npy: found an array of Python objects"),
        (zipped(npy(shape=(10**9,))), r"joints.npy: found 48 bytes .* expected \(1000000000,\)"),
        (zipped(npy(data=bytes(40))), "40 bytes"),
        (zipped(b"\x93NUMPY\x09\x00"), "no header of a .npy"),
        (zipped(b"hello"), "no header of a .npy"),
    ],
)
def test_refuses_npz(data, message):
    with pytest.raises(BadFile, match=message):
        arrays.read_npz(data, ("joints",), "x")


def test_an_array_that_unpacks_to_too_much(monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", 10_000)
    with pytest.raises(BadFile, match=r"joints.npy of 80,128 bytes; expected at most 10,000"):
        arrays.read_npz(npz(joints=np.zeros(10_000)), ("joints",), "x")
