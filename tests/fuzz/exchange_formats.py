"""The formats of users' own data."""

import contextlib
import gzip
import io
import json
import pickle
from pathlib import Path

import numpy as np

from amr_jax.data.readers import arrays, bounded, files, labels, layout_file, pyskl
from amr_jax.errors import BadFile, UserError
from tests import custom_sets
from tests.data.readers.test_layout_file import PUPPET
from tests.fuzz import structured
from tests.fuzz.formats import Format, Spans, sound, sound_text, tokens

_COCO = arrays.Form(17, "xyc")
_OTHERS = [
    arrays.Form(17, "xyc", scores=10),
    arrays.Form(17, "xy"),
    arrays.Form(17, "xy", scores="drop"),
]
_CUSTOM = arrays.Form(17, "xyz")


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
    joints, _ = arrays.read(raw)
    with contextlib.suppress(BadFile):  # as predict reads it
        sound(arrays.joints(joints, None, arrays.Form(5, "xyz", 0.5), raw), 5)
    array = bounded.load_npy(raw.read(), raw)
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
    """As predict and as prepare read it."""
    raw = files.RawFile(str(path))
    joints, confidence = arrays.read(raw)
    try:
        example = arrays.read_example(raw, "name", _CUSTOM)
    except files.NoBody:
        return []
    sound(example["joints"], 17)
    told = [example[key] for key in ("label", "split", "subject")]
    sound_text(*told)
    sure = [] if confidence is None else confidence.ravel().tolist()
    return [*joints.ravel().tolist(), *sure, *told]


def _pickle_originals() -> list[bytes]:
    small = custom_sets.exchange(3)
    return [pickle.dumps(small, protocol=4), pickle.dumps(small, protocol=2)]


def _array_spans(data: bytes) -> Spans:
    """The bytes of each array, where the pickle holds them unchanged."""
    spans = []
    for entry in pickle.loads(data)["annotations"]:
        for key in ("keypoint", "keypoint_score"):
            content = entry[key].tobytes()
            start = data.find(content)
            if start < 0:  # protocol 2 encodes them as text
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
        except files.NoBody:
            continue
        sound(example["joints"], 17)
        sound_text(example["label"], *example["splits"])
        for form in _OTHERS:
            with contextlib.suppress(files.NoBody):
                sound(pyskl.joints(annotation, form), 17, len(form.channels))
        found = annotation.content
        values += [found["keypoint"].ravel(order="K").tobytes()]
        if found.get("keypoint_score") is not None:
            values += [found["keypoint_score"].ravel(order="K").tobytes()]
    return values


def _layout_originals() -> list[bytes]:
    return [json.dumps(PUPPET).encode(), json.dumps(PUPPET, indent=1).encode()]


def _texts(node: object) -> list[str]:
    """Keys and texts of JSON, in their order."""
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in (key, *_texts(value))]
    return [text for value in node for text in _texts(value)] if isinstance(node, list) else [node]


def _read_layout(path: Path) -> list[str]:
    layout = layout_file.read(path)
    content = layout_file.to_json(layout)
    sound_text(*_texts(content))
    assert layout_file.from_json(json.loads(json.dumps(content)), path) == layout
    assert sorted(child for child, _ in layout.bones) == [
        joint for joint, parent in enumerate(layout.parents) if joint != parent
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
    with contextlib.suppress(UserError):  # it names no file
        labels.numbered([row.get("label", "") for row in table.values()], list(table), None)
    return values


def _csv_spans(data: bytes) -> Spans:
    return tokens(data, rb"[^,\n]+", _first_line(data))


def _read_classes(path: Path) -> list[str]:
    names = labels.read_classes(files.RawFile(str(path)))
    sound_text(*names)
    assert names
    return list(names)


def _first_line(data: bytes) -> int:
    return data.find(b"\n") + 1


FORMATS = {
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
    "gzip": Format(
        "clip.npy.gz",
        lambda: [gzip.compress(_npy(np.ones((1, 5, 3), kind)), mtime=0) for kind in "fd"],
        _read_npy,
        special=(structured.gzip_form,),
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
        lambda data: tokens(data, rb'"[^"]*"'),
        structured.JSON,
        is_text=True,
    ),
    "labels": Format(
        "labels.csv", _csv_originals, _read_csv, _csv_spans, is_text=True, head=_first_line
    ),
    "classes": Format(
        "classes.txt",
        lambda: [b"wave\nsit down\nrun\n", b"1 walk\n2 fall\n"],
        _read_classes,
        lambda data: tokens(data, rb"[^\n]+"),
        is_text=True,
    ),
}
