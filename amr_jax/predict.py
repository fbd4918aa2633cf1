r"""Command: classifies the sequences in files of skeletons, or writes their features.

    python -m amr_jax.predict --checkpoint=DIR FILE…
    python -m amr_jax.predict --checkpoint=DIR --embeddings=OUT.npz FILE…

DIR is the workdir of an evaluation that trained a classifier, or the model file in it; for features
also the workdir of a pre-training run. FILE is a `.skeleton` of NTU RGB+D, a `.txt` of PKU-MMD, a
`.json` of NW-UCLA or of a pose estimator (MediaPipe, MMPose, COCO, Azure Kinect), a `.bvh`, a table
of joints in `.csv`, a `.npy` or `.npz` of shape (T, M, V, C) or (T, V, C), a `.pkl` of PYSKL with
many sequences, one of these in an archive (`archive.zip!member`), or a folder of OpenPose's frames.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("predict")


import argparse
import collections
import dataclasses
import re
import sys
from pathlib import Path

from amr_jax.errors import UserError
from amr_jax.inference import model_file, predict, read_file, read_inputs, windows
from amr_jax.inference.load import load_model
from amr_jax.run import paths, workdir

PICTURES = (".png", ".pdf", ".svg")
# Folders, and a file with the sequence in it, whose name may hold slashes.
_NAME = re.compile(r"(?:.*/)?([^/\[\]]+(?:\[.*\])?)", re.DOTALL)


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.predict`."""
    if not flags.files:
        raise UserError("give at least one file: python -m amr_jax.predict --checkpoint=DIR FILE…")
    if flags.json and flags.embeddings:
        raise UserError("--json is for predictions and --embeddings for features: give only one.")
    if flags.readout and not flags.embeddings:
        raise UserError(f"--readout={flags.readout}: expected --embeddings=OUT.npz beside it.")
    for flag in ("stride", "fps", "draw"):
        if getattr(flags, flag) and not flags.window:
            raise UserError(f"--{flag} is for --window=FRAMES or --window=SECONDSs; give that too.")
    if flags.draw and (flags.embeddings or Path(flags.draw).suffix.lower() not in PICTURES):
        raise UserError(f"--draw={flags.draw}: expected predictions, and {', '.join(PICTURES)}.")
    options = read_file.Options(labels=flags.labels, gaps=flags.gaps)
    checkpoint = paths.absolute(flags.checkpoint)
    inputs = [checkpoint, checkpoint / model_file.NAME, *read_file.on_disk(flags.files, options)]
    for flag in ("json", "embeddings", "draw"):
        if (path := getattr(flags, flag)) and path != "-":
            workdir.refuse_own_file(path, f"--{flag}")
            paths.refuse_input(path, f"--{flag}", inputs)
    model = load_model(flags.checkpoint, flags.step, flags.dataset)
    if not flags.embeddings and model.head is None:
        raise UserError(
            f"{flags.checkpoint} holds an encoder without a classifier: give --embeddings=OUT.npz "
            "for its features, or train a classifier on it first (python -m amr_jax.evaluate "
            "--config=configs/linear.py:… --config.pretrained=…) and give that workdir."
        )
    if flags.window:
        cut = windows.parse(flags.window, flags.stride, flags.fps, model.input.max_frames)
        options = dataclasses.replace(options, windows=cut)
    inputs, skip = read_inputs.read(flags.files, model, options), flags.on_bad_file == "skip"
    if flags.embeddings:
        skipped = predict.embed(model, inputs, flags.embeddings, skip, flags.readout or "mean")
    else:
        rows: dict[str, list[dict]] = {}
        skipped = predict.classify(
            model, inputs, flags.json, skip, options.windows,
            lambda row: rows.setdefault(row["file"], []).append(row) if flags.draw else None,
        )  # fmt: skip
        if rows:
            _draw(rows, options.windows, flags.draw)
    if skipped:
        print(f"note: {skipped:,} skipped, see above.", file=sys.stderr)


def _draw(rows: dict[str, list[dict]], cut: windows.Windows, out: str) -> None:
    """Draws the labels of all windows over time."""
    from amr_jax.pictures import style, timeline

    names = collections.Counter(map(_short, rows))
    files = {
        file if names[_short(file)] > 1 else _short(file): [
            (cut.time(row["start"]), cut.time(row["end"]), row["class"], row["probability"])
            for row in of_file
        ]
        for file, of_file in rows.items()
    }
    style.save(timeline.timeline(files, "seconds" if cut.fps else "frames"), out)
    count = sum(map(len, files.values()))
    print(
        f"{out}: {count:,} windows of {cut.frames} frames, one every {cut.stride}", file=sys.stderr
    )


def _short(file: str) -> str:
    """The name without its folders: `clips/t.csv[s1/x]` -> `t.csv[s1/x]`."""
    name = _NAME.fullmatch(file)
    return name[1] if name else Path(file).name
