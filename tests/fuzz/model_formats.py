"""The formats of trained models; these readers need JAX."""

import argparse
import functools
import io
import json
import pickletools
import tempfile
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from amr_jax.evaluation import score_file
from amr_jax.inference import model_file
from amr_jax.inference.pytorch import files as weights
from amr_jax.inference.pytorch import mamp
from tests import tiny_models
from tests.fuzz import structured
from tests.fuzz.formats import Format, sound_text
from tests.inference.pytorch import published, torch_form


def _model_originals() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / model_file.NAME
        model_file.write(path, tiny_models.make("linear"))
        first = path.read_bytes()
        model_file.write(path, tiny_models.make(None, bodies="all", centred=False))
        return [first, path.read_bytes()]


def _read_model(path: Path) -> list:
    model = model_file.read(path)
    tensors = [np.asarray(leaf) for leaf in jax.tree.leaves(model.variables)]
    assert all(tensor.dtype == np.float32 for tensor in tensors)
    assert all(np.isfinite(tensor).all() for tensor in tensors), "not finite"
    sound_text(*model.class_names, *model.input.joints, model.input.layout)
    numbers = np.concatenate([tensor.ravel() for tensor in tensors]).tolist()
    return [*numbers, repr(model.encoder), repr(model.head), model.input, model.class_names]


def _parts(data: bytes) -> tuple[dict, bytes]:
    """The header and the tensors of a `.safetensors`."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def _joined(header: bytes, tensors: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + tensors


def header(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes the JSON of the header; its length is valid."""
    content, tensors = _parts(data)
    text = json.dumps(content).encode()
    change = structured.JSON[rng.integers(3)]
    return _joined(change(rng, text)[0], tensors), "same"


def description(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes the description of the model in the header; the digest is valid, if there is one."""
    content, tensors = _parts(data)
    text = json.loads(content["__metadata__"]["amr_jax"])
    del text["digest"]
    changed, _ = structured.json_value(rng, json.dumps(text).encode())
    try:
        text = json.loads(changed)
        text["digest"] = model_file._digest(text, safetensors.numpy.load(data))
        changed = json.dumps(text).encode()
    except (ValueError, TypeError):  # no longer a JSON object
        pass
    content["__metadata__"]["amr_jax"] = changed.decode()
    return _joined(json.dumps(content).encode(), tensors), "sane"


def tensors(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes numbers, shape or dtype of a tensor, or removes it; the digest is valid."""
    content, _ = _parts(data)
    found = safetensors.numpy.load(data)
    name = sorted(found)[rng.integers(len(found))]
    odd = (
        np.nan * found[name], np.inf * np.abs(found[name]), found[name].astype(np.float64),
        found[name][..., :0], found[name][None], found[name].ravel(), None,
    )[rng.integers(7)]  # fmt: skip
    found |= {name: odd}
    found = {key: value for key, value in found.items() if value is not None}
    text = json.loads(content["__metadata__"]["amr_jax"])
    del text["digest"]
    text["digest"] = model_file._digest(text, found)
    return safetensors.numpy.save(found, {"amr_jax": json.dumps(text)}), "sane"


def _npz(arrays: dict[str, np.ndarray], save=np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def _score_originals() -> list[bytes]:
    rng, packed = np.random.default_rng(0), []
    for names, labels, encoders in (
        (["a", "b", "c"], [0, 1, 1], ("pretrained", "random")),
        (["S001", "S002"], [1, 0], ("random",)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            logits = {name: rng.normal(size=(len(names), 2)).astype("f4") for name in encoders}
            scores = score_file.Scores(np.array(names), np.array(labels), ("x", "y"), logits)
            score_file.write(folder, scores)
            packed.append((Path(folder) / score_file.FILE).read_bytes())
    return packed


def _read_scores(path: Path) -> list:
    scores = score_file.read(path.parent)
    names = scores.names.tolist()
    sound_text(*names, *scores.class_names)
    assert len(set(names)) == len(names) > 0
    assert scores.labels.dtype == np.int32
    assert scores.labels.shape == scores.names.shape
    assert 0 <= scores.labels.min() <= scores.labels.max() < len(scores.class_names)
    for logits in scores.logits.values():
        assert logits.dtype == np.float32
        assert logits.shape == (len(names), len(scores.class_names))
        assert np.isfinite(logits).all(), "not finite"
    told = {name: logits.tolist() for name, logits in scores.logits.items()}
    return [names, scores.labels.tolist(), scores.class_names, told]


def _weight_originals() -> list[bytes]:
    state = published.state_dict(decoder=False)
    return [_npz(state), _npz({f"module.{key}": value for key, value in state.items()})]


def _torch_files(zipped: bool) -> list[bytes]:
    """As training scripts save them: with other content, in half precision, and alone."""
    state = published.state_dict(False)
    half = {f"module.{key}": value.astype(np.float16) for key, value in state.items()}
    training = {"args": argparse.Namespace(lr=1e-3), "epoch": 3, "seen": {1, 2}}
    contents = ({"model": state, **training}, {"state_dict": half}, state)
    return [torch_form.saved(content, zipped) for content in contents]


def program_in_zip(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes an instruction of the pickle in an archive; the checksums are valid."""
    members = structured.members_of(data)
    name = next(name for name in members if name.endswith("data.pkl"))
    members[name], _ = structured.pickle_program(rng, members[name])
    return structured.pack(list(members.items())), "sane"


def program_in_file(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes an instruction of one of the pickles at the beginning of a file."""
    stream, ends = io.BytesIO(data), [0]
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        ends.append(stream.tell())
    at = int(rng.choice([0, 1, 2, 3, 3, 3, 3, 4]))
    begin, end = ends[at : at + 2]
    return data[:begin] + structured.pickle_program(rng, data[begin:end])[0] + data[end:], "sane"


def _safetensors_files() -> list[bytes]:
    state = published.state_dict(False)
    return [
        safetensors.numpy.save(state),
        safetensors.numpy.save({key: torch_form.bfloat16(value) for key, value in state.items()}),
    ]


def _read_weights(path: Path) -> list:
    params, left_out = mamp.from_state_dict(weights.read(path, mamp.ANCHOR).arrays, str(path))
    leaves = jax.tree.leaves(params)
    assert all(leaf.dtype == np.float32 for leaf in leaves)
    assert all(np.isfinite(leaf).all() for leaf in leaves), "not finite"
    return [*np.concatenate([leaf.ravel() for leaf in leaves]).tolist(), sorted(left_out)]


FORMATS = {
    "model": Format(
        model_file.NAME, _model_originals, _read_model, special=(header, description, tensors)
    ),
    "scores": Format(score_file.FILE, _score_originals, _read_scores, special=structured.ZIP),
    "weights": Format("weights.npz", _weight_originals, _read_weights, special=structured.ZIP),
    "pth": Format(
        "weights.pth",
        functools.partial(_torch_files, zipped=True),
        _read_weights,
        special=(*structured.ZIP, program_in_zip),
    ),
    # No checksums: after damage anywhere, only sound data are required (`head` is the whole file).
    "pth_old": Format(
        "weights.pth",
        functools.partial(_torch_files, zipped=False),
        _read_weights,
        special=(program_in_file,),
        head=len,
    ),
    "weights_st": Format("weights.safetensors", _safetensors_files, _read_weights, head=len),
}
