"""Plain NumPy files: what is read, and what is refused with which words."""

import io
import warnings
import zipfile

import numpy as np
import pytest

from amr_jax.data.readers import files, numpy_files
from amr_jax.errors import BadFile

JOINTS = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)


def raw(folder, content, name="clip.npy"):
    path = folder / name
    path.write_bytes(content)
    return files.RawFile(str(path))


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**named):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i2", "u1"])
def test_any_numbers(tmp_path, dtype):
    for array in (JOINTS.astype(dtype), np.asfortranarray(JOINTS.astype(dtype))):
        found, confidence = numpy_files.read(raw(tmp_path, npy(array)))
        assert confidence is None
        np.testing.assert_array_equal(found, JOINTS)
        assert found.dtype == np.float32


def test_one_body(tmp_path):
    found, _ = numpy_files.read(raw(tmp_path, npy(JOINTS[:, 0])))
    np.testing.assert_array_equal(found, JOINTS[:, :1])


def test_npz(tmp_path):
    for content in (npz(x=JOINTS), npz(label=3, joints=JOINTS, other=JOINTS[:1])):
        found, confidence = numpy_files.read(raw(tmp_path, content, "clip.NPZ"))
        np.testing.assert_array_equal(found, JOINTS)
        assert confidence is None


def test_confidences_beside_the_joints(tmp_path):
    sure = JOINTS[..., 0]
    for joints, confidence in ((JOINTS, sure), (JOINTS[:, 0], sure[:, 0])):
        content = npz(confidence=confidence, joints=joints)
        found = numpy_files.read(raw(tmp_path, content, "a.npz"))
        np.testing.assert_array_equal(found[0], JOINTS[:, : found[0].shape[1]])
        np.testing.assert_array_equal(found[1], sure[:, : found[0].shape[1]])


def claiming(shape, dtype="<f4"):
    """A `.npy` of eight bytes that claims more."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(8)


def bomb():
    """A `.npz` of some kilobytes whose one array unpacks to more than is allowed."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("joints.npy", "w") as member,
    ):
        for _ in range(65):
            member.write(bytes(2**20))
    return buffer.getvalue()


def twice():
    """A `.npz` with two arrays of one name."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        for array in (JOINTS, JOINTS[:1]):
            archive.writestr("joints.npy", npy(array))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"", r"no header of a \.npy file"),
        ("a.npy", npy(JOINTS)[:-1], r"287 bytes of numbers; expected \(2, 3, 4, 3\) float32"),
        ("a.npy", npy(JOINTS)[:20], r"no header"),
        ("a.npy", claiming((10**6, 10**6, 25, 3)), r"found 8 bytes of numbers"),
        ("a.npy", claiming((-1, -2)), r"found 8 bytes of numbers"),
        ("a.npy", npy(np.array([{}]), allow_pickle=True), r"an array of Python objects"),
        ("a.npy", npy(np.array(["left"])), r"an array of <U4"),
        ("a.npy", npy(JOINTS[0, 0]), r"shape \(4, 3\); expected .*\(T, M, V, C\), or \(T, V, C\)"),
        ("a.npy", npy(JOINTS[:0]), r"shape \(0, 3, 4, 3\)"),
        (
            "a.npy",
            npy(JOINTS + np.array([0, 0, np.nan])),
            r"nan at .* \(0, 0, 0, 2\)",
        ),
        ("a.npy", npy(JOINTS + np.float64(1e300)), r"1e\+300 at .* expected a finite number"),
        ("a.npz", npy(JOINTS), r"a damaged file \(File is not a zip file\)"),
        ("a.npz", npz(x=JOINTS)[:-30], r"a damaged file"),
        ("a.npz", npz(x=JOINTS, y=JOINTS), r"arrays x, y; expected one array, or one called 'joi"),
        ("a.npy", claiming((0, 10**19))[:-8], r"an array of shape \(0, 10000000000000000000\)"),
        ("a.npy", claiming((0,) * 70)[:-8], r"an array of shape \(0, 0"),
        ("a.npy", claiming((3,), "|V0")[:-8], r"an array of \|V0"),
        ("a.npy", claiming((2,), "<U1"), r"array of <U1"),
        ("a.npz", npz(joints=JOINTS).replace(b"joints", b"jointz", 1), "File name in directory"),
        ("a.npz", twice(), r"several members called 'joints\.npy'"),
        ("a.npz", npz(), r"arrays \(none\)"),
        ("a.npz", npz(joints=np.array(None)), r"an array of Python objects"),
        ("a.npz", bomb(), r"joints.npy of 68,157,440 bytes; expected at most 67,108,864"),
    ],
)
def test_refused(tmp_path, name, content, message):
    with pytest.raises(BadFile, match=message):
        numpy_files.read(raw(tmp_path, content, name))


@pytest.mark.parametrize("code", [0xD800, 0x110000, 2**32 - 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_text_of_what_is_no_character(code, order):
    texts = np.array(["one", "two"]).astype(f"{order}U3")
    assert numpy_files.from_npy(npy(texts), "x").tolist() == ["one", "two"]
    data = npy(texts)[:-4] + np.array(code, f"{order}u4").tobytes()
    with pytest.raises(BadFile, match=f"x: found the character {code:#x} in a text"):
        numpy_files.from_npy(data, "x")


def test_an_array_that_nobody_asks_for_may_not_hide_another():
    data = npz(joints=JOINTS, label="wave")
    at = data.rindex(b"label.npy")
    with pytest.raises(BadFile, match=r"File name in directory 'lacel\.npy'"):
        numpy_files.read_npz(
            io.BytesIO(data[: at + 2] + b"c" + data[at + 3 :]), "x", lambda names: names[:1]
        )


def test_all_arrays_together_are_bounded():
    data = npz(a=JOINTS, b=JOINTS)
    assert len(numpy_files.read_npz(io.BytesIO(data), "x", max_bytes=2 * 416)) == 2
    with pytest.raises(BadFile, match=r"x: found b\.npy of 416 bytes; expected at most 831 in all"):
        numpy_files.read_npz(io.BytesIO(data), "x", max_bytes=831)


def test_weights_that_unpack_to_a_thousand_times_their_size():
    with pytest.raises(BadFile, match=r"joints\.npy of 68,157,440 bytes packed into 66,"):
        numpy_files.read_npz(io.BytesIO(bomb()), "x")
