"""Config files are found by name or path; overrides have the types of the keys; slips are named."""

import pytest

from amr_jax.config import files
from amr_jax.errors import UserError


def amr():
    return files.get_config("amr:nwucla")


def test_overrides_are_set_with_their_types():
    config = amr()
    files.override(
        config,
        ["model.k=1", "model.windows=(4,)", "model.weighting=none", "input.split=train[:9]"],
    )
    assert (config.model.k, config.model.windows) == (1.0, (4,))
    assert type(config.model.k) is float
    assert (config.model.weighting, config.input.split) == ("none", "train[:9]")
    files.override(config, ["model.decoder_self_attention=True", "model.num_visible=74"])
    assert config.model.decoder_self_attention is True
    assert config.model.num_visible == 74
    files.override(config, ["optim.clip_norm=1", "optim.min_lr=1e-5"])
    assert (config.optim.clip_norm, config.optim.min_lr) == (1.0, 1e-5)


def test_none_is_not_given_where_a_key_may_be_that():
    config = amr()
    files.override(config, ["optim.clip_norm=1", "model.num_visible=74"])
    files.override(config, ["optim.clip_norm=None", "model.num_visible=None"])
    assert (config.optim.clip_norm, config.model.num_visible) == (None, None)
    files.override(config, ["optim.clip_norm=2"])
    assert config.optim.clip_norm == 2.0
    config = files.get_config("linear:nwucla")
    files.override(config, ["pretrained=None", "step=None"])
    assert (config.pretrained, config.step) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.r", r"model\.r: expected KEY=VALUE"),
        ("model.rr=6", r"config\.model\.rr: unknown key. Did you mean config\.model\.r\?"),
        ("modle.r=6", r"config\.modle\.r: unknown key. Did you mean config\.model\.r\?"),
        ("lr=6", r"config\.lr: unknown key. Did you mean config\.optim\.lr\?"),
        ("encoder.widht=6", r"Did you mean config\.encoder\.width\?"),
        ("learning_rate=6", r"config\.learning_rate: unknown key"),
        ("model=6", r"config\.model: unknown key"),
        ("model.r=6.0", r"model\.r=6\.0: expected a value of type int"),
        ("model.r=six", r"model\.r=six: expected a value of type int"),
        ("model.r=None", r"model\.r=None: expected a value of type int"),
        ("model.num_visible=x", r"model\.num_visible=x: expected a value of type int"),
        ("input.centre=maybe", r"input\.centre=maybe: expected a value of type bool"),
    ],
)
def test_a_wrong_override_is_refused_by_name(text, message):
    with pytest.raises(UserError, match=message):
        files.override(amr(), [text])


def test_a_file_is_found_by_name_or_path(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from amr_jax.config import base\n"
        "def get_config(argument='nwucla'):\n    return base.pretraining('amr', argument)\n"
    )
    assert files.get_config(str(mine)).dataset == "nwucla"
    assert files.get_config(f"{mine}:synthetic").dataset == "synthetic"
    assert files.get_config(f"{mine}:nwucla").to_json() == amr().to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", r"bad\.py, line 1: ModuleNotFoundError: No module"),
        ("a = 1\nb = (", r"bad\.py, line 2: SyntaxError: "),
        ("def get_config():\n    return 1 / 0", r"bad\.py, line 2: ZeroDivisionError: "),
        ("def get_config():\n    return 1", r"bad\.py: get_config returned int; expected a Conf"),
        ("a = 1", r"bad\.py: expected a function get_config"),
    ],
)
def test_an_error_in_a_config_file_is_one_message(text, message, tmp_path):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(UserError, match=message):
        files.get_config(f"{tmp_path}/bad.py")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("configs/nope.py:nwucla", r"configs/nope\.py: no such config file; .* amr, amr_full"),
        ("ammr:nwucla", r"config 'ammr': not found; .*Did you mean amr\?"),
        ("nowhere/linaer.py", r"Did you mean --config=linear\?"),
    ],
)
def test_a_config_that_is_not_there_is_refused_with_the_nearest(spec, message):
    with pytest.raises(UserError, match=message):
        files.get_config(spec)
