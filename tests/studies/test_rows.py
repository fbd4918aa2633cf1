"""Configs of rows: overrides, order, and epochs with their warm-up."""

import pytest

from amr_jax.config.comparison import variant
from amr_jax.errors import UserError
from amr_jax.studies import rows
from configs import ablation, amr, compare, rivals


def test_a_row_is_its_file_with_overrides():
    config = compare.get_config("nwucla,runlocal")
    config.seed, config.data_dir = 3, "/records"
    config.overrides = ("model.contrast=0.5", "model.temperature=0.3")
    made = rows.pretraining(config, "nat_con")
    assert (made.method, made.dataset, made.encoder.width) == ("nat", "nwucla", 32)
    assert (made.seed, made.data_dir, made.epochs) == (3, "/records", 2)
    assert (made.model.contrast, made.model.temperature) == (0.1, 0.3)
    with pytest.raises(UserError, match=r"config\.model\.contrast: unknown key"):
        rows.pretraining(config, "mamp")


def test_a_protocol_gets_the_overrides_with_its_name():
    config = compare.get_config("nwucla,runlocal")
    config.seed = 3
    config.protocol_overrides = ("linear.epochs=7", "knn.k=5")
    linear = rows.protocol(config, "linear", "amr")
    assert (linear.epochs, linear.seed, linear.test_split) == (7, 3, "test[:64]")
    assert rows.protocol(config, "knn", "amr").k == 5
    config.protocol_overrides = ("epochs=7",)
    with pytest.raises(UserError, match=r"'epochs=7': protocol = .*'linear', 'ridge', 'knn'"):
        rows.protocol(config, "knn", "amr")


def test_a_variant_is_its_protocol_with_settings_of_its_own():
    config = compare.get_config("nwucla,runlocal")
    config.protocols = ("knn", "knn_joint_whitened", "linear_joint_deviation", "mine")
    config.variants.mine = variant("5 neighbours", "knn", "k=5")
    config.protocol_overrides = ("knn.k=3", "knn_joint_whitened.encode_batch_size=7")
    rows.in_order(config)
    plain, white, linear, mine = (rows.protocol(config, n, "amr") for n in config.protocols)
    assert (plain.protocol, plain.readout, plain.whiten, plain.k) == ("knn", "mean", False, 3)
    assert (white.protocol, white.readout, white.whiten, white.k) == ("knn", "joint", True, 3)
    assert (plain.encode_batch_size, white.encode_batch_size) == (32, 7)
    assert (linear.protocol, linear.readout) == ("linear", "joint_deviation")
    assert mine.k == 5
    titles = {name: judge.title for name, judge in rows.judges(config).items()}
    assert titles == {
        "knn": "1-NN",
        "knn_joint_whitened": "1-NN, joint, whitened",
        "linear_joint_deviation": "linear, joint deviation",
        "mine": "1-NN, 5 neighbours",
    }


def test_validation_reaches_training_and_every_protocol():
    config = compare.get_config("nwucla,runlocal")
    config.validation = True
    assert rows.pretraining(config, "amr").input.split == "train[!validation]"
    for name in config.protocols:
        made = rows.protocol(config, name, "amr")
        assert (made.train_split, made.test_split) == ("train[!validation]", "train[validation]")


STARS = ("mamp_stars", "amr_stars")


