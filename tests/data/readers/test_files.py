"""Finding raw files: folders, zip archives, and typical mistakes of users."""

import os
import pickle
import zipfile

import pytest

from amr_jax.data.readers import files, search
from amr_jax.errors import BadFile, UserError

WHAT = "skeletons of a test"


def find(path, **options):
    return search.find(path, ".skeleton", WHAT, **options)


def write(path, data=b"content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pack(path, members, compression=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_folders_and_archives_are_searched_at_any_depth_in_the_order_of_names(tmp_path):
    write(tmp_path / "z" / "deep" / "b.skeleton", b"b")
    write(tmp_path / "d.SKELETON", b"d")
    write(tmp_path / "notes.txt")
    pack(tmp_path / "y" / "one.zip", {"nturgb+d/c.skeleton": b"c", "nturgb+d/readme": b""})
    pack(tmp_path / "two.ZIP", {"a.skeleton": b"a", "folder/": b""})
    found = find(tmp_path)
    assert [raw.name for raw in found] == ["a.skeleton", "b.skeleton", "c.skeleton", "d.SKELETON"]
    assert [raw.read() for raw in found] == [b"a", b"b", b"c", b"d"]
    assert str(found[2]) == f"{tmp_path}/y/one.zip!nturgb+d/c.skeleton"
    assert pickle.loads(pickle.dumps(found)) == found


def test_manual_dir_may_be_an_archive(tmp_path):
    archive = pack(tmp_path / "set.zip", {"in/a.skeleton": b"a"})
    assert [raw.read() for raw in find(archive)] == [b"a"]


def test_a_file_beside_its_archive_is_found_once_on_disk(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a.skeleton": b"same", "b.skeleton": b"zip"})
    path = write(tmp_path / "unpacked" / "a.skeleton", b"same")
    assert list(map(str, find(tmp_path))) == [str(path), f"{archive}!b.skeleton"]
    assert [raw.read() for raw in find(tmp_path, unique=False)] == [b"same", b"same", b"zip"]


def test_ignores_files_added_by_macos(tmp_path):
    pack(tmp_path / "set.zip", {"a.skeleton": b"a", "__MACOSX/._a.skeleton": b"junk"})
    write(tmp_path / "._b.skeleton")
    write(tmp_path / "._set.zip")
    assert [raw.name for raw in find(tmp_path)] == ["a.skeleton"]


def test_links_are_followed_once(tmp_path):
    write(tmp_path / "data" / "a.skeleton")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "link").symlink_to(tmp_path / "data")
    assert len(find(tmp_path / "manual", unique=False)) == 1


def test_a_rewritten_archive_is_opened_again(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a.skeleton": b"old"})
    assert find(archive)[0].read() == b"old"
    pack(archive, {"a.skeleton": b"new, and longer"})
    os.utime(archive, ns=(1, 1))
    assert find(archive)[0].read() == b"new, and longer"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["the folder is empty", "Download"]),
        (["a.avi", "b.avi", "c.txt"], ["none among 3 file(s) (2 .avi, 1 .txt)", "any folder"]),
        (["Skeleton.7z"], ["7z x ", "Skeleton.7z", "p7zip"]),
        (["nturgbd.tar.gz"], ["Unpack it first", "nturgbd.tar.gz"]),
        (["nturgbd.zip.crdownload"], [".crdownload"]),
    ],
)
def test_the_error_of_an_empty_search(tmp_path, names, expected):
    for name in names:
        write(tmp_path / name)
    with pytest.raises(UserError) as error:
        find(tmp_path)
    for part in [WHAT, "*.skeleton", str(tmp_path), *expected]:
        assert part in str(error.value)


def test_the_error_of_a_missing_folder_names_its_existing_parent(tmp_path):
    write(tmp_path / "downloads" / "x.zip")
    with pytest.raises(UserError, match=r"no such folder.*exists and holds: downloads"):
        find(tmp_path / "typo" / "ntu")


@pytest.mark.parametrize("manual_dir", [None, "", " "])
def test_no_folder_given(manual_dir):
    with pytest.raises(UserError, match="no --manual_dir given"):
        find(manual_dir)


def test_a_file_instead_of_a_folder(tmp_path):
    with pytest.raises(UserError, match="is a file; expected a folder"):
        find(write(tmp_path / "a.skeleton"))
    with pytest.raises(UserError, match=r"7z x .*Skeleton\.7z"):
        find(write(tmp_path / "Skeleton.7z"))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_half_a_download(tmp_path, kept):
    whole = pack(tmp_path / "set.zip", {"a.skeleton": os.urandom(5000)}).read_bytes()
    half = write(tmp_path / "set.zip", whole[: int(kept * len(whole))])
    with pytest.raises(
        BadFile, match=r"expected a complete zip archive.*download it again"
    ) as error:
        find(tmp_path)
    assert error.value.path == str(half)


