"""Model files: a written model is read back, and every defect is refused by name."""

import dataclasses
import json
import os
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from amr_jax.errors import BadFile
from amr_jax.inference import model_file
from amr_jax.models import heads
from tests import tiny_models
from tests.methods import small


@pytest.fixture(scope="module")
def model():
    return tiny_models.make("linear")


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model_file.write(path, model)
    return path.read_bytes()


@pytest.mark.parametrize("form", [{}, small.FORM["slim"]], ids=["grid", "rotary"])
@pytest.mark.parametrize("head", [*heads.HEADS, None])
def test_a_written_model_is_read_back(head, form, tmp_path):
    model = tiny_models.make(head, bodies="all", form=form)
    if head == "linear":
        model = dataclasses.replace(model, encoder=model.encoder.clone(dtype=jnp.bfloat16))
    model_file.write(tmp_path / "model.safetensors", model)
    found = model_file.read(tmp_path / "model.safetensors")
    for field in dataclasses.fields(model):
        if field.name != "variables":
            assert getattr(found, field.name) == getattr(model, field.name), field.name
    assert jax.tree.structure(found.variables) == jax.tree.structure(model.variables)
    jax.tree.map(np.testing.assert_array_equal, found.variables, model.variables)

    model_file.write(tmp_path / "again.safetensors", found)
    first, again = ((tmp_path / f"{n}.safetensors").read_bytes() for n in ("model", "again"))
    assert first == again


def test_a_readout_by_joint_is_part_of_the_head_and_the_mean_is_written_as_before(
    content, tmp_path
):
    def head_of(content):
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return json.loads(header["__metadata__"]["amr_jax"])["head"]

    assert head_of(content)["settings"] == {"num_classes": 3}  # as 0.2.0 wrote and reads it
    model, path = tiny_models.make("linear"), tmp_path / "model.safetensors"
    own = heads.LinearHead(3, readout="joint", num_joints=20)
    tokens = jnp.zeros((1, model.encoder.num_patches, model.encoder.width))
    variables = own.init(jax.random.key(0), own.of_body(tokens))
    parts = {
        kind: {**trees, "head": jax.device_get(variables[kind])}
        for kind, trees in model.variables.items()
    }
    model_file.write(path, dataclasses.replace(model, head=own, variables=parts))
    assert head_of(path.read_bytes())["settings"]["readout"] == "joint"
    assert model_file.read(path).head == own
    # A head whose size is not that of its read-out.
    model_file.write(path, dataclasses.replace(model, head=own))
    with pytest.raises(BadFile, match=r"tensor 'batch_stats/head/norm/mean': \(8,\)"):
        model_file.read(path)


def test_tensors_have_their_documented_names(content):
    tensors = safetensors.numpy.load(content)
    for name in ("encoder/block_0/attn/qkv/kernel", "head/dense/bias", "batch_stats/head/norm/var"):
        assert tensors[name].dtype == np.float32
    assert tensors["encoder/patch_embed/kernel"].shape == (12, 8)


