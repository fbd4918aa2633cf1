"""JSON and NumPy files: which arrays are read, and which files are refused with which message."""

import io
import warnings
import zipfile

import numpy as np
import pytest

from amr_jax.data.readers import bounded
from amr_jax.errors import BadFile

JOINTS = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**named) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def zipped(*contents: bytes) -> bytes:
    """A `.npz` whose arrays are all called 'joints'."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        for content in contents:
            archive.writestr("joints.npy", content)
    return buffer.getvalue()


def claiming(shape, dtype="<f4", num_bytes=8) -> bytes:
    """A `.npy` of `num_bytes` that claims another size."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(num_bytes)


def bomb() -> bytes:
    """A `.npz` of some kilobytes with an array of 65 MiB."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("joints.npy", "w") as member,
    ):
        for _ in range(65):
            member.write(bytes(2**20))
    return buffer.getvalue()


def load_npz(data, wanted=list, **options):
    return bounded.load_npz(io.BytesIO(data), "x", wanted, **options)


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b'{"name":\n oops', 2, "no JSON"),
        (b"[]", None, "a JSON list; expected a JSON object"),
        (b"\xff\xfe\xfa", None, "not text"),
        (b'{"a": 1, "b": {"c": [], "c": [1]}}', None, "the key 'c' twice"),
        (b"[" * 100_000, None, "no JSON that can be read"),
        (b'{"name": ' + b"1" * 5_000 + b"}", None, "no JSON that can be read"),
    ],
    ids=["cut", "list", "bytes", "key twice", "deep", "digits"],
)
def test_refuses_json(data, line, message):
    with pytest.raises(BadFile, match=message) as caught:
        bounded.load_json(data, "x", "one JSON object")
    assert caught.value.line == line


@pytest.mark.parametrize(
    "array",
    [JOINTS, np.asfortranarray(JOINTS), JOINTS.astype(">f4"), np.array(3), np.array("é")],
)
def test_arrays_come_back_as_they_were_saved(array):
    found = bounded.load_npy(npy(array), "x")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    (found,) = load_npz(npz(x=array, other=1), lambda names: names[:1]).values()
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"no header of a \.npy file"),
        (b"\x93NUMPY\x09\x00", r"no header of a \.npy file"),
        (npy(JOINTS)[:20], r"no header"),
        (npy(JOINTS)[:-1], r"287 bytes of numbers; expected \(2, 3, 4, 3\) float32"),
        (claiming((10**6, 10**6, 25, 3)), r"found 8 bytes of numbers"),
        (claiming((-1, -2)), r"found 8 bytes of numbers"),
        (npy(np.array([{}]), allow_pickle=True), r"an array of Python objects"),
        (claiming((0, 10**19), num_bytes=0), r"an array of shape \(0, 10000000000000000000\)"),
        (claiming((0,) * 70, num_bytes=0), r"an array of shape \(0, 0"),
        (claiming((3,), "|V0", 0), r"an array of \|V0"),
    ],
)
def test_refuses_npy(data, message):
    with pytest.raises(BadFile, match=message):
        bounded.load_npy(data, "x")


@pytest.mark.parametrize("code", [0xD800, 0x110000, 2**32 - 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_refuses_text_with_an_invalid_character(code, order):
    texts = np.array(["one", "two"]).astype(f"{order}U3")
    assert bounded.load_npy(npy(texts), "x").tolist() == ["one", "two"]
    data = npy(texts)[:-4] + np.array(code, f"{order}u4").tobytes()
    with pytest.raises(BadFile, match=f"x: found the character {code:#x} in a text"):
        bounded.load_npy(data, "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a zip", r"a damaged file \(File is not a zip file\)"),
        (npz(joints=JOINTS)[:-30], "a damaged file"),
        (npz(joints=JOINTS).replace(b"joints", b"jointz", 1), "File name in directory"),
        (zipped(npy(JOINTS), npy(JOINTS[:1])), r"several members called 'joints\.npy'"),
        (zipped(npy(np.array([{}], object))), "x!joints.npy: found an array of Python objects"),
        (zipped(claiming((10**9,))), r"joints.npy: found 8 bytes .* expected \(1000000000,\)"),
        (zipped(b"hello"), "no header of a .npy"),
        (bomb(), r"joints\.npy of 68,157,440 bytes packed into 66,"),
    ],
)
def test_refuses_npz(data, message):
    with pytest.raises(BadFile, match=message):
        load_npz(data)


def test_damaged_name_of_an_array_that_is_not_read():
    data = npz(joints=JOINTS, label="wave")
    at = data.rindex(b"label.npy")
    with pytest.raises(BadFile, match=r"File name in directory 'lacel\.npy'"):
        load_npz(data[: at + 2] + b"c" + data[at + 3 :], lambda names: names[:1])


def test_bound_on_all_arrays_together():
    data = npz(a=JOINTS, b=JOINTS)
    assert len(load_npz(data, max_bytes=2 * 416)) == 2
    with pytest.raises(BadFile, match=r"x: found b\.npy of 416 bytes; expected at most 415"):
        load_npz(data, max_bytes=831)
