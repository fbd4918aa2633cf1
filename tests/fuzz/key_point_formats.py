"""Files of key points in the formats of pose estimators. A reader may refuse a mutant by name, or
give sound data: what a value is depends on others, so no more is required."""

import json
from pathlib import Path

import numpy as np

from amr_jax.data.readers import arrays, files, formats, keypoints
from tests.data.readers import test_formats as by_hand
from tests.fuzz import structured
from tests.fuzz.formats import Format, sound, sound_text


def _read(path: Path) -> np.ndarray:
    raw = files.RawFile(str(path))
    found = formats.read(raw)
    assert found.clips
    for clip in found.clips:
        sound_text(clip.name, *clip.joints, *clip.texts.values())
        num_joints = clip.values.shape[2]
        assert clip.scores is None or clip.scores.shape == clip.values.shape[:3]
        assert max(clip.values.shape[:2]) <= 1000, "more frames or people than in the file"
        scores = 10.0 if clip.channels == "xyc" else None
        form = arrays.Form(num_joints, clip.channels, scores=scores)
        sound(keypoints.joints(clip, form, raw, {}), num_joints, len(clip.channels))
    return np.nan_to_num(np.concatenate([clip.values.ravel() for clip in found.clips]))


def _json(*contents: object) -> list[bytes]:
    return [json.dumps(content).encode() for content in contents]


def _people(frames: int) -> list[dict]:
    return [
        {"frame_id": t, "instances": [by_hand.instance(t), by_hand.instance(t + 3)]}
        for t in range(frames)
    ]


def _annotations() -> list[bytes]:
    flat = [x for row in by_hand.points(0, 17) for x in (*row, 2)]
    entries = [{"image_id": 70 + i, "keypoints": flat, "track_id": i} for i in range(2)]
    results = [{"image_id": f"{i}.jpg", "keypoints": flat, "score": 0.5} for i in range(2)]
    return _json(by_hand.annotations(entries), results)


def _bodies(frames: int) -> dict:
    body = {"body_id": 1, "joint_positions": by_hand.points(0, 32, 3)}
    return {"frames": [{"frame_id": t, "bodies": [body]} for t in range(frames)]}


_ORIGINALS = {
    "mediapipe": lambda: _json(by_hand.FORMS["javascript"], {"frames": by_hand.FORMS["rows"][:2]}),
    "openpose": lambda: _json(
        by_hand.openpose_frame(by_hand.points(0, 25, 3), by_hand.points(1, 25, 3)),
        by_hand.openpose_frame(by_hand.points(2, 18, 3)),
    ),
    "mmpose": lambda: _json(_people(2), {"instance_info": _people(1)}),
    "coco": _annotations,
    "azure_kinect": lambda: _json(_bodies(1), _bodies(2)),
}


def _of_json(name: str) -> Format:
    special = (structured.json_value, structured.json_deep)
    whole = {"special": special, "is_text": True, "head": len}
    return Format("a.json", _ORIGINALS[name], _read, lambda data: [], **whole)


def _of_text(file: str, *texts: str) -> Format:
    originals = [text.encode() for text in texts]
    return Format(file, lambda: originals, _read, lambda data: [], is_text=True, head=len)


FORMATS = {name: _of_json(name) for name in _ORIGINALS} | {
    "bvh": _of_text("a.bvh", by_hand.BVH, by_hand.BVH.replace("90", "0")),
    "csv": _of_text("a.csv", by_hand.LONG.format("a", "b"), by_hand.WIDE.format("0", "1")),
}