def test_a_change_of_any_byte_is_detected(content, tmp_path):
    path = tmp_path / "model.safetensors"
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    inside = rng.choice(header, 30, replace=False), rng.integers(header, len(content), 5)
    for place in np.concatenate([[0, 7], *inside]):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(BadFile, match=str(path)):
            model_file.read(path)
    for size in (0, 7, 8, 100, header, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(BadFile, match="damaged"):
            model_file.read(path)


def rewritten(content, change=None, tensors=None):
    """The bytes of the file with another description or other tensors, its digest in order."""
    kept = safetensors.numpy.load(content)
    size = int.from_bytes(content[:8], "little")
    text = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["amr_jax"])
    del text["digest"]
    if change:
        change(text)
    kept |= tensors or {}
    kept = {name: array for name, array in kept.items() if array is not None}
    text["digest"] = model_file._digest(text, kept)
    return safetensors.numpy.save(kept, {"amr_jax": json.dumps(text)})


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (None, "version", 2, r"version 2 of the format; expected version 1\. Read it with"),
        (None, "version", None, r"version None"),
        (None, "dtype", "float16", r"config\.dtype = 'float16'"),
        (None, "bodies", "some", r"bodies 'some'"),
        (None, "class_names", ["sit"], r"class names \('sit',\)"),
        (None, "class_names", ["sit", "stand", 3], r"class names"),
        (None, "head", {"kind": "cubic", "settings": {}}, r"'cubic'"),
        (None, "head", {"kind": "linear", "settings": {"num_classes": 4}}, r"class names"),
        (None, "head", None, r"class names"),
        (None, "input", {}, r"missing .* arguments"),
        ("encoder", "depth", 10**12, r"1000000000000 blocks"),
        ("encoder", "depth", 2, r"tensor 'encoder/block_1/.*: absent"),
        ("encoder", "num_heads", 3, r"num_heads = 3: expected a divisor"),
        ("encoder", "num_frames", 16, r"position/time.*\(2, 8\) F32; expected \(4, 8\) F32"),
        ("encoder", "num_frames", 2**20, r"5242880 patches"),
        ("encoder", "num_frames", 4 * 10**9, r"num_frames = 4000000000"),
        ("encoder", "width", 10**5, r"found tensor .* expected \(100000,\) F32"),
        ("encoder", "colour", "red", r"config\.encoder\.colour: unknown key"),
        ("encoder", "num_joints", "many", r"num_joints = 'many': expected a number"),
        ("encoder", "patch_len", 3, r"patch_len = 3: expected a divisor"),
        ("input", "max_frames", 10**9, r"sequences of \(1000000000, 2, 20, 3\)"),
        ("input", "max_frames", 0, r"sequences of \(0, "),
        ("input", "max_frames", 12.5, r"sequences of \(12\.5, "),
        ("input", "num_bodies", 10**9, r"sequences of"),
        ("input", "joints", ["head"], r"joints \('head',\)"),
        ("input", "parents", [20] * 20, r"parents"),
        ("input", "centre", 20, r"centre 20"),
        ("input", "centre", "spine", r"centre 'spine'"),
        ("input", "test_fraction", 0, r"test_fraction 0"),
        ("input", "test_fraction", "most", r"'str'"),
        ("input", "scale", 0, r"scale 0"),
        ("input", "scale", float("nan"), r"scale nan"),
        ("input", "scale", "large", r"'str'"),
        (None, "input", "joints", r"'str' object has no attribute"),
        ("input", "layout", "\ud800", r"no JSON"),
        ("input", "stream", "smell", r"stream 'smell'"),
        ("input", "units", "feet", r"unexpected keyword argument 'units'"),
    ],
)
def test_a_description_that_does_not_fit(content, tmp_path, section, key, value, message):
    def change(text):
        (text[section] if section else text)[key] = value

    path = tmp_path / "model.safetensors"
    path.write_bytes(rewritten(content, change))
    with pytest.raises(BadFile, match=message):
        model_file.read(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("head/dense/bias", None, r"'head/dense/bias': absent; expected \(3,\) F32"),
        ("head/dense/bias", np.zeros(4, np.float32), r"\(4,\) F32; expected \(3,\) F32"),
        (
            "head/dense/bias",
            np.zeros(3, np.float64),
            r"'head/dense/bias': \(3,\) F64; expected F32",
        ),
        ("head/dense/bias", np.full(3, np.nan, np.float32), r"bias' with numbers that are not fin"),
        ("decoder/bias", np.zeros(3, np.float32), r"'decoder/bias'.*expected no such tensor"),
    ],
)
def test_tensors_that_do_not_fit(content, tmp_path, name, value, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(rewritten(content, tensors={name: value}))
    with pytest.raises(BadFile, match=message):
        model_file.read(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(BadFile, match=r"found No such file or directory"):
        model_file.read(path)
    with pytest.raises(BadFile, match="found Is a directory"):
        model_file.read(tmp_path)
    path.write_bytes(safetensors.numpy.save({"weight": np.zeros(3, np.float32)}))
    with pytest.raises(BadFile, match=r"no 'amr_jax' in the header; expected a model\.safetensors"):
        model_file.read(path)
    for text in ("{", "[" * 10**5, "7"):
        path.write_bytes(safetensors.numpy.save({}, {"amr_jax": text}))
        with pytest.raises(BadFile, match=r"no JSON|version None"):
            model_file.read(path)


def test_sizes_in_a_header_are_checked_against_the_file(tmp_path):
    """Sizes of gigabytes in a small or sparse file cost no memory."""
    path = tmp_path / "model.safetensors"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadFile, match="damaged"):
        model_file.read(path)

    size = 2**33
    path.write_bytes(size.to_bytes(8, "little"))
    os.truncate(path, size + 8)  # all holes: takes no room
    with pytest.raises(BadFile, match=r"a header of 8,589,934,592 bytes; expected at most"):
        model_file.read(path)

    claim = {"x": {"dtype": "F32", "shape": [2**31], "data_offsets": [0, size]}}
    header = json.dumps(claim).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadFile, match="damaged"):
        model_file.read(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 2**16