def test_rows_come_in_the_order_of_the_tables_each_once():
    names = rows.in_order(compare.get_config("nwucla"))
    assert names == [
        "skeleton_mae",
        "mamp",
        "sjepa",
        "gfp",
        "nat",
        "nat_con",
        "usdrl",
        "slim",
        "amr",
        *STARS,
    ]
    config = ablation.get_config("nwucla")
    names = rows.in_order(config)
    assert names[:5] == ["baseline1", "baseline2", "dd", "full", "mca_msa"]
    assert sorted(names) == sorted(config.rows)
    assert list(config.tables) == [
        "components",
        "decoder",
        "r",
        "windows",
        "weighting",
        "k",
        "targets",
        "mask_ratio",
        "decoder_depth",
        "loss_on",
        "energy_threshold",
        "bodies",
    ]
    assert config.tables.r.rows == ("r_1", "r_2", "r_3", "r_4", "full", "r_12")
    full = ablation.get_config("ntu60_xsub").tables.r.rows
    assert full == ("r_1", "r_2", "r_3", "r_5", "full", "r_10", "r_15", "r_30")
    config.only = "full, dd"
    assert rows.chosen(config, names) == ["dd", "full"]
    config.only = "k,dd"  # a table and a row
    assert rows.chosen(config, names) == ["dd", "full", "ratio_low", "ratio_high", "k_1", "k_10"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("budget", "hours", r"config\.budget = 'hours': expected 'epochs' or 'seconds'"),
        ("epochs", -1, r"config\.epochs = -1: expected at least 1"),
        ("seconds", -1.0, r"config\.seconds = -1\.0: expected above 0"),
        (
            "only",
            "amr,mump",
            r"config\.only: row or table = 'mump': expected 'skeleton_mae', .* mean 'mamp'\?",
        ),
        ("reference", "mump", r"config\.reference = 'mump'"),
        ("ours", "mump", r"config\.ours = 'mump'"),
        ("protocols", (), r"config\.protocols = \(\): expected at least one"),
        ("protocols", ("amr",), r"protocol = 'amr': expected 'linear', 'ridge', 'knn'"),
        ("variants.x", variant("x", "knm"), r"variants\.x\.protocol = 'knm'.* mean 'knn'"),
        ("variants.knn", variant("x", "knn"), r"variants\.knn = 'x': expected another name"),
        ("tables.comparison.plot", "x", r"config\.tables\.comparison\.plot = 'x'"),
        ("tables.comparison.rows", ("mamp", "amr", "x"), r"comparison\.rows: row = 'x'"),
        ("tables.comparison.rows", ("mamp", "amr"), r"config\.rows\.amr_stars is in no table"),
    ],
)
def test_settings_that_do_not_fit_are_named(key, value, message):
    config = compare.get_config("nwucla")
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        rows.chosen(config, rows.in_order(config))


def test_seconds_must_be_given_where_they_are_the_budget():
    config = compare.get_config("nwucla")
    config.budget, config.seconds = "seconds", 0.0
    with pytest.raises(UserError, match=r"config\.seconds = 0\.0: expected above 0"):
        rows.in_order(config)


def test_a_config_file_that_is_not_there_is_named(tmp_path):
    config = compare.get_config("nwucla")
    config.configs = str(tmp_path)
    with pytest.raises(UserError, match=r"skeleton_mae\.py: no such config file"):
        rows.pretraining(config, "skeleton_mae")


@pytest.mark.parametrize(
    ("epochs", "warmup"), [(120, 10.0), (30, 2.5), (90.5, 7.542), (1, 0), (1.05, 0.05)]
)
def test_warmup_keeps_its_share_and_leaves_an_epoch(epochs, warmup):
    config = amr.get_config("nwucla")  # 60 epochs, 5 of them warm-up
    config.optim.schedule_epochs = 40.0
    rows.set_epochs(config, epochs)
    assert config.epochs == epochs
    assert config.optim.schedule_epochs == pytest.approx(epochs * 2 / 3, abs=1e-3)
    assert config.optim.warmup_epochs == pytest.approx(warmup)
    assert config.optim.warmup_epochs <= config.epochs - 1


def test_a_later_stage_has_its_share_of_the_budget_and_follows_the_row_it_starts_from():
    config = rivals.get_config("utd")
    assert rows.stage(config, "amr") == 1
    assert rows.stage(config, "amr_stars") == pytest.approx(20 / 60)
    config.epochs = 30
    assert rows.pretraining(config, "amr").epochs == 30
    assert rows.pretraining(config, "amr_stars").epochs == 10
    names = rows.in_order(config)
    assert names.index("amr") < names.index("amr_stars") < names.index("queue_64")
    config.tables.stars.rows = ("mamp", "mamp_stars", "amr_stars", "amr", "contrast")
    with pytest.raises(
        UserError, match=r"amr_stars\.start_from: earlier row = 'amr': expected 'mamp' or"
    ):
        rows.in_order(config)
