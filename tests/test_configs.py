"""Every config: locked, of sizes that fit, trained for a step, with every key read."""

import importlib.util
from pathlib import Path

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax import datasets, evaluate, methods, pretrain, records, workdir
from amr_jax.errors import UserError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PROTOCOLS = {"linear", "knn"}
METHODS = sorted({path.stem for path in CONFIGS.glob("*.py")} - PROTOCOLS)


def get_config(name: str, argument: str) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument)


def leaves(config: ml_collections.ConfigDict, prefix: str = "") -> dict[tuple[int, str], str]:
    """(id of the section, key) → dotted name, of every leaf."""
    names = {}
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            names |= leaves(value, f"{prefix}{key}.")
        else:
            names[id(config), key] = prefix + key
    return names


class TwelveSequences:
    """Stands in for `records.Records`: twelve random sequences with the joints of a layout."""

    def __init__(self, data_dir, name, split, centre_joint, max_frames):
        assert data_dir == "somewhere"
        assert split in ("train[:64]", "test[:64]")
        layouts = {row.records: row.layout for row in datasets.DATASETS.values()}
        self.num_joints, self.num_channels = layouts[name].num_joints, 3

    def load(self) -> records.Bodies:
        length = np.arange(3, 15, dtype=np.int32)
        frames = np.random.default_rng(0).normal(size=(length.sum(), self.num_joints, 3))
        return records.Bodies(
            frames=frames.astype(np.float32),
            offset=(np.cumsum(length) - length).astype(np.int32),
            length=length,
            sequence=np.arange(12, dtype=np.int32),
            present=np.ones((12, 1), bool),
            label=np.zeros(12, np.int32),
            names=np.arange(12).astype(str),
            class_names=("one",),
        )


def unread_keys(config, run, monkeypatch) -> list[str]:
    """Calls `run(config)` and returns the keys that nothing looked at."""
    read = set()
    getitem = ml_collections.ConfigDict.__getitem__

    def noting(self, key):
        read.add((id(self), key))
        return getitem(self, key)

    names = leaves(config)
    monkeypatch.setattr(records, "Records", TwelveSequences)
    monkeypatch.setattr(ml_collections.ConfigDict, "__getitem__", noting)
    run(config)
    monkeypatch.undo()
    return sorted(name for key, name in names.items() if key not in read)


# Data sets of one layout have configs that differ in nothing which the stand-in for records heeds:
# each such config is trained once.
_trained: dict[str, list[str]] = {}


def trained_once_unread(config, folder, monkeypatch) -> list[str]:
    """`trained_unread`, or what it found for a config equal but for the data set's name."""
    content = config.to_dict()
    del content["dataset"], content["input"]["centre"]
    content = repr(content)
    if content not in _trained:
        _trained[content] = trained_unread(config, folder, monkeypatch)
    return _trained[content]


def trained_unread(config, folder, monkeypatch) -> list[str]:
    """The keys of a pre-training config that nothing looks at during an epoch of one step."""
    config.data_dir = "somewhere"
    config.batch_size = 12
    config.epochs = 1
    config = pretrain.resolve(config)
    monkeypatch.setattr(pretrain, "resolve", lambda given: given)
    return unread_keys(config, lambda c: pretrain.run(c, folder, jax.devices()[:1]), monkeypatch)


@pytest.mark.parametrize("dataset", datasets.DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_config_of_a_method(method, dataset, tmp_path, monkeypatch):
    full = get_config(method, dataset)
    assert full.dataset == dataset
    assert full.encoder.num_joints == datasets.get(dataset).layout.num_joints
    full.dtype = "bfloat16"
    methods.build(full)  # refuses unknown keys and sizes that do not fit

    local = get_config(method, f"{dataset},runlocal")
    assert sorted(leaves(local).values()) == sorted(leaves(full).values())
    assert trained_once_unread(local, tmp_path, monkeypatch) == []


def test_a_key_that_nothing_reads_is_found(tmp_path, monkeypatch):
    config = get_config("amr", "nwucla,runlocal")
    config.optim.nesterov = True
    assert trained_unread(config, tmp_path, monkeypatch) == ["optim.nesterov"]


@pytest.mark.parametrize("dataset", datasets.DATASETS)
@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_config_of_a_protocol(protocol, dataset):
    full, local = get_config(protocol, dataset), get_config(protocol, f"{dataset},runlocal")
    assert full.dataset == local.dataset == dataset
    assert sorted(leaves(local).values()) == sorted(leaves(full).values())


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_protocol_reads_every_key(protocol, tmp_path, monkeypatch):
    trained_unread(get_config("amr", "nwucla,runlocal"), tmp_path / "run", monkeypatch)
    config = get_config(protocol, "nwucla,runlocal")
    config.pretrained = str(tmp_path / "run")
    config = evaluate.resolve(config, workdir.read_config(tmp_path / "run"))
    monkeypatch.setattr(evaluate, "resolve", lambda given, _: given)
    assert unread_keys(config, lambda c: evaluate.run(c, tmp_path / "results"), monkeypatch) == []


@pytest.mark.parametrize("name", METHODS + sorted(PROTOCOLS))
def test_a_wrong_argument_names_the_choices(name):
    with pytest.raises(UserError, match=r"unknown data set 'ntu61'; expected one of: ntu60_xsub"):
        get_config(name, "ntu61")
    with pytest.raises(UserError, match="expected 'NAME' or 'NAME,runlocal'"):
        get_config(name, "ntu60_xsub,runlocaly")
