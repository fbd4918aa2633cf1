"""The raw formats of the data sets, and archives."""

import contextlib
import json
import re
import zipfile
from pathlib import Path

import numpy as np

from amr_jax.data.readers import files, ntu, ntu_text, nw_ucla, pku, search
from amr_jax.errors import BadFile
from tests import raw_sets
from tests.data.readers import ntu_files
from tests.fuzz import structured
from tests.fuzz.formats import Format, Spans, sound, sound_text, tokens


def _ntu_originals() -> list[bytes]:
    one, two = ntu_files.FIRST_ID, ntu_files.FIRST_ID + 1
    film, person = ntu_files.film, ntu_files.person
    return [
        ntu_files.skeleton_text(film(3, (one, [0, 2], person(0, 2)))),
        ntu_files.skeleton_text(film(2, (one, [0, 1], person(1, 2)), (two, [1], person(2, 1)))),
        raw_sets.skeleton_text(raw_sets.body(3, 2)).encode(),
    ]


def _ntu_spans(data: bytes) -> Spans:
    """x, y, z of every line of twelve values."""
    spans, start = [], 0
    for line in data.splitlines(keepends=True):
        values = tokens(line)
        if len(values) == 12:
            spans += [(start + a, start + b) for a, b in values[:3]]
        start += len(line)
    return spans


def _read_ntu(path: Path) -> np.ndarray:
    raw = files.RawFile(str(path))
    data = raw.read()
    recording = ntu_text.parse(data, str(raw))
    rows = {body.body_id: iter(body.joints) for body in recording.bodies}
    lines = [line.split() for line in re.split(rb"\n", data)]
    in_order = [next(rows[int(line[0])]) for line in lines if len(line) == 10]
    assert len(in_order) == sum(len(body.joints) for body in recording.bodies)
    for gaps in ntu.GAPS if recording.bodies else ():
        with contextlib.suppress(files.NoBody):
            sound(ntu.denoise(recording, gaps), 25)
    return np.array(in_order, np.float32).ravel()


def _pku_originals() -> list[bytes]:
    def text(seed, frames):
        second = raw_sets.body(seed + 9, frames) * (seed % 2)
        rows = np.stack([raw_sets.body(seed, frames), second], axis=1).reshape(frames, 150)
        return "".join(" ".join(f"{x:.6f}" for x in row) + "\n" for row in rows).encode()

    return [text(0, 2), text(1, 3)]


def _read_pku(path: Path) -> np.ndarray:
    raw = files.RawFile(str(path))
    joints = pku.read_video(raw)
    sound(joints, 25)
    return joints.ravel()


def _label_originals() -> list[bytes]:
    return [b"3,10,20,2\n51,30,40,1\n1,50,60,2\n", b"7, 0, 4, 2\n12, 4, 9, 1\n"]


def _read_pku_labels(path: Path) -> list[int]:
    instances = pku.read_labels(files.RawFile(str(path)))
    assert all(1 <= instance.action <= pku.NUM_ACTIONS for instance in instances)
    return [n for one in instances for n in (one.action, one.start, one.end)]


def _label_spans(data: bytes) -> Spans:
    return [line for line in tokens(data, rb"[^\n]+") for _ in range(3)]


def _split_originals() -> list[bytes]:
    return [
        b"Training videos:\n0002-L, 0002-M, 0003-R\n\nValidataion videos:\n0004-L, 0004-M\n",
        b"Training videos:\nA01N01-L,A01N01-M,\nA01N02-R\n\nTesting videos:\nA02N01-L\n",
    ]


def _read_split(path: Path) -> list[str]:
    split = pku.read_split(files.RawFile(str(path)))
    assert split.training
    sound_text(*split.training, *split.others)
    return sorted(split.training)


def _nw_ucla_originals() -> list[bytes]:
    def text(seed, frames, digits):
        joints = np.random.default_rng(seed).normal(size=(frames, 20, 3)).round(digits)
        content = {"file_name": "a03_s01_e02_v01", "skeletons": joints.tolist(), "label": 3}
        return json.dumps(content).encode()

    return [text(0, 1, 16), text(1, 3, 6)]


def _read_nw_ucla(path: Path) -> np.ndarray:
    example = nw_ucla.read(files.RawFile(str(path)))
    sound(example["joints"], 20)
    assert (example["label"], example["name"]) == (2, "a03_s01_e02_v01")
    assert np.array_equal(nw_ucla.read_joints(files.RawFile(str(path))), example["joints"])
    return example["joints"].ravel()


def _zip_originals() -> list[bytes]:
    members = [
        (f"s/S001C00{i + 1}P001R001A001.skeleton", t) for i, t in enumerate(_ntu_originals())
    ]
    packed = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed.append(structured.pack(members, method))
    return packed


def _read_zip(path: Path) -> list:
    """Names and contents of all members; reads all of them before an error."""
    values, refused = [], None
    for raw in search.find(path, ".skeleton", "skeletons"):
        try:
            values += [raw.name, raw.read()]
        except BadFile as error:
            refused = error
    if refused:
        raise refused
    return values


FORMATS = {
    "ntu": Format(
        "S001C001P001R001A001.skeleton", _ntu_originals, _read_ntu, _ntu_spans, is_text=True
    ),
    "pku": Format("0002-L.txt", _pku_originals, _read_pku, tokens, is_text=True),
    "pku_labels": Format(
        "0002-L.txt", _label_originals, _read_pku_labels, _label_spans, is_text=True
    ),
    "pku_split": Format(
        "cross-subject.txt", _split_originals, _read_split, lambda data: [], is_text=True
    ),
    "nw_ucla": Format(
        "a03_s01_e02_v01.json",
        _nw_ucla_originals,
        _read_nw_ucla,
        lambda data: tokens(data, rb"(?<=[\[ ])-?\d[\d.e+-]*(?=[,\]])"),
        structured.JSON,
        is_text=True,
    ),
    "zip": Format(
        "set.zip",
        _zip_originals,
        _read_zip,
        special=(structured.zip_form, structured.zip_field, structured.zip_twice),
    ),
}
