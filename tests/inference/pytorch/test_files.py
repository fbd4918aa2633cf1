"""Files of weights in every form that people have; nothing in them runs; all changes are told."""

import argparse
import collections
import io
import os
import pathlib
import random
import sys
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from amr_jax.errors import BadFile, UserError
from amr_jax.inference.pytorch import files
from tests.fuzz import structured
from tests.inference.pytorch.torch_form import bfloat16, parameter, saved

ANCHOR = "joints_embed.proj.weight"
STATE = {
    "norm.weight": np.arange(500, dtype=np.float32) / 3,
    ANCHOR: np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1),
}
HALF = {key: value.astype(np.float16) for key, value in STATE.items()}
DOUBLE = {key: value.astype(np.float64) / 3 for key, value in STATE.items()}
BRAIN = {key: bfloat16(value) for key, value in STATE.items()}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")


def read(path, data, key=None):
    path.write_bytes(data)
    return files.read(path, ANCHOR, key)


def check(weights, expected=STATE):
    """Asserts float32 of the same bits, or those that `expected` rounds to."""
    assert weights.arrays.keys() == expected.keys()
    for key, value in expected.items():
        assert weights.arrays[key].dtype == np.float32
        np.testing.assert_array_equal(weights.arrays[key], value.astype(np.float32))


def prefixed(prefix, state=STATE):
    return {f"{prefix}{key}": value for key, value in state.items()}


