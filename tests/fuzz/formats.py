"""The formats that are damaged: valid files of each, how it is read, where its values stand.

What "equal to the untouched rest" means is one rule for all. A reader's data are laid out as one
list of *values*, in the order in which they stand in the file, and a table says between which bytes
of the valid file each value stands, its delimiters included: a digit put beside a number makes
another number. A mutant begins like one valid file and ends like one. If it is read, the values in
the common beginning must be the first ones that are read, and those in the common end the last
ones. A value lost, moved, read twice or changed outside of the damage breaks that.

- `.skeleton`: x, y, z of every joint, of every body in its place in the file (`Recording` has them
  by body; the ids in the text say which comes when); and the file's two actors must be sound.
- PKU text: the numbers. A text that ends early at a line's end is a valid, shorter one: nothing in
  the format tells. The labels then point out of it. Of labels, lines as a whole: the fourth number
  may be absent, so that what is left of a damaged line may say something else.
- NW-UCLA: the numbers under 'skeletons'. Layout file: all of its texts, in the order of the keys.
- `.npy`: the bytes of the numbers, in the order of the memory. A header that is another valid one
  (another shape, dtype or order for as many bytes) makes other numbers of them: nothing tells.
- pickle: the arrays, each as a whole, since a byte that is missing in one moves all that follow. It
  is a program: of one with other instructions only sound data are asked for ('sane').
- labels.csv: the cells. The first line says what they are: with damage there, 'sane'.
- zip, npz, safetensors: checksums (CRC-32 of a member, the digest of a model) cover everything, so
  a mutant that is read must say just the same; unless the mutation put the checksums right.
"""

import contextlib
import dataclasses
import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from amr_jax import layout_file
from amr_jax.errors import BadFile, UserError
from amr_jax.readers import (
    arrays,
    files,
    labels,
    npz,
    ntu,
    ntu_text,
    numpy_files,
    nw_ucla,
    pku,
    pyskl,
)
from tests import custom_sets, raw_sets
from tests.fuzz import structured
from tests.fuzz.mutations import Change
from tests.readers import ntu_files
from tests.test_layout_file import PUPPET

# (first byte, one past the last) of every value in a valid file.
Spans = Sequence[tuple[int, int]]
_COCO = arrays.Form(17, "xyc")
_CUSTOM = arrays.Form(17, "xyz")


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
      file: what the file is called.
      originals: makes valid files, small ones.
      read: a path -> the values, a list or an array of one axis; AssertionError: unsound data.
      spans: of a valid file; None: a mutant that is read must be the same as its original.
      special: mutations that know the format.
      is_text: whether it has lines and an encoding.
      head: the first so many bytes say what the rest is; damage there asks for sound data alone.
      weight: the share of the mutants of a campaign that are made, where each takes long.
    """

    file: str
    originals: Callable[[], list[bytes]]
    read: Callable[[Path], Sequence]
    spans: Callable[[bytes], Spans] | None = None
    special: tuple[Change, ...] = ()
    is_text: bool = False
    head: Callable[[bytes], int] = lambda data: 0
    weight: float = 1.0


def places(pattern: bytes, data: bytes, start: int = 0) -> Spans:
    """Where a pattern is."""
    return [match.span() for match in re.compile(pattern).finditer(data, start)]


def _tokens(data: bytes, pattern: bytes = rb"\S+", start: int = 0) -> Spans:
    """Where values are that what stands beside them ends: with a byte on either side."""
    return [(a - 1, b + 1) for a, b in places(pattern, data, start)]


def _sound(joints: np.ndarray, num_joints: int, channels: int = 3) -> None:
    """(T, M, V, C) float32 as the documentation promises."""
    assert joints.dtype == np.float32, joints.dtype
    assert joints.ndim == 4, joints.shape
    assert joints.shape[2:] == (num_joints, channels), joints.shape
    assert min(joints.shape) > 0, joints.shape
    assert np.isfinite(joints).all(), "not finite"


def sound_text(*texts: str) -> None:
    """Texts that can be printed and written to records."""
    for text in texts:
        assert isinstance(text, str), text
        text.encode()


# --- raw formats


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
        values = _tokens(line)
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
        with contextlib.suppress(ntu.NoBody):
            _sound(ntu.denoise(recording, gaps), 25)
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
    _sound(joints, 25)
    return joints.ravel()


def _label_originals() -> list[bytes]:
    return [b"3,10,20,2\n51,30,40,1\n1,50,60,2\n", b"7, 0, 4, 2\n12, 4, 9, 1\n"]


def _read_pku_labels(path: Path) -> list[int]:
    instances = pku.read_labels(files.RawFile(str(path)))
    assert all(1 <= instance.action <= pku.NUM_ACTIONS for instance in instances)
    return [n for one in instances for n in (one.action, one.start, one.end)]


def _label_spans(data: bytes) -> Spans:
    return [line for line in _tokens(data, rb"[^\n]+") for _ in range(3)]


def _nw_ucla_originals() -> list[bytes]:
    def text(seed, frames, digits):
        joints = np.random.default_rng(seed).normal(size=(frames, 20, 3)).round(digits)
        content = {"file_name": "a03_s01_e02_v01", "skeletons": joints.tolist(), "label": 3}
        return json.dumps(content).encode()

    return [text(0, 1, 16), text(1, 3, 6)]


def _read_nw_ucla(path: Path) -> np.ndarray:
    example = nw_ucla.read(files.RawFile(str(path)))
    _sound(example["joints"], 20)
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
    """Names and contents of all members; one that is refused does not stop the others' reading."""
    values, refused = [], None
    for raw in files.find(path, ".skeleton", "skeletons"):
        try:
            values += [raw.name, raw.read()]
        except BadFile as error:
            refused = error
    if refused:
        raise refused
    return values


