"""The built-in data: reproducible, anatomically plausible, with the errors of real files."""

import collections
import json
import subprocess
import sys

import numpy as np
import pytest

from amr_jax.data.readers import files, ntu, search
from amr_jax.errors import UserError
from amr_jax.skeleton import layouts
from amr_jax.synthetic import performance, sensor, skeleton_file, write, writer
from amr_jax.synthetic.actions import ACTIONS
from amr_jax.synthetic.performance import Take

XSUB_TRAIN = (1, 2, 4, 5, 8, 9)
BONES = np.array(layouts.NTU_25.bones)


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "raw"
    assert write(folder, performers=2, takes=1, num_workers=0)
    return folder


@pytest.fixture(scope="module")
def recordings():
    """(take, camera, persons, (frames, tracks)) of a set of 750 recordings."""
    rows = []
    for take in writer.plan(performers=10, takes=1, actions=ACTIONS):
        people = performance.perform(0, take)
        rows += [(take, c, people, sensor.record(0, take, c, people)) for c in writer.CAMERAS]
    return rows


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_same_bytes_in_any_number_of_processes(tmp_path):
    settings = {"performers": 1, "takes": 1, "actions": (1, 27, 55), "cameras": (1, 3)}
    for name, seed, num_workers in (("a", 7, 0), ("b", 7, 2), ("c", 8, 0)):
        write(tmp_path / name, seed=seed, num_workers=num_workers, **settings)
    a, b, c = (content(tmp_path / name) for name in "abc")
    assert len(a) == 6 + 1  # and the settings
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a)


def test_a_file_does_not_depend_on_what_else_is_written(small_set, tmp_path):
    write(tmp_path / "one", performers=1, takes=2, actions=(9,), cameras=(2,))
    name = "S001C002P001R001A009.skeleton"
    assert (tmp_path / "one" / name).read_bytes() == (small_set / name).read_bytes()


def test_names_cover_actions_cameras_and_both_sides_of_xsub(small_set):
    names = [ntu.parse_name(path.name) for path in small_set.glob("*.skeleton")]
    assert len(names) == len(set(names)) == 2 * 3 * len(ACTIONS)
    assert len(ACTIONS) >= 20
    assert sum(a >= 50 and ACTIONS[a].num_people == 2 for a in ACTIONS) >= 4
    assert {n.action for n in names} == set(ACTIONS)
    assert {n.camera for n in names} == {1, 2, 3}
    assert {n.subject in XSUB_TRAIN for n in names} == {True, False}


def test_names_stay_unique_at_the_size_of_the_real_set():
    plan = writer.plan(performers=40, takes=writer.MAX_TAKES, actions=(1,))
    assert len(set(plan)) == len(plan) == 40 * writer.MAX_TAKES
    assert {t.setup for t in plan} == set(range(1, 18))
    ten = {t.performer for t in writer.plan(10, 1, (1,))}
    assert ten == set(range(1, 11))


def test_files_are_read_back_with_the_right_number_of_actors(small_set):
    empty = 0
    for raw in search.find(small_set, ".skeleton", "NTU files")[::3]:
        try:
            sequence = ntu.read(raw)
        except files.NoBody:
            empty += 1
            continue
        joints = sequence["joints"]
        actors = [joints[:, m].any() for m in range(2)]
        assert actors == [True, ACTIONS[sequence["action"]].num_people == 2], raw
        assert 20 < len(joints) <= performance.MAX_FRAMES
        # Metres, in front of the camera, the head above the feet.
        assert 1.0 < np.median(joints[:, 0, :, 2]) < 6.0
        assert np.median(joints[:, 0, 3, 1] - joints[:, 0, 19, 1]) > 0.5
    assert empty <= 2


def test_text_holds_what_was_tracked():
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 3, (3, 25, 3)).round(5)
    joints[0, 0] = [0.0, -0.000001, 12.34567]
    tracks = [
        sensor.Track(2**56 + 1, np.array([0, 2]), joints[:2], np.full((2, 25), 2)),
        sensor.Track(2**56 + 2, np.array([2]), joints[2:], np.full((1, 25), 1)),
    ]
    text = skeleton_file.text(4, tracks)
    lines = text.decode("ascii").split("\n")
    assert lines[:2] == ["4", "1"]
    assert lines[2].startswith(f"{2**56 + 1} 0 1 1 1 1 0 ")
    assert [len(line.split()) for line in lines[2:5]] == [10, 1, 12]
    assert lines[4].startswith("0.00000 0.00000 12.34567 ")
    recording = ntu.parse(text, "made up")
    assert recording.num_frames == 4
    assert [b.body_id for b in recording.bodies] == [2**56 + 1, 2**56 + 2]
    assert [b.frames.tolist() for b in recording.bodies] == [[0, 2], [2]]
    for body, track in zip(recording.bodies, tracks, strict=True):
        np.testing.assert_allclose(body.joints, track.joints, atol=6e-6)


