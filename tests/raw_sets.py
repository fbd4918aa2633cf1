"""Writes tiny raw sets in the formats of the data sets."""

import itertools
import json
from pathlib import Path

import numpy as np


def skeleton_text(joints: np.ndarray, body_id: int = 72057594037931101) -> str:
    """A `.skeleton` file of one body, (T, 25, 3); T empty frames for joints (T, 0, 3)."""
    lines = [str(len(joints))]
    for frame in joints:
        lines.append("1" if len(frame) else "0")
        if len(frame):
            lines += [f"{body_id} 0 1 1 1 1 0 0.1 -0.2 2", "25"]
            lines += [f"{x:.6f} {y:.6f} {z:.6f} 1 2 3 4 0.1 0.2 0.3 0.4 2" for x, y, z in frame]
    return "\n".join(lines) + "\n"


def body(seed: int, num_frames: int = 3) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(size=(num_frames, 25, 3)), 6)


def write_ntu(
    folder: Path, setups=(1,), cameras=(1, 2, 3), subjects=(1, 3), actions=(1, 60)
) -> int:
    """Writes every combination once; returns their number. Subject 1 trains, subject 3 tests."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(itertools.product(setups, cameras, subjects, actions))
    for seed, (setup, camera, subject, action) in enumerate(names):
        name = f"S{setup:03d}C{camera:03d}P{subject:03d}R001A{action:03d}.skeleton"
        (folder / name).write_text(skeleton_text(body(seed)))
    return len(names)


def write_pku(
    folder: Path,
    videos=("0002-L", "0002-M", "0003-L"),
    train=("0002-L", "0002-M"),
    labels="1,0,4,2\n51,4,10,2\n",
    names=("cross-subject.txt", "cross-view.txt"),
    kinds=("skeleton", "label"),
    empty=(),
) -> None:
    """Writes videos of 10 frames with one body, the same labels for each, one split for all.

    Nobody is in the frames `empty`.
    """
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed, video in enumerate(videos):
        frames = np.concatenate([body(seed, 10).reshape(10, -1), np.zeros((10, 75))], axis=1)
        frames[list(empty)] = 0
        text = "".join(" ".join(f"{x:.6f}" for x in frame) + "\n" for frame in frames)
        (folder / kinds[0] / f"{video}.txt").write_text(text)
        (folder / kinds[1] / f"{video}.txt").write_text(labels)
    for name in names:
        (folder / name).write_text(f"Training videos:\n{', '.join(train)}\nValidation videos:\n\n")


def tiny_ucla(folder: Path) -> Path:
    """Writes records of 40 + 20 small sequences of NW-UCLA; returns their data_dir."""
    from amr_jax import prepare

    raw, data_dir = folder / "raw", folder / "data"
    raw.mkdir()
    rng = np.random.default_rng(0)
    for label, action in enumerate((1, 2, 3, 4, 5, 6, 8, 9, 11, 12)):
        for subject in (1, 2):
            for view in (1, 2, 3):
                name = f"a{action:02}_s{subject:02}_e00_v{view:02}"
                frames = 1 if label == subject == 1 else int(rng.integers(5, 40))
                steps = rng.normal(scale=0.01 * (1 + label), size=(frames, 20, 3))
                joints = rng.normal(size=(20, 3)) + steps.cumsum(axis=0)
                content = {"file_name": name, "skeletons": joints.tolist(), "label": label + 1}
                (raw / f"{name}.json").write_text(json.dumps(content))
    prepare.prepare("nw_ucla", raw, data_dir, num_workers=1)
    return data_dir
