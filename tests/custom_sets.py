"""Writes tiny custom data sets: an exchange pickle, and a folder of `.npz` files."""

import json
import pickle
from pathlib import Path

import numpy as np

from amr_jax.data import record_folder
from amr_jax.data.readers import layout_file
from amr_jax.skeleton import layouts


def annotation(number: int, label: int, num_bodies: int = 1, channels: str = "xyc") -> dict:
    """A sequence of COCO-17 as in PYSKL: a person who waves fast or slowly, by label."""
    rng = np.random.default_rng(number)
    frames = int(rng.integers(6, 14))
    pose = np.random.default_rng(0).uniform(300, 700, size=(17, len(channels.removesuffix("c"))))
    wave = np.sin((1 + 3 * label) * np.arange(frames) / 4 + rng.uniform(0, 6))[:, None, None]
    noise = rng.normal(scale=0.5, size=(num_bodies, frames, *pose.shape))
    content = {
        "frame_dir": f"S{number:03d}",
        "label": label,
        "img_shape": (1080, 1920),
        "original_shape": (1080, 1920),
        "total_frames": frames,
        "keypoint": (pose + 20 * (1 + label) * wave + noise).astype(np.float16),
    }
    if channels == "xyc":
        score = rng.uniform(0.5, 1, size=(num_bodies, frames, 17)).astype(np.float16)
        content["keypoint_score"] = score
    return content


def exchange(num_sequences: int = 12, **changes) -> dict:
    """Two classes; every third sequence is for testing, every fourth has two bodies."""
    annotations = [
        annotation(i, label=i % 2, num_bodies=2 if i % 4 == 0 else 1, **changes)
        for i in range(num_sequences)
    ]
    names = [entry["frame_dir"] for entry in annotations]
    return {
        "split": {
            "sub_train": [name for i, name in enumerate(names) if i % 3],
            "sub_val": names[::3],
        },
        "annotations": annotations,
    }


def without_records(folder: Path, sequences: int) -> str:
    """Makes an own set of which only the metadata are there: that many training sequences."""
    inner = folder / record_folder.VERSION
    inner.mkdir(parents=True)
    content = {
        "layout": layout_file.to_json(layouts.COCO_17),
        "channels": "xyz",
        "scale": 1.0,
        "longest": 90,
        "sequences": {"train": sequences, "test": 5},
    }
    (inner / "metadata.json").write_text(json.dumps(content))
    return str(folder)


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_npz(folder: Path, name: str = "a", **arrays) -> Path:
    """Writes one file; by default 4 frames of one body of COCO-17, label wave, for training."""
    path = folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "joints": np.random.default_rng(len(name)).normal(size=(4, 1, 17, 3)),
        "label": "wave",
        "split": "train",
    } | arrays
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path