class Code:
    """Leaves a folder behind if it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Settings:
    """An object of a class that only its author has."""

    def __init__(self):
        self.folder, self.seen, self.fixed = pathlib.Path("/data"), {1, (2, 3)}, frozenset("ab")
        self.random = random.Random(0)
        self.table = collections.defaultdict(list, {(1, "a"): None})


TRAINING = {
    "epoch": 399,
    "optimizer": {"state": {0: {"exp_avg": np.zeros(4, "f4")}}, "param_groups": [{"lr": 1e-3}]},
    "args": argparse.Namespace(lr=1e-3),
    "rng": Settings(),
    None: 1,
    (1, 2): b"x",
}
LIGHTNING = {
    "state_dict": prefixed("model.") | {"criterion.weight": np.ones(60, "f4")},
    "pytorch-lightning_version": "2.4.0",
    "hyper_parameters": {"config": Settings(), ("a", 1): 2, Settings: 3},
    "loops": {"fit_loop": {"state_dict": {}}},
    "callbacks": {"ModelCheckpoint{'monitor': None}": {"best": np.float32([0.5])}},
}
FORMS = {
    "plain": (STATE, "", STATE),
    "ordered": (collections.OrderedDict(STATE), "", STATE),
    "parameters": ({k: parameter(v) for k, v in STATE.items()}, "", STATE),
    "half": (HALF, "", HALF),
    "bfloat16": (BRAIN, "", BRAIN),
    "double": (DOUBLE, "", DOUBLE),
    "mixed": (HALF | {ANCHOR: STATE[ANCHOR]}, "", HALF | {ANCHOR: STATE[ANCHOR]}),
    "ddp": ({"state_dict": prefixed("module."), **TRAINING}, "state_dict", STATE),
    "compiled": (prefixed("_orig_mod."), "", STATE),
    "compiled in ddp": ({"net": prefixed("module._orig_mod.")}, "net", STATE),
    "ddp compiled": ({"net": prefixed("_orig_mod.module.")}, "net", STATE),
    "compiled inside": (
        {"joints_embed._orig_mod.proj.weight": STATE[ANCHOR], "norm.weight": STATE["norm.weight"]},
        "",
        STATE,
    ),
    "fsdp": (prefixed("_fsdp_wrapped_module."), "", STATE),
    "mamp": ({"model": STATE, **TRAINING}, "model", STATE),
    "nested": ({"model": {"state_dict": STATE}}, "model/state_dict", STATE),
    "unusual": ({"my weights": STATE, **TRAINING}, "my weights", STATE),
    "encoder": ({"model_state_dict": prefixed("encoder.")}, "model_state_dict/encoder", STATE),
    "lightning": (LIGHTNING, "state_dict/model", STATE),
    "averaged": (prefixed("module.") | {"n_averaged": np.int64([7])}, "", STATE),
    "in a list": ([{"epoch": 3}, STATE], "1", STATE),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_torch_save_is_read_without_pytorch(form, zipped, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    content, key, expected = FORMS[form]
    weights = read(tmp_path / "weights.any", saved(content, zipped))
    check(weights, expected)
    assert weights.key == key


def test_what_was_chosen_left_out_and_rounded_is_told(tmp_path):
    path = tmp_path / "a.ckpt"
    assert read(path, saved(STATE)).notes == ()
    told = "; ".join(read(path, saved(LIGHTNING)).notes)
    assert "taken from 'state_dict/model'" in told
    assert "left out, of the same dict: criterion.weight" in told
    assert "not read, beside it: pytorch-lightning_version, hyper_parameters" in told
    assert read(path, saved(HALF)).notes == ("2 arrays of float16 became float32, exactly",)
    (note,) = read(path, saved(DOUBLE)).notes
    assert note == "2 arrays of float64 were rounded to float32, by 4.0e-08 of a value at most"
    exact = {key: value.astype(np.float64) for key, value in STATE.items()}
    assert read(path, saved(exact)).notes == ("2 arrays of float64 became float32, exactly",)


TWO = {"teacher": prefixed("module."), "student": {k: v + 1 for k, v in STATE.items()}, "epoch": 1}
INSIDE = {"state_dict": prefixed("teacher.") | prefixed("student.")}


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (TWO, "teacher"),
        (INSIDE, "state_dict/student"),
        (STATE | prefixed("ema."), ""),
        (STATE | prefixed("module."), "module"),
    ],
)
def test_of_several_models_one_is_chosen(content, key, tmp_path):
    weights = read(tmp_path / "a.pth", saved(content), key)
    check(weights)
    assert weights.key == key


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (TWO, None, "found 2 models: 'teacher', 'student'; expected one. Choose: --key=NAME."),
        (TWO, "model", "expected one called 'model'. Choose"),
        (INSIDE, None, "found 2 models: 'state_dict/teacher', 'state_dict/student'"),
        ({"model": STATE}, "ema", "found only 'model'; expected one called 'ema'"),
        ([1, 2], None, "found a list; expected a state dict"),
        ({"epoch": 3}, None, "found no tensors ('epoch': int)"),
        ({}, None, "found no tensors (nothing at all)"),
        (
            {"net": {"conv.weight": np.ones(3, "f4")}},
            None,
            "found no 'joints_embed.proj.weight' in 'net' (conv.weight)",
        ),
        (STATE | {"epoch": 3}, None, "found 'epoch': int; expected only tensors of float32, flo"),
        (STATE | {3: STATE[ANCHOR]}, None, "found the name 3; expected texts"),
        (STATE | {"norm.module.weight": STATE[ANCHOR]}, None, "the weight 'norm.weight' twice"),
        ({ANCHOR: np.float64([1e300])}, None, "with 1e+300 in float64; expected numbers within"),
        (Settings(), None, "test_files.Settings; expected a state dict"),
        ({"model": Settings()}, None, "test_files.Settings); expected a state dict"),
        ({ANCHOR: Settings()}, None, "test_files.Settings; expected only tensors"),
    ],
)  # fmt: skip
def test_what_is_not_one_model_is_refused(content, key, message, tmp_path):
    for zipped in (True, False):
        with pytest.raises(BadFile) as error:
            read(tmp_path / "weights.pth", saved(content, zipped), key)
        assert str(tmp_path / "weights.pth") in str(error.value)
        assert message in str(error.value)


def test_code_in_a_file_does_nothing(tmp_path):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    check(read(path, saved({"model": STATE, "settings": Code(trace)})))
    with pytest.raises(BadFile, match=r"no tensors \('model': \w+\.mkdir\).* No code was run"):
        read(path, saved({"model": Code(trace)}))
    np.savez(tmp_path / "weights.npz", a=np.array([Code(trace)], dtype=object))
    with pytest.raises(BadFile, match=r"weights\.npz!a\.npy: found an array of Python objects"):
        files.read(tmp_path / "weights.npz", ANCHOR)
    assert not trace.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_one_storage_and_the_other_order_of_bytes(zipped, tmp_path):
    whole = np.arange(524, dtype=np.float32)
    views = {"norm.weight": whole[24:], ANCHOR: whole[:24].reshape(1, 4, 3, 2).T}
    assert all(view.base is whole for view in views.values())
    check(read(tmp_path / "a.pth", saved(views, zipped)), views)
    assert len(saved(views, zipped)) < 2 * whole.nbytes
    for state in (STATE, BRAIN):
        check(read(tmp_path / "a.pth", saved(state, zipped, big_endian=True)), state)


def test_tensors_cannot_claim_more_than_the_file_holds(tmp_path):
    wide = np.broadcast_to(STATE["norm.weight"], (10**6, 500))
    with pytest.raises(BadFile, match=r"a tensor of shape \(1000000, 500\) in 500 numbers"):
        read(tmp_path / "a.pth", saved(STATE | {"norm.weight": wide}))
    whole = np.arange(500, dtype=np.float32)
    shared = {f"norm{i}": whole[:] for i in range(20)} | {ANCHOR: whole[:24]}
    with pytest.raises(BadFile, match="tensors of 10,024 numbers, which share 500"):
        read(tmp_path / "a.pth", saved(shared))


def test_safetensors_of_every_type(tmp_path):
    path = tmp_path / "weights.safetensors"
    for state in (STATE, HALF, BRAIN, DOUBLE, prefixed("model._orig_mod.", BRAIN)):
        weights = read(path, safetensors.numpy.save(dict(state)))
        check(weights, {k.removeprefix("model._orig_mod."): v for k, v in state.items()})
    assert (weights.key, weights.notes[0]) == ("model", "taken from 'model'")
    data = safetensors.numpy.save(STATE)
    for damaged, message in (
        (data[:40], "it ends before its header"),
        (data[:-1], "a damaged file"),
        (b"\x02" + bytes(7) + b"{}", "found no tensors"),
        (b"\x08" + bytes(7) + b'{"a": 1}', "a damaged file"),
        (data.replace(b'"F32"', b'"U32"', 1), "of U32; expected one of F64"),
    ):
        with pytest.raises(BadFile, match=message):
            read(path, damaged)


@pytest.mark.parametrize("first", [b"PK", b"\x80\x02", b"\x80\x04", b"<", b"\x1f\x8b"])
def test_the_size_of_a_header_may_look_like_another_form(first, tmp_path):
    """The header's size stands first in a .safetensors: 19,280 bytes are b'PK'."""
    data = safetensors.numpy.save(STATE)
    size = int.from_bytes(data[:8], "little")
    wanted = int.from_bytes(first.ljust(2, b"\1"), "little")
    header = data[8 : 8 + size].rstrip().ljust(wanted)
    check(read(tmp_path / "a.bin", wanted.to_bytes(8, "little") + header + data[8 + size :]))


