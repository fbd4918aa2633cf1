"""Trained models see who and what was found as training does: predict, and exported programs."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import BadFile
from amr_jax.inference import apply, export, model_file, model_text, predict, read_inputs
from amr_jax.skeleton import layouts
from tests import custom_sets, raw_sets, tiny_models
from tests.data.readers import ntu_files


def in_image(**changes):
    """A model of noise of COCO-17 in an image, with confidence."""
    model = tiny_models.make(layout=layouts.COCO_17)
    encoder = model.encoder.clone(confidence=True)
    size = dataclasses.replace(model.input, channels="xyc", **changes)
    return dataclasses.replace(model, encoder=encoder, input=size)


def people(seed=0, frames=9, bodies=1):
    rng = np.random.default_rng(seed)
    places = rng.uniform(50, 500, size=(frames, bodies, 17, 2))
    score = rng.uniform(0.5, 1, size=(frames, bodies, 17, 1))
    return np.concatenate([places, score], axis=-1).astype(np.float32)


def predicted(model, *arrays, folder):
    """The outputs of `.npy` files; an error in place of each that is refused."""
    paths = []
    for number, array in enumerate(arrays):
        paths.append(str(folder / f"{number}.npy"))
        np.save(paths[-1], array)
    found = read_inputs.read(paths, model, read_inputs.Options())
    return list(predict.outputs(model, apply.logits, found))


def spaced(joints, *, start=1, end=2, after=3):
    """The same with frames without anybody."""
    blank = np.zeros_like(joints[:1])
    parts = [blank] * start + [joints[:after], blank, joints[after:]] + [blank] * end
    return np.concatenate(parts)


def at_corner(joints, score=0.9):
    joints = joints.copy()
    joints[2:5, 0, 7] = (0, 0, score)
    return joints


def with_nan(joints):
    joints = joints.copy()
    joints[joints[..., 2] == 0, :2] = np.nan
    return joints


def in_slot(joints, slot):
    padded = np.zeros((len(joints), slot + joints.shape[1], *joints.shape[2:]), joints.dtype)
    padded[:, slot:] = joints
    return padded


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        (people(), spaced(people())),
        (people(bodies=2), spaced(people(bodies=2), start=4, end=0, after=1)),
        (people(), spaced(people()) + np.float32([5, 5, 0]) * (spaced(people()) == 0)),
        (at_corner(people(), score=0), at_corner(people())),
        (people(), in_slot(people(), 1)),
        (people(), in_slot(people(), 3)),
        (people(), np.concatenate([people(), 0 * people(bodies=4)], axis=1)),
        (at_corner(people(), score=0), with_nan(at_corner(people(), score=0))),
    ],
    ids=["padded", "two", "junk", "corner", "slot", "far slot", "empty slots", "nan"],
)  # fmt: skip
@pytest.mark.parametrize("bodies", ["packed", "all", "repeat"])
def test_the_same_people_get_the_same_outputs(plain, other, bodies, tmp_path):
    model = dataclasses.replace(in_image(), bodies=bodies)
    one, two = predicted(model, plain, other, folder=tmp_path)
    np.testing.assert_array_equal(one.output, two.output)
    assert (one.used_frames, one.bodies) == (two.used_frames, two.bodies)
    assert two.frames == len(other)
    assert two.empty_frames == len(other) - len(plain)


def test_scores_are_read_as_those_of_the_training_data(tmp_path, capsys):
    joints = people()
    scored = joints * np.float32([1, 1, 8])
    plain = predicted(in_image(), joints, folder=tmp_path)[0]
    same = predicted(in_image(scores=8.0), scored, folder=tmp_path)[0]
    np.testing.assert_allclose(same.output, plain.output, atol=1e-5)
    assert capsys.readouterr().err == ""
    cut = predicted(in_image(scores=4.0), scored, folder=tmp_path)[0]
    assert np.abs(cut.output - plain.output).max() > 1e-4
    assert "0.npy: 153 scores above --scores: confidence 1." in capsys.readouterr().err
    (refused,) = predicted(in_image(), scored, folder=tmp_path)
    assert isinstance(refused, BadFile)
    assert "--" not in str(refused)  # predict has no such flags


def test_a_third_number_is_left_out_as_of_the_training_data(tmp_path):
    model = in_image()
    encoder = model.encoder.clone(confidence=False, channels=2)
    file = tmp_path / "a.npy"
    np.save(file, people())
    size = dataclasses.replace(model.input, channels="xy", scores="drop")
    two = dataclasses.replace(model, encoder=encoder, input=size)
    (sequence,) = read_inputs.read([str(file)], two, read_inputs.Options())
    np.testing.assert_array_equal(sequence.joints, people()[..., :2])
    plain = dataclasses.replace(two, input=dataclasses.replace(size, scores=None))
    (refused,) = read_inputs.read([str(file)], plain, read_inputs.Options())
    assert isinstance(refused, BadFile)


def test_programs_see_what_predict_sees(tmp_path):
    model = in_image()
    program = jax.export.deserialize(bytearray(export.program(model).serialize()))
    sequences = [people(1, 5), at_corner(spaced(people(2, 6))), in_slot(people(3, 7), 1)]
    joints, length = tiny_models.padded(model, sequences)
    found = program.call(joints, length)
    expected = [result.output for result in predicted(model, *sequences, folder=tmp_path)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    plain = jax.jit(functools.partial(apply.logits, model))
    together = plain(model.variables, *tiny_models.padded(model, [people(1, 5)]))
    np.testing.assert_allclose(found[:1], together, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3  # the sequences do differ


def test_a_joint_moved_to_the_origin_keeps_its_body(tmp_path):
    """A body of one joint that is the origin: after centring all its numbers are 0."""
    model = in_image(centre=7)
    encoder = model.encoder.clone(confidence=False, channels=2)
    model = dataclasses.replace(
        model, encoder=encoder, input=dataclasses.replace(model.input, channels="xy")
    )
    joints = np.zeros((4, 1, 17, 2), np.float32)
    joints[:, 0, 7] = (300, 200)
    here = apply.normalise.found(joints, "xy").any(axis=(0, 2))
    assert here.all()
    assert not apply.normalise.normalise(joints, 7, "xy").any()
    shape = jax.eval_shape(model.encoder.init, jax.random.key(0), np.zeros((1, 8, 17, 2)))
    ones = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, np.float32), shape)
    variables = {"params": {"encoder": ones["params"]}}
    found = apply.features(model, variables, *tiny_models.padded(model, [joints]))
    assert np.abs(found).max() > 0  # of an absent body it is 0


def test_predict_tells_frames_without_anybody(tmp_path, capsys):
    model_file.write(tmp_path / "m.safetensors", in_image())
    for name, frames in (("a", 5), ("b", 11)):
        custom_sets.write_npz(tmp_path, name, joints=spaced(people(frames=frames)))
    files = [f"{tmp_path}/{name}.npz" for name in "ab"]
    out = tmp_path / "out.jsonl"
    amr_jax_command(["predict", f"--checkpoint={tmp_path}/m.safetensors", f"--json={out}", *files])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["frames"] for row in rows] == [9, 15]
    assert [row["empty_frames"] for row in rows] == [4, 4]
    assert [row["used_frames"] for row in rows] == [5, 11]
    told = capsys.readouterr()
    assert f"{files[0]}  (5 of 9 frames that show somebody, 1 body)" in told.out
    for file in files:
        assert f"note: {file}: 4 frames without anybody: left out." in told.err


def test_predict_tells_zeros_of_a_single_body(tmp_path, capsys):
    model_file.write(tmp_path / "m.safetensors", tiny_models.make(layout=layouts.NTU_25))
    body = ntu_files.person(0, 9)
    body[[2, 3]] = 0
    path, out = tmp_path / "a.skeleton", tmp_path / "out.jsonl"
    path.write_bytes(ntu_files.skeleton_text(ntu_files.film(10, (7, range(1, 10), body))))
    amr_jax_command(
        ["predict", f"--checkpoint={tmp_path}/m.safetensors", f"--json={out}", f"{path}"]
    )
    row = json.loads(out.read_text())
    assert (row["frames"], row["empty_frames"], row["used_frames"]) == (10, 3, 7)
    assert f"note: {path}: 3 frames without anybody: left out." in capsys.readouterr().err


def test_predict_of_a_video_and_of_its_instances(tmp_path, capsys):
    model = tiny_models.make(layout=layouts.NTU_25)
    labels = "1,0,6,2\n51,6,10,2\n"
    raw_sets.write_pku(tmp_path, videos=("0002-L",), labels=labels, empty=(0, 2, 9))
    file = tmp_path / "skeleton" / "0002-L.txt"
    (whole,) = read_inputs.read([str(file)], model, read_inputs.Options())
    options = read_inputs.Options(labels=str(tmp_path / "label"))
    first, second = read_inputs.read([str(file)], model, options)
    assert [len(found.joints) for found in (whole, first, second)] == [7, 4, 3]
    assert [found.findings["empty_frames"] for found in (whole, first, second)] == [3, 2, 1]
    assert "0002-L.txt: 3 frames without anybody: left out." in capsys.readouterr().err


@pytest.mark.parametrize("scores", [None, 10.0])
def test_a_model_file_remembers_its_scores(scores, tmp_path):
    path = tmp_path / "m.safetensors"
    model_file.write(path, in_image(scores=scores))
    assert model_file.read(path).input.scores == scores


@pytest.mark.parametrize("scores", ["drop", 0, -1.0, float("inf"), "ten", True, [1], 10**400])
def test_a_model_file_with_scores_that_do_not_fit(scores, tmp_path):
    path = tmp_path / "m.safetensors"
    model_file.write(path, in_image(scores=scores))
    with pytest.raises(BadFile, match="scores "):
        model_file.read(path)


def test_a_model_file_without_scores_is_one_of_an_earlier_version(tmp_path):
    path = tmp_path / "m.safetensors"
    model_file.write(path, in_image())
    described = model_text.of(in_image())["input"]
    assert {"scores", "body_frame"}.isdisjoint(described)
    assert model_text.of(in_image(scores=3.0))["input"] == described | {"scores": 3.0}
    assert model_file.read(path).input == in_image().input
