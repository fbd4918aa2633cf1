"""The option `published`: what it sets, on which data, and what of small models it keeps."""

import pytest

from amr_jax import methods, pretrain
from amr_jax.config import base, files, settings
from amr_jax.evaluation import encoder_under_test
from amr_jax.studies import rows
from tests.config.test_configs import COMPARISONS, DATASETS, MASKING, METHODS, PROTOCOLS

GENERAL = {
    "dtype": "float32",
    "input.bodies": "all",
    "input.absent_frames": "counted",
    "encoder.patch_init": "torch",
    "optim.decay_on": "all",
}


def flat(spec: str) -> dict:
    """The settings of a config; of a comparison, without its rows and tables."""
    leaves = settings.flat(files.get_config(spec))
    return {key: leaves[key] for key in leaves if not key.startswith(("rows.", "tables."))}


def changed(name: str, argument: str) -> dict:
    """The keys that `published` changes, with its values."""
    without, given = flat(f"{name}:{argument}"), flat(f"{name}:{argument},published")
    assert given.keys() == without.keys()
    return {key: value for key, value in given.items() if value != without[key]}


def trained(comparison) -> list[str]:
    """The rows of a comparison that are no ensembles."""
    names = rows.in_order(comparison)
    return [name for name in names if not rows.is_ensemble(comparison.rows[name])]


def by_method(method: str, dataset: str) -> dict:
    expected = dict(GENERAL)
    if dataset.startswith("ntu120"):
        expected["input.second_body"] = "repeat"
    if method in MASKING:
        expected["model.round_visible"] = "down"
        expected |= {"model.tau": 0.75} if dataset.startswith("ntu120") else {}
    if dataset.startswith("ntu60") and method in ("mamp", "skeleton_mae"):
        expected["model.decoder_depth"] = 3
    if method == "sjepa":
        expected |= {"epochs": 1200, "judged": "average"}
    if method == "slim":
        expected |= {"epochs": 3000, "batch_size": 768, "optim.warmup_epochs": 400}
        expected["optim.lr"] = 1.73e-4
    if method == "usdrl":
        expected |= {"epochs": 451, "batch_size": 356, "optim.lr": 5e-4}
        expected |= {"optim.weight_decay": 1e-5, "augment.min_fraction": 0.1}
        expected["augment.max_angles"] = (0.0, 0.0, 0.0)
    return expected


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_methods(method, dataset):
    expected = by_method(method, dataset)
    config = files.get_config(f"{method}:{dataset},published")
    module = methods.build(pretrain.resolve(config))
    small = dataset in base.SMALL
    if method in MASKING:
        assert module.num_kept == (int(module.encoder.num_patches * (1 - 0.9)) if small else 74)
    if small:  # its epochs and sizes stay
        expected = {key: x for key, x in expected.items() if key not in base.SMALL[dataset]}
    elif method == "usdrl":
        expected["model.projector_width"] = 512
    assert changed(method, dataset) == expected


@pytest.mark.parametrize("method", METHODS)
def test_runlocal_has_the_small_model_and_the_published_rules(method):
    expected = by_method(method, "ntu120_xset")
    expected |= {"model.decoder_depth": 1} if method in MASKING else {}
    expected |= {"epochs": 2, "batch_size": 16, "encoder.width": 32}
    expected |= {"optim.warmup_epochs": 0} if method == "slim" else {}
    for argument in ("ntu120_xset,runlocal,published", "ntu120_xset,published,runlocal"):
        config = settings.flat(files.get_config(f"{method}:{argument}"))
        assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_protocols(protocol, dataset):
    expected = {"dtype": "float32", "bodies": "all", "time_embeddings": "bicubic"}
    if dataset.startswith("ntu120"):
        expected["second_body"] = "repeat"
    if protocol in ("finetune", "semi", "transfer"):
        expected |= {"optim.decay_on": "all", "scratch.encoder.patch_init": "torch"}
    if protocol == "linear":
        small = dataset in base.SMALL  # 0.1 and batch size 32 without it
        expected |= {} if small or dataset.startswith("pku2") else {"learning_rate": 0.1}
        expected |= {"batch_size": 128} if dataset.startswith("pku1") else {}
        expected |= {"batch_size": 32} if dataset.startswith("pku2") else {}
    assert changed(protocol, dataset) == expected
    config = files.get_config(f"{protocol}:{dataset},runlocal,published")
    assert (config.bodies, config.train_split) == ("all", "train[:64]")


@pytest.mark.parametrize("comparison", sorted(COMPARISONS))
def test_every_row_of_a_comparison_is_as_published(comparison):
    assert changed(comparison, "ntu120_xsub") == {"published": True}
    config = files.get_config(f"{comparison}:ntu120_xsub,published")
    for row in trained(config):
        made = rows.pretraining(config, row)
        assert (made.dtype, made.encoder.patch_init) == ("float32", "torch")
        second = "zeros" if row.startswith("bodies_") else "repeat"  # its rows ablate this
        assert made.input.second_body == second
        methods.build(pretrain.resolve(made))
        for name in config.protocols:
            protocol = rows.protocol(config, name, row)
            assert protocol.second_body == second
            protocol.pretrained = "RUN"
            encoder_under_test.resolve(protocol, made)  # refuses what does not go together
    both = files.get_config(f"{comparison}:ntu120_xsub,published,runlocal")
    made = rows.pretraining(both, trained(both)[0])
    assert (made.encoder.width, made.encoder.patch_init) == (32, "torch")


def test_the_share_of_hidden_patches_can_still_be_chosen():
    config = files.get_config("mamp:ntu60_xsub,published")
    files.override(config, ["model.mask_ratio=0.8"])
    assert methods.build(pretrain.resolve(config)).num_kept == 149  # int(750 · (1 − 0.8))


def test_a_method_of_ones_own_may_name_what_was_published(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from amr_jax.config import base\n"
        "SETTINGS = {}\n"
        "PUBLISHED = {'': {'optim.lr': 0.5}, 'pku': {'epochs': 7}}\n"
        "def get_config(argument):\n"
        "    return base.pretraining('mine', argument)\n"
    )
    monkeypatch.setattr(files, "FOLDERS", [*files.FOLDERS, tmp_path])
    masked = GENERAL | {"model.round_visible": "down"}
    assert changed("mine", "ntu60_xview") == masked | {"optim.lr": 0.5}
    assert changed("mine", "pku1_xsub") == masked | {"optim.lr": 0.5, "epochs": 7}
