r"""Command: poses, actions and pictures of a video.

    amr-jax demo VIDEO.mp4 --checkpoint=MODEL --out=DIR --pose_python=~/posevenv/bin/python

MODEL is the workdir of an evaluation that trained a classifier, its model file, or the name of a
shipped model. DIR gets `poses.npz` (33 key points, which `predict` and `prepare` read),
`predictions.jsonl` (a line for each window), `timeline.png` and `annotated.mp4`.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("demo")


import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from amr_jax.errors import BadFile, UserError
from amr_jax.inference import predict, read_inputs, windows
from amr_jax.inference.apply import Model
from amr_jax.inference.load import load_model
from amr_jax.inference.read_file import Sequence
from amr_jax.inference.windows import Windows
from amr_jax.pictures import style, timeline
from amr_jax.run import console, paths, workdir
from amr_jax.skeleton import derived
from amr_jax.skeleton.layouts import MEDIAPIPE_33
from amr_jax.video import poses
from amr_jax.video.poses import Poses

_WINDOW_S = 2.0  # the default
_ANY_FPS = 1000.0  # for a look at the flags, before the video's own is known

_ROWS, _PICTURE, _VIDEO = "predictions.jsonl", "timeline.png", "annotated.mp4"
_POSES = "poses.npz"


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.demo`."""
    if len(flags.files) != 1:
        raise UserError("give one video: amr-jax demo VIDEO --checkpoint=MODEL --out=DIR")
    video, out = Path(flags.files[0]).expanduser().absolute(), Path(flags.out).expanduser()
    if not video.is_file():
        raise BadFile(video, "no such file", "a video")
    if out.exists() and not out.is_dir():
        raise BadFile(out, "a file", "a folder to write, for --out")
    for name in (_ROWS, _PICTURE, _VIDEO, _POSES):
        paths.refuse_input(str(out / name), "--out", [video])
    model = load_model(flags.checkpoint)
    if model.head is None:
        raise UserError(f"{flags.checkpoint} holds an encoder without a classifier; expected both.")
    # What is wrong in model or flags is told before the poses, which take long.
    derived.weights(MEDIAPIPE_33, model.input.joints)
    windows.parse(flags.window or "2s", flags.stride, _ANY_FPS, sys.maxsize)
    python = poses.interpreter(flags.pose_python)
    found = poses.estimate(str(video), python)
    # Everything is made before the folder is: what fails leaves nothing behind.
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        (made / _POSES).write_bytes(found.content())
        rows, cut = _classified(model, found, video.name, flags, str(made / _ROWS))
        if not rows:
            raise UserError(
                f"{video}: found nobody in any window of {cut.frames} frames, one every "
                f"{cut.stride}; expected a longer --window or a shorter --stride."
            )
        spans = [
            (cut.time(r["start"]), cut.time(r["end"]), r["class"], r["probability"]) for r in rows
        ]
        style.save(timeline.timeline({video.name: spans}, "s"), made / _PICTURE)
        poses.draw(str(video), found, _labels(rows, found.here), str(made / _VIDEO), python)
        out.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            workdir.write(out / file.name, file.read_bytes())
    console.say(
        f"{out}: {_VIDEO}, {_PICTURE}, {_ROWS} ({len(rows):,} windows of {cut.frames} frames), "
        f"{_POSES} ({found.here.sum():,} of {len(found.here):,} frames show somebody)"
    )


def _classified(
    model: Model, found: Poses, name: str, flags: argparse.Namespace, path: str
) -> tuple[list[dict], Windows]:
    """The rows of all windows in which somebody is, which are also printed and written."""
    longest = model.input.max_frames
    window = flags.window or str(min(max(1, round(_WINDOW_S * found.fps)), longest))
    cut = windows.parse(window, flags.stride, found.fps, longest)
    sequence = Sequence(name, found.of(model.input.joints, model.input.channels))
    rows: list[dict] = []
    parts = read_inputs.parts(sequence, cut, model.input.channels)
    predict.classify(model, parts, path, skip=False, windows=cut, each=rows.append)
    return rows, cut


def _labels(rows: list[dict], here: np.ndarray) -> list[str]:
    """The label of each frame: of the window whose middle is nearest; '' where nobody is."""
    middles = np.array([(row["start"] + row["end"] - 1) / 2 for row in rows])
    nearest = np.abs(np.arange(len(here))[:, None] - middles).argmin(axis=1)
    texts = [f"{row['class']}  {100 * row['probability']:.0f} %" for row in rows]
    return [texts[at] if is_here else "" for at, is_here in zip(nearest, here, strict=True)]