def test_a_damaged_member_is_a_bad_file(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a.skeleton": b"x" * 500}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"x" * 500, b"x" * 499 + b"y"))
    (raw,) = find(archive)
    with pytest.raises(BadFile, match="CRC") as error:
        raw.read()
    assert error.value.path == f"{archive}!a.skeleton"


def test_an_encrypted_member_is_a_bad_file(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a.skeleton": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(BadFile, match="encrypted"):
        find(archive)[0].read()


def test_sizes_are_bounded(tmp_path):
    (packed,) = find(pack(tmp_path / "bomb" / "set.zip", {"a.skeleton": bytes(10**6)}))
    loose = files.RawFile(str(write(tmp_path / "b.skeleton", bytes(10**6))))
    for raw in (packed, loose):
        assert len(raw.read(max_bytes=10**6)) == 10**6
        with pytest.raises(BadFile, match="bytes"):
            raw.read(max_bytes=10**6 - 1)


def test_a_zip_bomb(tmp_path):
    # 128 MiB of zeros, compressed to a thousandth; the caller accepts gigabytes.
    (bomb,) = find(pack(tmp_path / "set.zip", {"a.skeleton": bytes(2**27)}))
    with pytest.raises(
        BadFile, match=r"134,217,728 bytes packed into 1\d\d,\d+; expected at most 100"
    ):
        bomb.read(max_bytes=2**34)
    # A file of usual size may consist of zeros.
    (still,) = find(pack(tmp_path / "still.zip", {"a.skeleton": bytes(2**20)}))
    assert still.read(max_bytes=2**34) == bytes(2**20)


def test_a_missing_file(tmp_path):
    with pytest.raises(BadFile, match=r"gone.skeleton: found No such file"):
        files.RawFile(str(tmp_path / "gone.skeleton")).read()
    with pytest.raises(BadFile, match=r"gone\.zip: found No such file"):
        files.RawFile(str(tmp_path / "gone.zip"), "a.skeleton").read()


def test_two_members_of_one_name(tmp_path):
    path = pack(tmp_path / "set.zip", {"a.skeleton": b"one", "b.skeleton": b"two"})
    path.write_bytes(path.read_bytes().replace(b"b.skeleton", b"a.skeleton"))
    with pytest.raises(BadFile, match=r"set\.zip: found several members called 'a\.skeleton'"):
        find(tmp_path)


def damaged(folder, change):
    """An archive of three members with a damaged directory: `change` is applied to its bytes."""
    path = pack(folder / "set.zip", {f"{letter}.skeleton": letter for letter in "abc"})
    path.write_bytes(change(path.read_bytes()))
    return path


def test_a_member_hidden_in_the_comment_of_another(tmp_path):
    def longer_comment(data):  # a wrong length: the next entry becomes part of the comment
        at = data.index(b"PK\x01\x02") + 32
        return data[:at] + (46 + len("b.skeleton")).to_bytes(2, "little") + data[at + 2 :]

    with pytest.raises(BadFile, match="members within the comment of another one"):
        find(damaged(tmp_path, longer_comment))


@pytest.mark.parametrize("name", [b"b.skelEton", b"b.skelet\x00n", b"b.skeletom"])
def test_a_damaged_name_in_the_directory(tmp_path, name):
    def other_name(data):
        at = data.rindex(b"b.skeleton")
        return data[:at] + name + data[at + len(name) :]

    path = damaged(tmp_path, other_name)
    with pytest.raises(BadFile, match="File name in directory"):
        [raw.read() for raw in find(path)]


def test_a_member_without_a_name(tmp_path):
    path = pack(tmp_path / "set.zip", {"a.skeleton": b"a", zipfile.ZipInfo(""): b"b"})
    assert [raw.name for raw in find(path)] == ["a.skeleton"]


def test_a_damaged_name_in_the_directory_of_any_file(tmp_path):
    path = pack(tmp_path / "set.zip", {"a.npz": b"a", "labels.csv": b"name,label\na,wave\n"})
    assert len(search.find(path, "", WHAT)) == 2
    data = path.read_bytes()
    at = data.rindex(b"labels.csv")
    path.write_bytes(data[:at] + b"k" + data[at + 1 :])
    os.utime(path, ns=(1, 1))
    with pytest.raises(BadFile, match=r"set\.zip!kabels\.csv: found a damaged file"):
        search.find(path, "", WHAT)