def test_npz_of_every_type(tmp_path):
    path = tmp_path / "weights.npz"
    for state in (STATE, HALF, BRAIN, DOUBLE):  # NumPy stores bfloat16 as two bytes, V2
        np.savez(path, **state)
        check(files.read(path, ANCHOR), state)
    big = {key: value.astype(">f8") for key, value in DOUBLE.items()}
    np.savez(path, **prefixed("module.", big))
    check(files.read(path, ANCHOR), DOUBLE)
    weights = read(path, structured.pickle.dumps({"model": HALF}))  # a pickle of numpy arrays
    check(weights, HALF)


def _packed(pack):
    buffer = io.BytesIO()
    pack(buffer)
    return buffer.getvalue()


def _tar(buffer):
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))


def _zip(buffer):
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights.pth", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS;.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page, or another text"),
        (b"\x1f\x8b\x08\x00rest", "a file compressed by gzip;.*gunzip"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (_packed(_tar), "a tar archive;.*tar -xf"),
        (_packed(_zip), "an archive of weights.pth;.*Unpack it"),
        (b"", "an empty file"),
        (b"something else", "a damaged file, or another kind"),
        (saved(STATE, extra=[("constants.pkl", b"")]), "a program of TorchScript"),
        (saved(STATE)[:-30], "a damaged file"),
        (saved(STATE, zipped=False)[:-30], "bytes of numbers in the storage"),
        (saved(STATE, zipped=False)[:60], "a damaged pickle"),
        (saved(STATE, zipped=False) + b"x", "more after its end"),
    ],
    # The kinds alone: bytes of a zip hold the time.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_named(data, message, tmp_path):
    with pytest.raises(BadFile, match=message) as error:
        read(tmp_path / "weights.pth", data)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "weights.pth") in str(error.value)


