"""The command demo, on a drawn video of the built-in skeletons; MediaPipe alone is replaced."""

import dataclasses
import json
import sys

import matplotlib.image
import numpy as np
import pytest

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.data.readers import files, ntu
from amr_jax.inference import model_file, read_inputs
from amr_jax.skeleton.layouts import AZURE_KINECT_32, MEDIAPIPE_33, NTU_25
from amr_jax.video import poses
from tests import tiny_models

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")

WIDTH, HEIGHT, FPS, PIXELS_A_METRE = 96, 128, 10, 40.0
SHOWN = np.r_[0:20, 28:34]  # in the frames between, nobody

# Stands for MediaPipe: finds the known pose of each frame that is not black.
FAKE = """
import os, types
import numpy as np
known = np.load(os.path.join(os.path.dirname(__file__), "known.npz"))

class Pose:
    def __init__(self, model_complexity, smooth_landmarks):
        self.frame = -1
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
    def process(self, image):
        self.frame += 1
        def landmarks(numbers):
            if image.max() < 128:
                return None
            rows = [types.SimpleNamespace(x=x, y=y, z=z, visibility=0.9) for x, y, z in numbers]
            return types.SimpleNamespace(landmark=rows)
        return types.SimpleNamespace(
            pose_landmarks=landmarks(known["image"][self.frame]),
            pose_world_landmarks=landmarks(known["world"][self.frame]),
        )

solutions = types.SimpleNamespace(pose=types.SimpleNamespace(Pose=Pose))
"""


@pytest.fixture(scope="module")
def known(raw_ntu):
    """Joints (34, 25, 3) of a built-in performance, 0 in the frames without anybody."""
    path = sorted(raw_ntu.glob("*A010.skeleton"))[0]
    joints = ntu.read_joints(files.RawFile(str(path)))[: SHOWN[-1] + 1, 0]
    joints -= joints[0, 1]
    joints[np.setdiff1d(np.arange(len(joints)), SHOWN)] = 0
    return joints


@pytest.fixture(scope="module")
def place(known, tmp_path_factory):
    """A folder with `video.mp4`, `model.safetensors`, and `python`, which finds these poses."""
    folder = tmp_path_factory.mktemp("demo")
    # MediaPipe's joints that a Kinect has, and the head in the place of its face.
    names = [name if name in NTU_25.joints else "head" for name in MEDIAPIPE_33.joints]
    names = ["head" if "finger" in name else name for name in names]
    joints = known[:, [NTU_25.joints.index(name) for name in names]]
    hips = joints[:, list(MEDIAPIPE_33.centre)].mean(axis=1, keepdims=True)
    place = [0.5, 0.5, 0] - joints * np.array([1 / WIDTH, 1 / HEIGHT, 0]) * PIXELS_A_METRE
    fake = folder / "fake" / "mediapipe"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text(FAKE)
    np.savez(fake / "known.npz", image=place, world=(joints - hips) * [-1, -1, 1])
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={fake.parent} exec {sys.executable} "$@"\n')
    python.chmod(0o755)

    size = {"fps": FPS, "macro_block_size": 2, "ffmpeg_log_level": "error"}
    writer = imageio_ffmpeg.write_frames(str(folder / "video.mp4"), (WIDTH, HEIGHT), **size)
    writer.send(None)
    for k in range(len(known)):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if k in SHOWN:
            for x, y, _ in place[k] * [WIDTH, HEIGHT, 1]:
                frame[int(y) - 2 : int(y) + 2, int(x) - 2 : int(x) + 2] = 255
        writer.send(frame)
    writer.close()
    model = tiny_models.make("linear", layout=NTU_25)
    model_file.write(folder / "model.safetensors", model)
    return folder


def demo(place, *more, video="video.mp4", python="python", model="model.safetensors"):
    given = ["demo", place / video, f"--checkpoint={place / model}"]
    amr_jax_command([*map(str, given), f"--pose_python={place / python}", *map(str, more)])


def test_poses_in_space_are_the_skeletons_that_were_drawn(place, known):
    found = poses.estimate(str(place / "video.mp4"), str(place / "python"))
    assert (found.fps, found.size) == (FPS, (WIDTH, HEIGHT))
    np.testing.assert_array_equal(np.flatnonzero(found.here), SHOWN)
    joints = found.of(NTU_25.joints, "xyz")[:, 0]
    shared = [k for k, name in enumerate(NTU_25.joints) if name in MEDIAPIPE_33.joints]
    assert len(shared) == 16
    # Where they are across the image, and how far each is in depth from the hips.
    np.testing.assert_allclose(joints[:, shared, :2], known[:, shared, :2], atol=2e-3)
    depth = known[..., 2] - known[:, [12, 16], 2].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(joints[:, shared, 2], depth[:, shared], atol=1e-5)
    assert np.abs(joints[SHOWN, 0] - joints[SHOWN][:, [12, 16]].mean(axis=1)).max() < 1e-6


