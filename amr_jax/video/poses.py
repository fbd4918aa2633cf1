"""Poses of a person in a video, by `pose_worker.py` in the Python that has MediaPipe."""

import collections
import dataclasses
import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from amr_jax.errors import UserError
from amr_jax.run import console
from amr_jax.skeleton import derived
from amr_jax.skeleton.layouts import MEDIAPIPE_33

VARIABLE = "AMR_POSE_PYTHON"
MAKE = (
    "python3.11 -m venv ~/posevenv",
    "~/posevenv/bin/pip install mediapipe==0.10.21 imageio-ffmpeg",
)
VISIBLE = 0.5  # MediaPipe's visibility from which a joint is drawn, and measured with

_WORKER = Path(__file__).with_name("pose_worker.py")
_TORSO = [
    MEDIAPIPE_33.joints.index(f"{s} {j}") for s in ("left", "right") for j in ("shoulder", "hip")
]
_HIPS = list(MEDIAPIPE_33.centre)
_SMOOTHED = 9  # frames, of the median that the scale of the image is smoothed with


@dataclasses.dataclass(frozen=True)
class Poses:
    """The landmarks of one person; zeros in frames without anybody.

    Attributes:
      image: (T, 33, 3) float32, x and y in pixels, and visibility.
      world: (T, 33, 3) float32, metres from the middle of the hips; x right, y down, z away.
      fps: frames a second.
      size: width and height of the video.
    """

    image: np.ndarray
    world: np.ndarray
    fps: float
    size: tuple[int, int]

    @property
    def here(self) -> np.ndarray:
        """(T,) bool, frames in which somebody is."""
        return self.world.any(axis=(1, 2))

    def in_space(self) -> np.ndarray:
        """Joints (T, 33, 3) in metres on a Kinect's axes: x to the image's left, y up, z away.

        MediaPipe's landmarks stay around the hips. They are moved by where the hips are in the
        image, at the scale (metres a pixel) of the torso there; steps towards the camera or away
        from it are lost.
        """
        scale = ndimage.median_filter(self._scale(), _SMOOTHED, mode="nearest")
        hips = self.image[:, _HIPS, :2].mean(axis=1) - np.array(self.size) / 2
        moved = self.world.copy()
        moved[..., :2] += (hips * scale[:, None])[:, None]
        return np.where(self.here[:, None, None], moved * [-1, -1, 1], 0).astype(np.float32)

    def _scale(self) -> np.ndarray:
        """Metres a pixel at the torso, (T,); frames without anybody take the value before them.

        The first ones take the first value.
        """
        image, world = self.image[:, _TORSO, :2], self.world[:, _TORSO, :2]
        image, world = (x - x.mean(axis=1, keepdims=True) for x in (image, world))
        square = np.square(image).sum(axis=(1, 2))
        scale = np.where(square > 0, (image * world).sum(axis=(1, 2)) / np.maximum(square, 1e-9), 0)
        known = np.maximum.accumulate(np.where(self.here, np.arange(len(scale)), 0))
        return scale[np.maximum(known, self.here.argmax())]

    def of(self, joints: Sequence[str], channels: str) -> np.ndarray:
        """These joints, (T, 1, V, C) with `channels` as of `layouts.CHANNELS`; see `derived`.

        Raises:
          UserError: a joint is neither MediaPipe's nor the mean of some.
        """
        weights = derived.weights(MEDIAPIPE_33, joints)
        values = self.in_space() if channels == "xyz" else self.image[..., : len(channels)]
        return np.einsum("vj,tjc->tvc", weights, values)[:, None].astype(np.float32)

    def content(self) -> bytes:
        """A `.npz` that `prepare` and `predict` read as mediapipe_33 in space."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            joints=self.in_space()[:, None],
            image=self.image,
            world=self.world,
            fps=self.fps,
            size=self.size,
        )
        return buffer.getvalue()


def interpreter(python: str | None) -> str:
    """The Python with MediaPipe: as given, or of the environment's variable, or this one."""
    return os.path.expanduser(python or os.environ.get(VARIABLE) or sys.executable)


def estimate(video: str, python: str) -> Poses:
    """The poses in a video.

    Raises:
      UserError: no MediaPipe or ffmpeg there; no video; nobody in any frame.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "poses.npz")
        _call(python, f"poses in {os.path.basename(video)}", "pose", video, out)
        with np.load(out) as arrays:
            size = tuple(map(int, arrays["size"]))
            poses = Poses(arrays["image"], arrays["world"], float(arrays["fps"]), size)
    if not poses.here.any():
        raise UserError(
            f"{video}: found nobody in {len(poses.here):,} frames; expected a person who is seen "
            "from head to hips, at least."
        )
    return poses


def draw(video: str, poses: Poses, labels: Sequence[str], out: str, python: str) -> None:
    """Writes the video as .mp4 with the skeleton and the label of each frame."""
    # Imported late: pictures need matplotlib.
    from matplotlib.colors import to_rgb

    from amr_jax.pictures import skeleton

    lines = skeleton.lines(MEDIAPIPE_33)
    with tempfile.TemporaryDirectory() as folder:
        drawing = os.path.join(folder, "drawing.npz")
        np.savez(
            drawing,
            points=poses.image[..., :2],
            found=poses.image[..., 2] > VISIBLE,
            bones=[line[:2] for line in lines],
            colours=[np.multiply(255, to_rgb(line[2])).astype(int) for line in lines],
            labels=np.array(labels, str),
        )
        _call(python, f"drawing {os.path.basename(out)}", "draw", video, drawing, out)


def _call(python: str, what: str, *arguments: str) -> None:
    """Runs the worker, and shows its progress; `UserError` if it fails."""
    errors: collections.deque[str] = collections.deque(maxlen=20)  # MediaPipe writes a lot
    command = [python, str(_WORKER), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        process = subprocess.Popen(command, **pipes, text=True, errors="replace", env=environment)
    except OSError as error:
        raise UserError(
            f"--pose_python={python}: cannot be started ({error.strerror}). {_advice()}"
        ) from error
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    told, done = "", 0
    with process, console.progress_bar(what) as advance:
        for line in process.stdout:
            kind, _, rest = line.strip().partition(" ")
            if kind in ("error", "missing"):
                told = f"{rest} {_advice()}" if kind == "missing" else rest
            elif kind == "done":
                now, total = map(int, rest.split())
                advance(now - done, f"frame {now:,} of {total:,}" if total else f"frame {now:,}")
                done = now
    reader.join()
    if process.returncode == 2 and told:
        raise UserError(told)
    if process.returncode:
        raise UserError(
            f"{what}: {python} ended with status {process.returncode}:\n  "
            + "\n  ".join(line.rstrip() for line in list(errors)[-5:])
        )


def _advice() -> str:
    return (
        "Make an environment with MediaPipe:\n  "
        + "\n  ".join(MAKE)
        + f"\nand name its Python: --pose_python=~/posevenv/bin/python, or {VARIABLE}."
    )