def test_a_flipped_bit_in_a_pth_is_refused(tmp_path):
    data = bytearray(saved({"model": STATE}))
    data[data.index(STATE["norm.weight"].tobytes()) + 6] ^= 1
    with pytest.raises(BadFile, match=r"weights\.pth: found a damaged file \(Bad CRC-32.*defaults"):
        read(tmp_path / "weights.pth", bytes(data))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_written_comes_back(suffix, tmp_path):
    files.write(tmp_path / f"weights{suffix}", STATE)
    check(files.read(tmp_path / f"weights{suffix}", ANCHOR))


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_pth_is_as_published_scripts_load_it(torch, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    files.write(path, STATE)
    check(files.read(path, ANCHOR))
    for key, value in torch.load(path)["model"].items():
        np.testing.assert_array_equal(value.numpy(), STATE[key])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_files_that_pytorch_itself_wrote(torch, tmp_path, zipped):
    """The same values as PyTorch loads; `saved` writes what PyTorch loads."""
    path = tmp_path / "weights.pth"
    tensors = {key: torch.from_numpy(value.copy()) for key, value in STATE.items()}
    module = torch.nn.Module()
    module.norm = torch.nn.Linear(5, 4)
    module.joints_embed = torch.nn.Module()
    module.joints_embed.proj = torch.nn.Conv2d(3, 2, (4, 1))
    whole = torch.arange(40.0)
    views = {ANCHOR: whole[6:30].view(4, 6).t()[::2], "norm.weight": whole[::3]}
    for content in (
        tensors,
        {key: torch.nn.Parameter(value) for key, value in tensors.items()},
        {"model": tensors, "args": argparse.Namespace(lr=1), "settings": Settings()},
        module.state_dict(),
        torch.compile(module).state_dict(),
        views,
        {key: value.half() for key, value in tensors.items()},
        {key: value.bfloat16() for key, value in tensors.items()},
        {key: value.double() / 3 for key, value in tensors.items()},
    ):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        found = files.read(path, ANCHOR).arrays
        expected = content.get("model", content)
        assert len(found) == len(expected)
        for key, tensor in expected.items():
            values = tensor.detach().float().numpy()
            np.testing.assert_array_equal(found[key.removeprefix("_orig_mod.")], values)
    path.write_bytes(saved({"model": BRAIN}, zipped))
    for key, tensor in torch.load(path)["model"].items():
        assert tensor.dtype == torch.bfloat16
        np.testing.assert_array_equal(tensor.float().numpy(), BRAIN[key].astype(np.float32))


def test_unusable_paths_are_refused(tmp_path):
    with pytest.raises(BadFile, match=r"absent\.npz: found nothing; expected a file"):
        files.read(tmp_path / "absent.npz", ANCHOR)
    with pytest.raises(BadFile, match=r"found Is a directory; expected a file of weights"):
        files.read(tmp_path, ANCHOR)
    with pytest.raises(UserError, match=r"weights\.bin: expected .* \.pth, \.pt, \.safetensors"):
        files.write(tmp_path / "weights.bin", STATE)
    with pytest.raises(UserError, match=r"weights\.npz: could not be written"):
        files.write(tmp_path / "absent" / "weights.npz", STATE)


def test_writing_for_pytorch_without_it_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'amr_jax\[torch\]'.*or write \.safetensors"):
        files.write(tmp_path / "weights.pth", STATE)
    assert ml_dtypes.bfloat16  # the type of BRAIN
