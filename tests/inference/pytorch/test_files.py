"""Files of weights: wrappers are removed, and no file can run code."""

import argparse
import os
import sys

import numpy as np
import pytest

from amr_jax.errors import BadFile, UserError
from amr_jax.inference.pytorch import files

STATE = {"norm.weight": np.arange(500, dtype=np.float32), "temp_embed": np.ones((1, 2, 1, 3), "f4")}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")


def check(state):
    assert state.keys() == STATE.keys()
    for key, value in STATE.items():
        assert (state[key].shape, state[key].dtype) == (value.shape, value.dtype)
        np.testing.assert_array_equal(state[key], value)


class Code:
    """Leaves a folder behind if it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_npz_comes_back(tmp_path):
    files.write(tmp_path / "weights.npz", STATE)
    check(files.read(tmp_path / "weights.npz"))


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_pth_comes_back_and_is_as_published_scripts_load_it(torch, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    files.write(path, STATE)
    check(files.read(path))
    check({key: value.numpy() for key, value in torch.load(path)["model"].items()})


def test_wrappers_are_removed(torch, tmp_path):
    path = tmp_path / "weights.pth"
    tensors = {key: torch.from_numpy(value) for key, value in STATE.items()}
    parallel = {f"module.{key}": value for key, value in tensors.items()}
    learnable = {key: torch.nn.Parameter(value) for key, value in tensors.items()}
    training = {"optimizer": {"state": {}}, "epoch": 399, "args": argparse.Namespace(lr=1e-3)}
    for content in (
        tensors,
        learnable,
        parallel,
        {"model": tensors, **training},
        {"state_dict": parallel, "epoch": 3},
        {"model": {"state_dict": tensors}},
    ):
        torch.save(content, path)
        check(files.read(path))


def test_pickles_with_code_are_refused_and_run_nothing(torch, tmp_path):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    torch.save({"model": Code(trace)}, path)
    with pytest.raises(BadFile, match=r"weights\.pth: found a pickle that wants to run \w+\.mkdir"):
        files.read(path)
    np.savez(tmp_path / "weights.npz", a=np.array([Code(trace)], dtype=object))
    with pytest.raises(BadFile, match=r"weights\.npz!a\.npy: found an array of Python objects"):
        files.read(tmp_path / "weights.npz")
    assert not trace.exists()


def test_a_flipped_bit_in_a_pth_is_refused(torch, tmp_path):
    # PyTorch reads over it.
    path = tmp_path / "weights.pth"
    files.write(path, STATE)
    data = bytearray(path.read_bytes())
    data[data.index(STATE["norm.weight"].tobytes()) + 6] ^= 1
    path.write_bytes(data)
    assert torch.load(path)["model"]["norm.weight"].numpy()[1] != STATE["norm.weight"][1]
    with pytest.raises(BadFile, match=r"weights\.pth: found a damaged file \(Bad CRC-32"):
        files.read(path)


@pytest.mark.parametrize("suffix", [".pth", ".npz"])
@pytest.mark.parametrize("kept", [0, 0.1, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, kept, request):
    if suffix == ".pth":
        request.getfixturevalue("torch")
    path = tmp_path / f"weights{suffix}"
    files.write(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(BadFile, match=rf"weights{suffix}: found a damaged file") as error:
        files.read(path)
    assert "\n" not in str(error.value)


def test_other_contents_are_refused(torch, tmp_path):
    path = tmp_path / "weights.pth"
    for content, message in (
        ([1, 2], "found a list; expected a state dict"),
        ({"epoch": 3}, "found 'epoch': int; expected tensors"),
        ({3: torch.zeros(2)}, "found 3: torch.float32; expected tensors"),
        ({"a": torch.zeros(2, dtype=torch.bfloat16)}, "found 'a': torch.bfloat16; expected"),
    ):
        torch.save(content, path)
        with pytest.raises(BadFile, match=message):
            files.read(path)
    path.write_text("<html>404</html>")
    with pytest.raises(BadFile, match="or none of PyTorch's"):
        files.read(path)


def test_unusable_paths_are_refused(tmp_path):
    with pytest.raises(BadFile, match=r"absent\.npz: found nothing; expected a file"):
        files.read(tmp_path / "absent.npz")
    for use in (files.read, lambda path: files.write(path, STATE)):
        with pytest.raises(UserError, match=r"weights\.bin: expected .* \.pth, \.pt, \.npz"):
            use(tmp_path / "weights.bin")
    with pytest.raises(UserError, match=r"weights\.npz: could not be written"):
        files.write(tmp_path / "absent" / "weights.npz", STATE)
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BadFile, match="File is not a zip file"):
        files.read(tmp_path / "one.npz")


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "torch", None)
    for use in (files.read, lambda path: files.write(path, STATE)):
        with pytest.raises(UserError, match=r"pip install 'amr_jax\[torch\]'"):
            use(path)
    files.write(tmp_path / "weights.npz", STATE)
    check(files.read(tmp_path / "weights.npz"))