@pytest.mark.parametrize("decimals", [2, 5])
def test_fixed_point_agrees_with_the_formatting_of_python(decimals):
    values = np.random.default_rng(1).normal(0, 20, (50, 4))
    values[0] = [0.0, -0.0, 9.99, -9.999999]
    text, keep = skeleton_file.fixed_point(values, 4, decimals)
    found = text[keep].tobytes().decode().split()
    expected = [f"{v:.{decimals}f}" for v in values.ravel()]
    assert found == ["0." + "0" * decimals if float(e) == 0 else e for e in expected]


def test_bones_keep_their_lengths_before_the_sensor(recordings):
    for _, _, people, _ in recordings[:: 3 * 7]:
        for joints in people:
            bones = joints[:, BONES[:, 0]] - joints[:, BONES[:, 1]]
            lengths = np.linalg.norm(bones, axis=-1)
            assert np.ptp(lengths, axis=0).max() < 1e-9
            assert lengths.min() > 0.01


def test_performers_differ_in_size_and_keep_it():
    def height(performer, replication):
        joints = performance.perform(0, Take(1, performer, replication, 36))[0]
        return np.linalg.norm(joints[0, BONES[:, 0]] - joints[0, BONES[:, 1]], axis=-1).sum()

    heights = [height(p, 1) for p in range(1, 11)]
    assert max(heights) > 1.1 * min(heights)
    assert height(3, 1) == pytest.approx(height(3, 2), abs=1e-9)


def test_every_action_moves_and_two_persons_face_each_other(recordings):
    for take, _, people, _ in recordings[::3]:
        assert performance.MIN_FRAMES <= len(people[0]) <= performance.MAX_FRAMES
        assert len(people) == ACTIONS[take.action].num_people
        assert all(np.isfinite(joints).all() for joints in people)
        assert all(joints[..., 1].min() > -0.15 for joints in people)  # above the floor
        assert max(np.ptp(people[0][:, v], axis=0).max() for v in (3, 7, 11, 15, 19)) > 0.03
        if len(people) == 2:
            apart = np.linalg.norm((people[0] - people[1])[:, 0, [0, 2]], axis=-1)
            assert 0.2 < apart.min() < apart.max() < 4.0


def test_cameras_see_the_same_scene_from_45_degrees():
    views = [sensor.camera(0, 5, number) for number in (1, 2, 3)]
    for view in views:
        np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(view.axes) == pytest.approx(1)
        x, y, z = view.see(np.array([0.0, 1.0, 0.0]))
        assert abs(x) < 1e-9
        assert abs(y) < 0.3
        assert 2 < z < 5
    angles = [np.degrees(np.arctan2(v.place[0], v.place[2])) for v in views]
    np.testing.assert_allclose(angles, [0, 45, -45], atol=12)
    # The left side of a person who faces a camera is on the left of its (mirrored) image.
    left, right = views[0].see(np.array([[0.2, 1.4, 0.0], [-0.2, 1.4, 0.0]]))
    assert left[0] < right[0]


def test_all_flaws_of_the_real_set_occur(recordings):
    found = collections.Counter()
    for take, _, _, (num_frames, tracks) in recordings:
        num_people = ACTIONS[take.action].num_people
        ids = [t.body_id for t in tracks]
        assert len(ids) == len(set(ids))
        assert all(7.2e16 < i < 7.3e16 for i in ids)
        found["one float64 for two ids"] += len({float(i) for i in ids}) < len(ids)
        found["nobody in any frame"] += not tracks
        seen = np.zeros(num_frames, int)
        for t in tracks:
            assert (np.diff(t.frames) > 0).all()
            assert 0 <= t.frames[0] <= t.frames[-1] < num_frames
            seen[t.frames] += 1
            spread = np.ptp(t.joints[..., 0], axis=1) > 0.8 * np.ptp(t.joints[..., 1], axis=1)
            found["furniture"] += spread.all() and len(t.frames) > 11
        found["frames with nobody"] += bool(tracks) and (seen == 0).any()
        found["short-lived"] += any(len(t.frames) < 12 for t in tracks)
        short = [t for t in tracks if t.frames[-1] < num_frames - 12]
        later = [t for t in tracks if t.frames[0] > 12]
        found["lost and found"] += len(tracks) == num_people + 1 and any(
            0 < b.frames[0] - a.frames[-1] < 12 for a in short for b in later
        )
        found["two long bodies"] += sum(len(t.frames) > 0.9 * num_frames for t in tracks) == 2
        found["inferred joints"] += any((t.state == sensor.INFERRED).any() for t in tracks)
    share = {what: count / len(recordings) for what, count in found.items()}
    assert 0.0005 < share.pop("nobody in any frame") < 0.02
    assert min(share.values()) > 0.02, share
    assert share["frames with nobody"] < 0.3


