"""Every config: locked, of sizes that fit, trained for a step, with every key read."""

import importlib.util
from pathlib import Path

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax import datasets, methods, pretrain, records
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
        assert (data_dir, split) == ("somewhere", "train")
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


def unread_keys(config, folder, monkeypatch) -> list[str]:
    """Trains as the config says and returns the keys that nothing looked at."""
    read = set()
    getitem = ml_collections.ConfigDict.__getitem__

    def noting(self, key):
        read.add((id(self), key))
        return getitem(self, key)

    config = pretrain.resolve(config)
    names = leaves(config)
    monkeypatch.setattr(records, "Records", TwelveSequences)
    monkeypatch.setattr(pretrain, "resolve", lambda given: given)
    monkeypatch.setattr(ml_collections.ConfigDict, "__getitem__", noting)
    pretrain.run(config, folder, jax.devices()[:1])
    monkeypatch.undo()
    return sorted(name for key, name in names.items() if key not in read)


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
    local.data_dir = "somewhere"
    local.batch_size = 12
    local.epochs = 1
    assert unread_keys(local, tmp_path, monkeypatch) == []


def test_a_key_that_nothing_reads_is_found(tmp_path, monkeypatch):
    config = get_config("amr", "nwucla,runlocal")
    config.data_dir = "somewhere"
    config.batch_size = 12
    config.epochs = 1
    config.optim.nesterov = True
    assert unread_keys(config, tmp_path, monkeypatch) == ["optim.nesterov"]


@pytest.mark.parametrize("name", METHODS + sorted(PROTOCOLS))
def test_a_wrong_argument_names_the_choices(name):
    with pytest.raises(UserError, match=r"unknown data set 'ntu61'; expected one of: ntu60_xsub"):
        get_config(name, "ntu61")
    with pytest.raises(UserError, match="expected 'NAME' or 'NAME,runlocal'"):
        get_config(name, "ntu60_xsub,runlocaly")
