"""The grid of a sweep: values of keys, rows of a comparison, what is refused."""

import pytest

from amr_jax.config import files
from amr_jax.errors import UserError
from amr_jax.studies import grid, rows

SPEC = "amr:nwucla,runlocal"


def made(*texts, overrides=(), spec=SPEC):
    config = files.get_config(spec)
    files.override(config, overrides)
    return grid.comparison_of(spec, config, overrides, grid.parse(texts, config))


def test_a_grid_is_a_comparison_with_a_row_for_each_point():
    config = made("model.r=6,3", "optim.lr=1e-4,1e-3", overrides=("epochs=3", "seed=2"))
    table = config.tables.sweep
    assert table.rows == ("r_6_lr_1e-4", "r_6_lr_1e-3", "r_3_lr_1e-4", "r_3_lr_1e-3")
    assert rows.in_order(config) == list(table.rows)
    assert config.rows["r_3_lr_1e-4"].title == "model.r=3, optim.lr=1e-4"
    # The config's own values.
    assert config.reference == config.ours == "r_6_lr_1e-3"
    assert (table.plot, table.by, table.scale) == ("model.r", "optim.lr", "linear")
    one = rows.pretraining(config, "r_3_lr_1e-4")
    assert (one.model.r, one.optim.lr, one.epochs, one.seed) == (3, 1e-4, 3, 2)
    assert (one.dataset, one.encoder.width) == ("nwucla", 32)


@pytest.mark.parametrize(
    ("texts", "plot", "scale", "names"),
    [
        (["optim.lr=1e-4,1e-3,0.1"], "optim.lr", "log", ["lr_1e-4", "lr_1e-3", "lr_0p1"]),
        (["model.windows=(4,),(4,8)"], "time", "log", ["windows_4", "windows_4_8"]),
        (["input.stream=joint,bone"], "time", "log", ["stream_joint", "stream_bone"]),
        (
            ["encoder.mlp_ratio=2", "model.decoder_mlp_ratio=1,2"],
            "encoder.mlp_ratio",
            "linear",
            ["mlp_ratio_2_decoder_mlp_ratio_1", "mlp_ratio_2_decoder_mlp_ratio_2"],
        ),
        (
            ["input.split=train[:10%],train[:50%]"],
            "time",
            "log",
            ["split_train_10", "split_train_50"],
        ),
    ],
)
def test_values_of_every_kind(texts, plot, scale, names):
    table = made(*texts).tables.sweep
    assert (table.plot, table.scale, list(table.rows)) == (plot, scale, names)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], r"no KEY=VALUE,VALUE to sweep over"),
        (["optim.lr"], r"optim\.lr: expected KEY=VALUE,VALUE"),
        (["optim.rl=1"], r"config\.optim\.rl: unknown key. Did you mean config\.optim\.lr\?"),
        (["model.r=3,six"], r"model\.r=six: expected a value of type int"),
        (["model.r=3,,6"], r"model\.r=: expected a value of type int"),
        (["model.r=3", "model.r=6"], r"model\.r is there twice"),
        (["optim.lr=1e-3,0.001"], r"the value 0\.001 is there twice"),
        (["seed=1,2"], r"seed is the same in all rows; expected --seeds=3"),
        (["dataset=utd,nwucla"], r"dataset is the same in all rows"),
    ],
)
def test_what_cannot_be_swept_is_refused(texts, message):
    with pytest.raises(UserError, match=message):
        made(*texts)


@pytest.mark.parametrize(
    ("texts", "overrides"),
    [(["input.split=train[:10%]"], ()), (["model.r=3"], ("input.split=train",))],
)
def test_training_on_sequences_that_judge_is_refused(texts, overrides):
    config = made(*texts, overrides=overrides)
    (name,) = config.rows
    rows.pretraining(config, name)  # judged on the test split
    config.validation = True
    with pytest.raises(
        UserError, match=r"input\.split = .train.*: expected 'train\[!validation\]'"
    ):
        rows.pretraining(config, name)


def test_sweeps_are_judged_on_validation_where_a_set_has_a_part_for_it():
    assert grid.judged_on_validation("nwucla", None)
    assert not grid.judged_on_validation("nwucla", "test")
    assert not grid.judged_on_validation("ntu60_xsub", None)
    with pytest.raises(UserError, match="ntu60_xsub has no part for validation of its own"):
        grid.judged_on_validation("ntu60_xsub", "validation")