def noise(joints, track):
    """Standard deviation (25,) of the sensor's noise, robust against outliers."""
    return np.median(np.abs(track.joints - joints[track.frames]), axis=(0, 2)) / 0.6745


def test_hands_and_feet_are_noisier_than_the_trunk(recordings):
    sigma = np.mean(
        [
            noise(sensor.camera(0, take.setup, camera).see(people[0]), tracks[0])
            for take, camera, people, (_, tracks) in recordings[::11]
            if tracks
        ],
        axis=0,
    )
    joint = {name: sigma[i] for i, name in enumerate(layouts.NTU_25.joints)}
    assert 0.002 < joint["spine middle"] < 0.01
    assert joint["left hand tip"] > 2 * joint["spine middle"]
    assert joint["right foot"] > 2 * joint["spine middle"]


def nearest_class_mean(features, labels, train):
    features = (features - features[train].mean(0)) / (features[train].std(0) + 1e-6)
    classes = np.unique(labels)
    means = np.stack([features[train & (labels == k)].mean(0) for k in classes])
    distance = np.linalg.norm(features[~train, None] - means, axis=-1)
    return np.mean(classes[distance.argmin(1)] == labels[~train])


def test_motion_tells_the_classes_apart_and_a_single_pose_does_not(recordings):
    seen = [(take, tracks[0].joints) for take, _, _, (_, tracks) in recordings if tracks]
    labels = np.array([take.action for take, _ in seen])
    train = np.isin([take.performer for take, _ in seen], XSUB_TRAIN)
    chance = 1 / len(ACTIONS)

    def motion(joints):
        local = joints - joints[:, :1]
        speed = np.linalg.norm(np.diff(joints[::3], axis=0), axis=-1).mean(0)
        return np.concatenate([np.log(speed), np.log(local.std(0) + 0.01).ravel()])

    pose = np.stack([(joints[0] - joints[0, 1]).ravel() for _, joints in seen])
    moving = np.stack([motion(joints) for _, joints in seen])
    assert nearest_class_mean(moving, labels, train) > 10 * chance
    assert nearest_class_mean(pose, labels, train) < 5 * chance


def test_the_same_set_is_kept_and_anything_else_refused(tmp_path):
    settings = {"performers": 1, "takes": 1, "actions": (1,), "cameras": (1,)}
    out = tmp_path / "deep" / "raw"
    assert write(out, **settings)
    assert not write(out, **settings)
    described = json.loads((out / "synthetic.json").read_text())
    assert described.pop("version") == writer.VERSION
    (out / "synthetic.json").write_text(json.dumps(described | {"sources": "as in 0.1.0"}))
    before = content(out)
    assert not write(out, **settings)
    with pytest.raises(UserError, match="made with other seed"):
        write(out, seed=1, **settings)
    assert content(out) == before

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(UserError, match="holds other files"):
        write(tmp_path / "mine", **settings)
    with pytest.raises(UserError, match="is a file"):
        write(tmp_path / "mine" / "thesis.txt", **settings)
    assert content(tmp_path / "mine") == {"thesis.txt": b"irreplaceable"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"performers": 41}, "performers is 41; expected 1 to 40"),
        ({"takes": 0}, "takes is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"actions": (1, 2)}, "actions are"),
        ({"cameras": (1, 1)}, "cameras are"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path / "raw", **settings)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    written = []

    def full_disk(folder, seed, cameras, take):
        if written:
            raise OSError(28, "No space left on device")
        written.append(folder)
        (folder / "first").write_text("x")

    monkeypatch.setattr(writer, "_write_take", full_disk)
    (tmp_path / ".raw.incomplete").mkdir()  # left by a killed process
    with pytest.raises(UserError, match="No space left on device"):
        write(tmp_path / "raw", performers=1, takes=1, num_workers=0)
    assert written
    assert list(tmp_path.iterdir()) == []


def test_command_prints_an_error_without_a_traceback(tmp_path):
    (tmp_path / "x").write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "amr_jax.synthetic", f"--out={tmp_path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} holds other files")
    assert "Traceback" not in done.stderr
