"""Files of every format are read as `prepare` reads them."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest

from amr_jax.data.readers import arrays, files, ntu, pyskl
from amr_jax.errors import BadFile
from amr_jax.inference import read_inputs
from amr_jax.inference.read_inputs import Options
from amr_jax.inference.windows import Windows
from amr_jax.skeleton import layouts
from tests import custom_sets, raw_sets, tiny_models
from tests.data.readers import ntu_files


@pytest.fixture(scope="module")
def kinect_20():
    return tiny_models.make()


@pytest.fixture(scope="module")
def ntu_25():
    return tiny_models.make(layout=layouts.NTU_25)


def read(model, *paths, **options):
    return list(read_inputs.read([str(path) for path in paths], model, Options(**options)))


def only(model, path, **options):
    (found,) = read(model, path, **options)
    assert isinstance(found, read_inputs.Sequence), found
    assert found.name == str(path)
    return found.joints


def test_skeleton_files_are_denoised_as_by_prepare(ntu_25, tmp_path):
    raw_sets.write_ntu(tmp_path, cameras=(1,), subjects=(1,), actions=(1,))
    (path,) = tmp_path.glob("*.skeleton")
    expected = ntu.read(files.RawFile(str(path)))["joints"]
    np.testing.assert_array_equal(only(ntu_25, path), expected)
    np.testing.assert_array_equal(only(ntu_25, path.rename(tmp_path / "me.SKELETON")), expected)


def test_gaps_are_kept_with_true_time(ntu_25, tmp_path):
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


def as_trained(model, **changes):
    """The model, had it been trained on other numbers."""
    return dataclasses.replace(model, input=dataclasses.replace(model.input, **changes))


def test_custom_files_get_the_scale_of_the_training_data(kinect_20, tmp_path, capsys):
    joints = tiny_models.joints(0, 3)
    np.save(tmp_path / "mm.npy", np.rint(1000 * joints).astype(np.int32))
    found = only(as_trained(kinect_20, scale=0.001), tmp_path / "mm.npy")
    np.testing.assert_allclose(found, joints, atol=6e-4)
    assert capsys.readouterr().err == ""
    # Read as metres it is said to look odd.
    only(kinect_20, tmp_path / "mm.npy")
    assert "mm.npy: joints lie" in capsys.readouterr().err


@pytest.fixture(scope="module")
def coco_17():
    model = tiny_models.make(layout=layouts.COCO_17)
    return as_trained(model, channels="xyc")


def test_confidence_is_joined_as_by_prepare(coco_17, tmp_path):
    file = custom_sets.write_npz(
        tmp_path,
        joints=np.random.default_rng(0).normal(size=(4, 1, 17, 2)),
        confidence=np.random.default_rng(1).uniform(size=(4, 1, 17)),
    )
    form = arrays.Form(17, "xyc")
    expected = arrays.read_example(files.RawFile(str(file)), "a", form)["joints"]
    np.testing.assert_array_equal(only(coco_17, file), expected)
    bad = custom_sets.write_npz(tmp_path, "bad", joints=np.full((4, 1, 17, 3), 2.0))
    (error,) = read(coco_17, bad)
    assert "found the confidence 2; expected 0 to 1" in str(error)
    assert "The data that the model was trained on (coco_17) define" in str(error)


def test_a_pickle_holds_many_sequences(coco_17, tmp_path):
    content = custom_sets.exchange(5)
    content["annotations"][2]["label"] = "none of them is looked at"
    content["annotations"][3]["total_frames"] = 99
    file = custom_sets.write_pickle(tmp_path / "set.pkl", content)
    found = read(coco_17, file)
    assert isinstance(found[3], BadFile)
    assert str(found[3]).startswith(f"{file}, S003: found")
    form = arrays.Form(17, "xyc")
    annotations = pyskl.load(files.RawFile(str(file))).annotations
    for i in (0, 1, 2, 4):
        assert found[i].name == f"{file}[S{i:03d}]"
        expected = pyskl.joints(annotations[i], form)
        np.testing.assert_array_equal(found[i].joints, expected)


@pytest.mark.parametrize("content", [{"annotations": []}, []])
def test_a_pickle_without_sequences_is_refused(content, coco_17, tmp_path):
    file = custom_sets.write_pickle(tmp_path / "set.pkl", content)
    (error,) = read(coco_17, file)
    assert str(error).startswith(f"{file}: found no annotation; expected at least one")


def test_a_missing_or_damaged_archive_is_reported_in_its_place(kinect_20, tmp_path):
    np.save(tmp_path / "a.npy", tiny_models.joints(0, 3))
    (tmp_path / "half.zip").write_bytes(b"PK")
    paths = [tmp_path / "a.npy", f"{tmp_path}/no.zip!a.npy", f"{tmp_path}/half.zip!a.npy"]
    first, absent, damaged, last = read(kinect_20, *paths, tmp_path / "a.npy")
    assert isinstance(first, read_inputs.Sequence)
    assert isinstance(last, read_inputs.Sequence)
    assert "no.zip: found No such file" in str(absent)
    assert "half.zip: found a damaged file" in str(damaged)


def test_a_video_is_read_whole_or_by_its_labels(ntu_25, tmp_path):
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


def test_what_does_not_fit_is_reported_in_its_place(kinect_20, tmp_path):
    fine = tiny_models.joints(0, 3)
    arrays = {
        "25": tiny_models.joints(0, 3, num_joints=25),
        "2d": fine[..., :2],
        "three": tiny_models.joints(0, 3, bodies=3),
        "nobody": np.zeros_like(fine),
        "late": np.concatenate([np.zeros((12, 1, 20, 3)), fine]),
        "fine": fine,
        "padded": np.concatenate([fine, np.zeros((3, 4, 20, 3))], axis=1),
        "last": np.concatenate([np.zeros((3, 4, 20, 3)), fine], axis=1),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "a.skeleton").write_text("0\n")
    (tmp_path / "a.png").write_bytes(b"")
    wanted = {
        "25.npy": "(3, 1, 25, 3); expected (frames, bodies, 20 joints, 3 channels xyz). The data",
        "2d.npy": "(3, 1, 20, 2); expected (frames, bodies, 20 joints, 3 channels xyz). The data",
        "three.npy": "3 bodies; expected 2 at most",
        "nobody.npy": "no body in any frame",
        "late.npy": None,
        "fine.npy": None,
        "padded.npy": None,
        "last.npy": None,
        "a.skeleton": "the layout ntu_25 (25 joints); expected kinect_20",
        "a.png": "a name that ends in '.png'; expected a file .skeleton, .txt, .json, .mat, .npy",
        "absent.npy": "absent.npy: found No such file or directory",
        "": "found a folder",
    }
    found = read(kinect_20, *(tmp_path / name for name in wanted))
    for result, (name, message) in zip(found, wanted.items(), strict=True):
        if message is None:
            assert result.name == str(tmp_path / name)
            np.testing.assert_array_equal(result.joints[:, result.joints.any((0, 2, 3))], fine)
        else:
            assert isinstance(result, BadFile)
            assert message in str(result), name


def test_a_window_without_a_joint_that_was_found_is_left_out():
    joints = np.ones((4, 1, 17, 3), np.float32)
    joints[:2, ..., 2] = 0  # scores
    whole = read_inputs.Sequence("clip", joints)
    parts = read_inputs.parts(whole, Windows(2, 2, None), "xyc")
    assert [part.name for part in parts] == ["clip[2-4]"]
