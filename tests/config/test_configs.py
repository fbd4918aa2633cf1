"""Every config: locked, of sizes that fit, trained for a step, with every key read."""

import importlib.util
import re
from pathlib import Path

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax import compare, evaluate, methods, pretrain
from amr_jax.config import files, settings
from amr_jax.data import datasets, records
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test, protocols
from amr_jax.evaluation.task import Outcome, Protocol
from amr_jax.run import workdir
from amr_jax.studies import rows
from tests.studies import handmade

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PROTOCOLS = set(protocols.PROTOCOLS) | {"transfer"}  # that one is finetune on another data set
COMPARISONS = {"compare", "ablation", "streams", "real_sets", "rivals"}
RECIPES = {"amr_small", "amr_medium", "amr_full"}  # of AMR: test_recipes.py
METHODS = sorted({path.stem for path in CONFIGS.glob("*.py")} - PROTOCOLS - COMPARISONS - RECIPES)
MASKING = [name for name in METHODS if files.masks(name)]


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


# One of the rows that leave a subject out stands for all.
DATASETS = [name for name in datasets.DATASETS if not re.search(r"loso([2-9]|10)$", name)]


class TwelveSequences:
    """Stands in for `records.Records`: twelve random sequences with the joints of a layout."""

    sizes, has_joints = (12,), None

    def __init__(self, data_dir, name, split, centre_joint, max_frames, body_frame):
        assert data_dir == "somewhere"
        assert split in ("train[:64]", "test[:64]")
        layouts = {row.records: row.layout for row in datasets.DATASETS.values()}
        self.num_joints, self.num_channels = layouts[name].num_joints, 3
        self.num_slots, self.class_names = 1, ("one",)

    def __len__(self) -> int:
        return 12

    def summary(self) -> str:
        return "twelve"

    def verify(self, sequences) -> None:
        np.testing.assert_array_equal(sequences, np.arange(12))

    def examples(self, sequences):
        random = np.random.default_rng(0)
        for i in sequences:
            joints = random.normal(size=(3 + i, 1, self.num_joints, 3)).astype(np.float32)
            yield {"joints": joints, "present": np.array([True]), "name": str(i), "label": 0}


def unread_keys(config, run, monkeypatch) -> list[str]:
    """Calls `run(config)` and returns the keys that nothing looked at."""
    read, frozen = set(), []  # (copy, what it is a copy of)
    getitem = ml_collections.ConfigDict.__getitem__
    freeze = ml_collections.FrozenConfigDict.__init__

    def noting(self, key):
        source = next((source for copy, source in frozen if copy is self), self)
        read.add((id(source), key))
        return getitem(self, key)

    def noting_copy(self, source=None):
        freeze(self, source)
        frozen.append((self, source))

    names = leaves(config)
    monkeypatch.setattr(records, "Records", TwelveSequences)
    monkeypatch.setattr(ml_collections.ConfigDict, "__getitem__", noting)
    monkeypatch.setattr(ml_collections.FrozenConfigDict, "__init__", noting_copy)
    run(config)
    monkeypatch.undo()
    return sorted(name for key, name in names.items() if key not in read)


def trained_unread(config, folder, monkeypatch) -> list[str]:
    """The keys of a pre-training config that nothing looks at during an epoch of one step."""
    config.data_dir = "somewhere"
    config.batch_size = 12
    config.epochs = 1
    config = pretrain.resolve(config)
    monkeypatch.setattr(pretrain, "resolve", lambda given: given)
    return unread_keys(config, lambda c: pretrain.run(c, folder, jax.devices()[:1]), monkeypatch)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", [*METHODS, *sorted(RECIPES)])
def test_config_of_a_method(method, dataset):
    full = get_config(method, dataset)
    assert full.dataset == dataset
    assert full.encoder.num_joints == datasets.get(dataset).layout.num_joints
    methods.build(pretrain.resolve(full))  # refuses sizes that do not fit

    local = get_config(method, f"{dataset},runlocal")
    methods.build(pretrain.resolve(local))
    assert sorted(leaves(local).values()) == sorted(leaves(full).values())


@pytest.mark.parametrize("method", METHODS)
def test_a_method_reads_every_key(method, tmp_path, monkeypatch):
    config = get_config(method, "nwucla,runlocal")
    assert trained_unread(config, tmp_path, monkeypatch) == []


def test_a_key_that_nothing_reads_is_found(monkeypatch):
    config = get_config("amr", "nwucla,runlocal")
    unread = unread_keys(config, lambda config: config.optim.lr, monkeypatch)
    assert "optim.b1" in unread
    assert "optim.lr" not in unread