# --- formats in which data are exchanged


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npy_originals() -> list[bytes]:
    joints = np.random.default_rng(0).normal(size=(3, 2, 5, 3))
    return [
        _npy(joints.astype(np.float32)),
        _npy(joints[:, 0]),
        _npy(np.asfortranarray(joints.astype(np.float16))),
    ]


def _npy_start(data: bytes) -> int:
    return 10 + int.from_bytes(data[8:10], "little")


def _read_npy(path: Path) -> np.ndarray:
    raw = files.RawFile(str(path))
    joints, _ = numpy_files.read(raw)
    _sound(joints, *joints.shape[2:])
    array = numpy_files.from_npy(raw.read(), raw)
    return np.frombuffer(array.ravel(order="K").tobytes(), np.uint8)


def _npz_originals(save=np.savez) -> list[bytes]:
    rng, packed = np.random.default_rng(0), []
    joints = rng.normal(size=(3, 1, 17, 3))
    for content in (
        {"joints": joints.astype(np.float32), "label": 3, "split": "train", "subject": "ann"},
        {"joints": joints[:, 0], "confidence": rng.uniform(size=(3, 17)), "label": "wave"},
    ):
        buffer = io.BytesIO()
        save(buffer, **content)
        packed.append(buffer.getvalue())
    return packed + (_npz_originals(np.savez_compressed) if save is np.savez else [])


def _read_npz(path: Path) -> list:
    """As predict reads it, and as prepare does."""
    raw = files.RawFile(str(path))
    joints, confidence = numpy_files.read(raw)
    _sound(joints, *joints.shape[2:])
    try:
        example = npz.read(raw, "name", _CUSTOM)
    except arrays.NoBody:
        return []
    _sound(example["joints"], 17)
    told = [example[key] for key in ("label", "split", "subject")]
    sound_text(*told)
    sure = [] if confidence is None else confidence.ravel().tolist()
    return [*joints.ravel().tolist(), *sure, *told]


def _pickle_originals() -> list[bytes]:
    small = custom_sets.exchange(3)
    return [pickle.dumps(small, protocol=4), pickle.dumps(small, protocol=2)]


def _array_spans(data: bytes) -> Spans:
    """The bytes of each array, where they stand as they are."""
    spans = []
    for entry in pickle.loads(data)["annotations"]:
        for key in ("keypoint", "keypoint_score"):
            content = entry[key].tobytes()
            start = data.find(content)
            if start < 0:  # protocol 2 has them as text: no place of their own
                return []
            spans.append((start, start + len(content)))
    return spans


