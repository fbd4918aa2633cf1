"""Estimates the pose of a person in a video, and draws on a video.

    PYTHON pose_worker.py pose VIDEO OUT.npz
    PYTHON pose_worker.py draw VIDEO DRAWING.npz OUT.mp4

A script for an environment of its own, as MediaPipe needs an older NumPy than JAX: it imports
nothing of amr_jax. `amr_jax.video.poses` calls it. It prints 'done DONE TOTAL' now and then, and
ends with status 2 after 'error TEXT', where the user can do something about it, or 'missing TEXT',
where a package is not installed.
"""

import os
import sys
import time

import numpy as np

NUM_JOINTS = 33


class Problem(Exception):
    """What the user can correct, as text."""

    kind = "error"


class Missing(Problem):
    """A package is not installed."""

    kind = "missing"


def pose(video, out):
    """Writes landmarks: `image` (T, 33, 3) pixels and visibility, `world` (T, 33, 3) metres, `fps`.

    MediaPipe finds one person, follows them from frame to frame, and smooths (`smooth_landmarks`);
    frames in which it finds nobody are zeros. World landmarks stand around the middle of the hips.
    """
    mediapipe = _module("mediapipe")
    frames, (width, height), fps, total = _opened(video)
    image, world = [], []
    with mediapipe.solutions.pose.Pose(model_complexity=1, smooth_landmarks=True) as estimator:
        for frame in _told(frames, total):
            found = estimator.process(frame)
            image.append(_rows(found.pose_landmarks) * [width, height, 1, 1])
            world.append(_rows(found.pose_world_landmarks)[:, :3])
    if not image:
        raise Problem(f"{video}: found no frame; expected a video.")
    image, world = np.array(image, np.float32), np.array(world, np.float32)
    np.savez(out, image=image[..., [0, 1, 3]], world=world, fps=fps, size=[width, height])


def draw(video, drawing, out):
    """Writes the video with skeletons and labels.

    `drawing`: `points` (T, V, 2) pixels, `found` (T, V), `bones` (B, 2), `colours` (B, 3) of 0 to
    255, `labels` (T,) texts.
    """
    writer_of = _module("imageio_ffmpeg").write_frames
    with np.load(drawing) as arrays:
        given = {name: arrays[name] for name in arrays}
    frames, size, fps, total = _opened(video)
    # Even sizes, which H.264 needs.
    writer = writer_of(out, size, fps=fps, macro_block_size=2, ffmpeg_log_level="error")
    writer.send(None)
    for k, frame in enumerate(_told(frames, total)):
        if k < len(given["labels"]):
            frame = _drawn(frame, k, given)
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def _drawn(frame, k, given):
    """One frame with its skeleton and its label."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(frame)
    on, height = ImageDraw.Draw(picture), frame.shape[0]
    width = max(2, height // 160)
    points, found = given["points"][k], given["found"][k]
    for (a, b), colour in zip(given["bones"], given["colours"]):  # noqa: B905 (Python 3.9)
        if found[a] and found[b]:
            ends = [tuple(map(float, points[joint])) for joint in (a, b)]
            on.line(ends, fill=(255, 255, 255), width=width + 2)
            on.line(ends, fill=tuple(map(int, colour)), width=width)
    label = str(given["labels"][k])
    if label:
        # As large as it fits, from a twentieth of the height down.
        for size in range(max(12, height // 20), 7, -1):
            font, margin = ImageFont.truetype(_font(), size), size // 3
            box = on.textbbox((margin, margin), label, font=font)
            if box[2] + margin <= frame.shape[1]:
                break
        on.rectangle((0, 0, box[2] + margin, box[3] + margin), fill=(0, 0, 0))
        on.text((margin, margin), label, fill=(255, 255, 255), font=font)
    return np.asarray(picture)


def _font():
    """The file of a font with more letters than Pillow's own; MediaPipe needs matplotlib."""
    return os.path.join(_module("matplotlib").get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def _opened(video):
    """Frames (height, width, 3) uint8 RGB, (width, height), frames a second, expected frames."""
    ffmpeg = _module("imageio_ffmpeg")
    try:
        raw = ffmpeg.read_frames(video, pix_fmt="rgb24")
        meta = next(raw)
        (width, height), fps = meta["size"], float(meta["fps"])
        if not fps > 0:
            raise ValueError("no frame rate")
    except (OSError, RuntimeError, ValueError, KeyError, IndexError, StopIteration) as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        text = f"{video}: found no video that ffmpeg can read ({last}); expected .mp4, .avi, …"
        raise Problem(text) from error
    frames = (np.frombuffer(x, np.uint8).reshape(height, width, 3) for x in raw)
    seconds = float(meta.get("duration") or 0)
    return frames, (width, height), fps, round(fps * seconds) if seconds < 1e6 else 0


def _rows(landmarks):
    """x, y, z, visibility of landmarks, (33, 4); zeros for None."""
    if landmarks is None:
        return np.zeros((NUM_JOINTS, 4))
    return np.array([[one.x, one.y, one.z, one.visibility] for one in landmarks.landmark])


def _told(frames, total):
    """The frames; tells every second how many are done."""
    last = time.monotonic()
    for k, frame in enumerate(frames):
        yield frame
        if time.monotonic() > last + 1:
            last = time.monotonic()
            print("done", k + 1, total, flush=True)


def _module(name):
    try:
        return __import__(name)
    except ImportError as error:
        raise Missing(f"{sys.executable}: found no {name} ({error}).") from error


if __name__ == "__main__":
    try:
        {"pose": pose, "draw": draw}[sys.argv[1]](*sys.argv[2:])
    except Problem as problem:
        print(problem.kind, str(problem).replace("\n", " "), flush=True)
        sys.exit(2)