@pytest.mark.parametrize("dataset", DATASETS)
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
    config = encoder_under_test.resolve(config, workdir.read_config(tmp_path / "run"))
    resolve = encoder_under_test.resolve
    monkeypatch.setattr(encoder_under_test, "resolve", lambda given, _: given)
    unread = unread_keys(config, lambda c: evaluate.run(c, tmp_path / "results"), monkeypatch)
    unread.remove("size")  # a record, for `config.evaluation.as_begun`
    if not config.adapt:
        unread.remove("time_embeddings")
    if "scratch" in config:
        # A section that is read where no run is named, and only there.
        scratch = {name for name in leaves(config).values() if name.startswith("scratch.")}
        assert set(unread) == scratch
        unread = scratch & set(unread_from_scratch(config, resolve, tmp_path, monkeypatch))
    assert list(unread) == []


def unread_from_scratch(config, resolve, folder, monkeypatch) -> list[str]:
    """The keys that nothing looks at without a run, around a protocol that only views a clip."""

    def look(task, config, log):
        clip = jax.numpy.zeros((9, 20, 3))
        jax.eval_shape(lambda: task.train_view(jax.random.key(0), clip, 9))
        return Outcome(np.zeros(len(task.test.host.label), np.int32), {"top1": 0.0})

    config.pretrained, config.dtype = "", "auto"
    config.data_dir = config.scratch.data_dir = "somewhere"
    config = resolve(config, encoder_under_test.source(config)[1])
    monkeypatch.setattr(encoder_under_test, "resolve", lambda given, _: given)
    monkeypatch.setitem(evaluate.PROTOCOLS, config.protocol, Protocol(look, ""))
    return unread_keys(config, lambda c: evaluate.run(c, folder / "scratch"), monkeypatch)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("comparison", sorted(COMPARISONS))
def test_every_row_of_a_comparison_is_a_method(comparison, dataset):
    full, local = get_config(comparison, dataset), get_config(comparison, f"{dataset},runlocal")
    assert full.dataset == local.dataset == dataset
    assert list(full.tables) == list(local.tables)
    published = get_config(comparison, f"{dataset},published")
    for config in (full, local, published):
        for name in rows.in_order(config):
            if rows.is_ensemble(config.rows[name]):
                continue
            made = pretrain.resolve(rows.pretraining(config, name))
            assert made.dataset == dataset
            methods.build(made)
            for protocol in config.protocols:
                judged = encoder_under_test.resolve(rows.protocol(config, protocol, name), made)
                assert (judged.protocol, judged.dataset) == (protocol, dataset)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_baselines_predict_as_many_patches_as_the_full_method(dataset):
    config = get_config("ablation", dataset)
    predicted = {
        name: methods.build(pretrain.resolve(rows.pretraining(config, name))).num_predicted
        for name in config.rows
    }
    alike = {predicted[name] for name in ("baseline1", "baseline2", "dd", "full")}
    by_joints = {20: 40, 15: 30}  # the small model of sets of one Kinect: two patches a joint
    small = datasets.DATASETS[dataset].one_kinect
    expected = by_joints[datasets.DATASETS[dataset].layout.num_joints] if small else 125
    expected = 75 if dataset == "synthetic" else expected
    assert alike == {expected}
    by_r = [predicted[name] for name in config.tables.r.rows]
    assert by_r == sorted(by_r, reverse=True)
    assert by_r[-1] == datasets.get(dataset).layout.num_joints  # one for each joint


@pytest.mark.parametrize("comparison", sorted(COMPARISONS))
def test_a_comparison_reads_every_key(comparison, tmp_path, monkeypatch):
    def made(self, finished):
        return handmade.row(self.row, linear=0.5, knn=0.4)

    for kind in (compare.Training, compare.Ensemble):
        monkeypatch.setattr(kind, "run", made)
    monkeypatch.setattr(compare.tables.pictures, "comparison", lambda *_, **__: b"")
    monkeypatch.setattr(
        settings, "check", lambda *_: None
    )  # it reads every key; 'seconds' is no budget here
    monkeypatch.setattr(settings, "completed", lambda config, _: config)
    config = get_config(comparison, "nwucla,runlocal")
    config.protocols = (*config.protocols, *config.variants)
    unread = unread_keys(config, lambda c: compare.run(c, tmp_path), monkeypatch)
    named = all("dataset" in row for row in config.rows.values())  # each has its own
    assert unread == [*(["dataset"] if named else []), "seconds"]  # read where it is the budget


@pytest.mark.parametrize("name", METHODS + sorted(PROTOCOLS | COMPARISONS | RECIPES))
def test_a_wrong_argument_names_the_choices(name):
    with pytest.raises(UserError, match=r"unknown data set 'ntu61'; expected one of: ntu60_xsub"):
        get_config(name, "ntu61")
    message = (
        r"unknown option 'runlocaly'; expected after the name ,runlocal or ,published, or both"
    )
    with pytest.raises(UserError, match=message):
        get_config(name, "ntu60_xsub,runlocaly")