def test_the_scale_of_the_image_does_not_suffer_from_frames_without_anybody(place):
    found = poses.estimate(str(place / "video.mp4"), str(place / "python"))
    late = dataclasses.replace(found, image=found.image.copy(), world=found.world.copy())
    late.image[:10] = late.world[:10] = 0
    np.testing.assert_allclose(late.in_space()[10:], found.in_space()[10:], atol=2e-3)
    assert not late.in_space()[:10].any()


def test_all_files_of_a_video(place, known, tmp_path, capsys):
    out = tmp_path / "out"
    demo(place, f"--out={out}", "--window=0.8s")
    names = {"annotated.mp4", "poses.npz", "predictions.jsonl", "timeline.png"}
    assert {path.name for path in out.iterdir()} == names
    assert (
        "(7 windows of 8 frames), poses.npz (26 of 34 frames show somebody)"
        in capsys.readouterr().out
    )
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    spans = [(row["start"], row["end"]) for row in rows]
    assert spans == [(0, 8), (4, 12), (8, 16), (12, 20), (16, 24), (24, 32), (26, 34)]
    assert (rows[1]["start_s"], rows[1]["end_s"]) == (0.4, 1.2)
    assert sum(one["probability"] for one in rows[0]["top"]) == pytest.approx(1)
    assert matplotlib.image.imread(out / "timeline.png").shape[1] > 1000

    before, after = (_frames(path) for path in (place / "video.mp4", out / "annotated.mp4"))
    assert before.shape == after.shape == (34, HEIGHT, WIDTH, 3)
    changed = np.abs(before.astype(int) - after).max(axis=-1) > 60
    assert changed[0].mean() > 0.02  # a skeleton and a label
    assert not changed[24].any()  # nobody

    model = tiny_models.make("linear", layout=MEDIAPIPE_33)
    options = read_inputs.Options()
    (read,) = read_inputs.read([str(out / "poses.npz")], model, options)
    assert read.joints.shape == (26, 1, 33, 3)


def test_what_is_wrong_is_told_and_nothing_is_written(place, tmp_path, capsys):
    (place / "text.mp4").write_text("no video")
    missing = tmp_path / "missing"
    missing.mkdir()
    for name in ("mediapipe", "imageio_ffmpeg"):
        (missing / name).mkdir()
        (missing / name / f"{name}.py").write_text("raise ImportError('not here')")
        python = missing / f"no_{name}"
        path = f"{missing}/{name}:{place}/fake"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
    out = f"--out={tmp_path}/out"
    lacking = tiny_models.make("linear", layout=AZURE_KINECT_32)
    model_file.write(place / "azure.safetensors", lacking)
    for case, messages in (
        ({"model": "azure.safetensors", "python": "absent"}, ["mediapipe_33 has no spine navel"]),
        ({"more": "--window=soon", "python": "absent"}, ["--window=soon: expected frames"]),
        ({"python": missing / "no_mediapipe"}, ["found no mediapipe", *poses.MAKE]),
        ({"python": missing / "no_imageio_ffmpeg"}, ["found no imageio_ffmpeg", *poses.MAKE]),
        ({"python": "absent"}, ["absent: cannot be started", "AMR_POSE_PYTHON"]),
        (
            {"video": "gap.mp4", "more": "--window=1 --stride=9"},
            ["nobody in any window of 1"],
        ),
        ({"video": "text.mp4"}, ["text.mp4: found no video that ffmpeg can read"]),
        ({"video": "none.mp4"}, ["none.mp4: found no such file"]),
        ({"video": "black.mp4"}, ["black.mp4: found nobody in 3 frames"]),
    ):
        if case.get("video") in ("black.mp4", "gap.mp4"):  # three frames; of gap, one with somebody
            options = {"fps": FPS, "macro_block_size": 2, "ffmpeg_log_level": "error"}
            name = str(place / case["video"])
            writer = imageio_ffmpeg.write_frames(name, (WIDTH, HEIGHT), **options)
            writer.send(None)
            for k in range(3):
                shown = case["video"] == "gap.mp4" and k == 1
                writer.send(np.full((HEIGHT, WIDTH, 3), 255 * shown, np.uint8))
            writer.close()
        with pytest.raises(SystemExit) as ended:
            demo(place, out, *case.pop("more", "").split(), **case)
        errors = capsys.readouterr().err
        assert ended.value.code == 2, errors
        for message in messages:
            assert message in errors
        assert not (tmp_path / "out").exists()


def _frames(path):
    raw = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    width, height = next(raw)["size"]
    return np.array([np.frombuffer(x, np.uint8).reshape(height, width, 3) for x in raw])