def _read_pickle(path: Path) -> list[bytes]:
    content = pyskl.load(files.RawFile(str(path)))
    sound_text(*content.splits, *content.absent, *(a.name for a in content.annotations))
    values = []
    for annotation in content.annotations:
        try:
            example = pyskl.read(annotation, _COCO)
        except arrays.NoBody:
            continue
        _sound(example["joints"], 17)
        sound_text(example["label"], *example["splits"])
        found = annotation.content
        values += [found["keypoint"].ravel(order="K").tobytes()]
        if found.get("keypoint_score") is not None:
            values += [found["keypoint_score"].ravel(order="K").tobytes()]
    return values


def _layout_originals() -> list[bytes]:
    return [json.dumps(PUPPET).encode(), json.dumps(PUPPET, indent=1).encode()]


def _texts(node: object) -> list[str]:
    """Of JSON: names of parts and all texts, in their order."""
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in (key, *_texts(value))]
    return [text for value in node for text in _texts(value)] if isinstance(node, list) else [node]


def _read_layout(path: Path) -> list[str]:
    layout = layout_file.read(path)
    content = layout_file.to_json(layout)
    sound_text(*_texts(content))
    assert layout_file.from_json(json.loads(json.dumps(content)), path) == layout
    assert sorted(child for child, _ in layout.bones) == [
        joint for joint in range(layout.num_joints) if joint != layout.root
    ]
    return _texts(content)


def _csv_originals() -> list[bytes]:
    return [
        b"name,label,split,subject\nwalk/a,wave,train,1\nwalk/b,sit,test,2\nrun/c,wave,test,1\n",
        b"name,label,split,subject\na,0,train,ann\nb,3,train,bob\nc,1,val,cid\n",
    ]


def _read_csv(path: Path) -> list[str]:
    table = labels.read_labels(files.RawFile(str(path)))
    values = [cell for name, row in table.items() for cell in (name, *row.values())]
    sound_text(*values)
    with contextlib.suppress(UserError):  # of all sequences together: of these it names the first
        labels.numbered([row["label"] for row in table.values()], list(table), None)
    return values


def _csv_spans(data: bytes) -> Spans:
    return _tokens(data, rb"[^,\n]+", _first_line(data))


def _first_line(data: bytes) -> int:
    return data.find(b"\n") + 1


FORMATS = {
    "ntu": Format(
        "S001C001P001R001A001.skeleton", _ntu_originals, _read_ntu, _ntu_spans, is_text=True
    ),
    "pku": Format("0002-L.txt", _pku_originals, _read_pku, _tokens, is_text=True),
    "pku_labels": Format(
        "0002-L.txt", _label_originals, _read_pku_labels, _label_spans, is_text=True
    ),
    "nw_ucla": Format(
        "a03_s01_e02_v01.json",
        _nw_ucla_originals,
        _read_nw_ucla,
        lambda data: _tokens(data, rb"(?<=[\[ ])-?\d[\d.e+-]*(?=[,\]])"),
        structured.JSON,
        is_text=True,
    ),
    "zip": Format(
        "set.zip",
        _zip_originals,
        _read_zip,
        special=(structured.zip_form, structured.zip_field, structured.zip_twice),
    ),
    "npy": Format(
        "clip.npy",
        _npy_originals,
        _read_npy,
        lambda data: [(at, at + 1) for at in range(_npy_start(data), len(data))],
        (structured.npy_header, structured.npy_value),
    ),
    "npz": Format(
        "clip.npz",
        _npz_originals,
        _read_npz,
        special=(
            structured.zip_form,
            structured.zip_field,
            structured.zip_twice,
            structured.zip_members,
        ),
    ),
    "pickle": Format(
        "set.pkl",
        _pickle_originals,
        _read_pickle,
        _array_spans,
        (structured.pickle_program, structured.pickle_content),
    ),
    "layout": Format(
        "layout.json",
        _layout_originals,
        _read_layout,
        lambda data: _tokens(data, rb'"[^"]*"'),
        structured.JSON,
        is_text=True,
    ),
    "labels": Format(
        "labels.csv", _csv_originals, _read_csv, _csv_spans, is_text=True, head=_first_line
    ),
}
