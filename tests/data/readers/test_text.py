"""Byte order marks and encodings, in every text file that a reader reads."""

import json
import zipfile

import numpy as np
import pytest

from amr_jax import prepare
from amr_jax.data.readers import files, labels, layout_file, ntu, nw_ucla, pku, search, text
from amr_jax.errors import BadFile
from tests import raw_sets
from tests.data.readers.test_layout_file import PUPPET

JOINTS = raw_sets.body(0)
UCLA = {"file_name": "a01_s01_e00_v01", "skeletons": JOINTS[:, :20].tolist(), "label": 1}

# name of the file -> (its content, its reader).
FILES = {
    "S001C001P001R001A001.skeleton": (raw_sets.skeleton_text(JOINTS), ntu.read),
    "video/0002-L.txt": ("1 " * 150 + "\n" + "0.5 " * 150 + "\n", pku.read_video),
    "label/0002-L.txt": ("1,15,48,2\n3,50,60,1\n", pku.read_labels),
    "cross-subject.txt": ("Training videos:\n0002-L\nValidation videos:\n0003-L", pku.read_split),
    "a01_s01_e00_v01.json": (json.dumps(UCLA), nw_ucla.read),
    "labels.csv": ("name,label\nclip0,wave\nclip1,clap\n", labels.read_labels),
    "classes.txt": ("wave\nclap\n", labels.read_classes),
    "layout.json": (json.dumps(PUPPET), lambda raw: layout_file.read(str(raw))),
}
JSON = [name for name in FILES if name.endswith(".json")]


def read(folder, name, data):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return FILES[name][1](files.RawFile(str(path)))


@pytest.mark.parametrize("change", [lambda text: text, lambda text: text.replace("\n", "\r\n")])
@pytest.mark.parametrize("name", FILES)
def test_a_byte_order_mark_changes_nothing(name, change, tmp_path):
    content = FILES[name][0]
    expected = read(tmp_path, name, content.encode())
    found = read(tmp_path, name, change(content).encode("utf-8-sig"))
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", FILES)
def test_utf_16_is_named_or_read(name, encoding, tmp_path):
    content = FILES[name][0]
    if name in JSON:  # its encoding shows in its first bytes
        np.testing.assert_equal(
            read(tmp_path, name, content.encode(encoding)), read(tmp_path, name, content.encode())
        )
        return
    with pytest.raises(BadFile, match=r"UTF-16 \('Unicode' in editors of W.*Save it as UTF-8"):
        read(tmp_path, name, content.encode(encoding))


def test_a_mark_in_an_archive(tmp_path):
    name = "S001C001P001R001A001.skeleton"
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(name, FILES[name][0].encode("utf-8-sig"))
    (raw,) = search.find(tmp_path, ".skeleton", "skeletons")
    np.testing.assert_array_equal(ntu.read_joints(raw)[:, 0], JOINTS.astype(np.float32))


@pytest.mark.parametrize("name", ["video/0002-L.txt", "label/0002-L.txt"])
def test_a_second_mark_within_a_file_is_refused(name, tmp_path):
    """Files with a mark each, joined."""
    data = FILES[name][0].rstrip().encode("utf-8-sig") + b"\n"
    with pytest.raises(BadFile, match=r"line [34]: found"):
        read(tmp_path, name, data + data + data)


@pytest.mark.parametrize("name", ["labels.csv", "classes.txt"])
def test_a_second_mark_within_a_table_is_named(name, tmp_path):
    data = FILES[name][0].encode("utf-8-sig")
    with pytest.raises(BadFile, match=r"line [34]: found the character '\\ufeff'"):
        read(tmp_path, name, data + data)


def test_files_saved_by_an_editor_of_windows(shared_data, tmp_path):
    """The case of such files: NTU and PKU-MMD, a marked file and one without a mark of each."""
    case = shared_data.parent / "cases" / "byte_order_mark"
    if not case.is_dir():
        pytest.skip(f"no case at {case}")
    for dataset, folder in (("ntu_rgbd60", "ntu"), ("pku_mmd", "pku")):
        rows = prepare.prepare(dataset, case / folder, tmp_path, num_workers=1)
        counts = {row.split: row.sequences for row in rows if row.protocol.endswith("xsub")}
        assert counts == {"train": 1, "test": 1}
    for path in sorted(case.rglob("*.skeleton")):
        plain = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        (tmp_path / path.name).write_bytes(plain)
        np.testing.assert_array_equal(
            ntu.read_joints(files.RawFile(str(path))),
            ntu.read_joints(files.RawFile(str(tmp_path / path.name))),
        )


def test_only_the_mark_is_removed():
    mark = b"\xef\xbb\xbf"
    for data in (b"", b"\n", b"a", b"\x00", b"\x00\x01\x02\x03", b"1\x00\x00\x00", b"\xef\xbb1"):
        assert text.without_mark(data, "file") == data
        assert text.without_mark(mark + data, "file") == data
    assert text.decode(mark + "é".encode(), "file") == "é"
    with pytest.raises(BadFile, match="bytes that are not text"):
        text.decode(b"\xe9t\xe9", "file")
