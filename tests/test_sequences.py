"""Files of every kind become the sequences that `prepare` would have made records of."""

import json
import zipfile

import numpy as np
import pytest

from amr_jax import sequences, skeleton
from amr_jax.errors import BadFile
from amr_jax.readers import files, ntu
from amr_jax.sequences import Options
from tests import raw_sets, tiny_models
from tests.readers import ntu_files


@pytest.fixture(scope="module")
def kinect_20():
    return tiny_models.make()


@pytest.fixture(scope="module")
def ntu_25():
    return tiny_models.make(layout=skeleton.NTU_25)


def read(model, *paths, **options):
    return list(sequences.read([str(path) for path in paths], model, Options(**options)))


def only(model, path, **options):
    (found,) = read(model, path, **options)
    assert isinstance(found, sequences.Sequence), found
    assert found.name == str(path)
    return found.joints


def test_skeleton_files_of_any_name_are_denoised_as_for_the_records(ntu_25, tmp_path):
    raw_sets.write_ntu(tmp_path, cameras=(1,), subjects=(1,), actions=(1,))
    (path,) = tmp_path.glob("*.skeleton")
    expected = ntu.read(files.RawFile(str(path)))["joints"]
    np.testing.assert_array_equal(only(ntu_25, path), expected)
    np.testing.assert_array_equal(only(ntu_25, path.rename(tmp_path / "me.SKELETON")), expected)


def test_gaps_are_kept_where_asked(ntu_25, tmp_path):
    path = tmp_path / "a.skeleton"
    away = list(range(12, 26))  # then the first body is gone, and the second alone is there
    here = [frame for frame in range(40) if frame not in away]
    bodies = ((7, here, ntu_files.person(0, 26)), (8, away, ntu_files.person(1, 14)))
    path.write_bytes(ntu_files.skeleton_text(ntu_files.film(40, *bodies)))
    assert len(only(ntu_25, path)) == 26
    assert len(only(ntu_25, path, gaps="true_time")) == 40


def test_members_of_archives_and_arrays(kinect_20, tmp_path):
    joints = tiny_models.joints(0, 3)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        text = json.dumps({"skeletons": joints[:, 0].tolist()})
        archive.writestr("folder/one!.json", text)
    found = only(kinect_20, f"{tmp_path}/all.zip!folder/one!.json")
    np.testing.assert_array_equal(found, joints)
    np.save(tmp_path / "a.npy", joints[:, 0])
    np.savez(tmp_path / "b.npz", joints=joints)
    for name in ("a.npy", "b.npz"):
        np.testing.assert_array_equal(only(kinect_20, tmp_path / name), joints)
    (absent,) = read(kinect_20, f"{tmp_path}/all.zip!two.json")
    assert str(absent).startswith(f"{tmp_path}/all.zip!two.json: found no such member; expected")


def test_a_video_whole_or_by_its_labels(ntu_25, tmp_path):
    raw_sets.write_pku(tmp_path, videos=("0002-L",), labels="1,0,4,2\n5,4,4,2\n51,4,10,2\n")
    video = tmp_path / "skeleton" / "0002-L.txt"
    whole = only(ntu_25, video)
    assert whole.shape == (10, 2, 25, 3)
    for labels in (tmp_path / "label", tmp_path / "label" / "0002-L.txt"):
        first, empty, last = read(ntu_25, video, labels=str(labels))
        assert (first.name, last.name) == (f"{video}[0-4]", f"{video}[4-10]")
        np.testing.assert_array_equal(np.concatenate([first.joints, last.joints]), whole)
        assert isinstance(empty, BadFile)
        assert "0002-L_001: no frame in [4, 4)" in str(empty)
    (absent,) = read(ntu_25, video, labels=str(tmp_path / "nowhere.txt"))
    assert "nowhere.txt: found No such file" in str(absent)


def test_what_does_not_fit_is_named_at_its_place(kinect_20, tmp_path):
    fine = tiny_models.joints(0, 3)
    arrays = {
        "25": tiny_models.joints(0, 3, num_joints=25),
        "2d": fine[..., :2],
        "three": tiny_models.joints(0, 3, bodies=3),
        "nobody": np.zeros_like(fine),
        "late": np.concatenate([np.zeros((12, 1, 20, 3)), fine]),
        "fine": fine,
        "padded": np.concatenate([fine, np.zeros((3, 4, 20, 3))], axis=1),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "a.skeleton").write_text("0\n")
    (tmp_path / "a.png").write_bytes(b"")
    wanted = {
        "25.npy": r"25 joints with 3 channels; expected 20 (kinect_20) with 3",
        "2d.npy": r"20 joints with 2 channels; expected 20 (kinect_20) with 3",
        "three.npy": "3 bodies; expected 2 at most",
        "nobody.npy": "nobody (zeros alone) in the first 3 frames",
        "late.npy": "nobody (zeros alone) in the first 12 frames",
        "fine.npy": None,
        "padded.npy": None,
        "a.skeleton": "the layout ntu_25 (25 joints); expected kinect_20",
        "a.png": "a name that ends in '.png'; expected a file .skeleton, .txt, .json, .npy, .npz",
        "absent.npy": "absent.npy: found No such file or directory",
        "": "found a folder",
    }
    found = read(kinect_20, *(tmp_path / name for name in wanted))
    for result, (name, message) in zip(found, wanted.items(), strict=True):
        if message is None:
            assert result.name == str(tmp_path / name)
        else:
            assert isinstance(result, BadFile)
            assert message in str(result), name
