"""One checker, one grammar: every bound of every setting is refused by key, found and expected."""

import ml_collections
import pytest

from amr_jax.config import base, comparison, evaluation, files, settings
from amr_jax.config.settings import Own, Setting
from amr_jax.errors import UserError
from tests.methods import small

TREE = {
    "size": Setting(12, "a size", low=1),
    "part": Setting(3, "of the size", divides="size"),
    "steps": Setting(4, "of a part", divides="size / part"),
    "share": Setting(0.5, "a share", above=0, high=1),
    "kind": Setting("a", "a kind", choices=("a", "b", "c")),
    "angles": Setting((0.1, 0.2), "angles", low=0, length=2),
    "limit": Setting(None, "a limit", int, low=1, below="size"),
    "inner": {"low": Setting(1, "low", high="inner.high"), "high": Setting(2, "high")},
    "whole": Own(size=Setting(6, "a size"), part=Setting(2, "of the size", divides="size")),
    "free": {},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "config.size = 0: expected at least 1."),
        ({"size": "x"}, "config.size = 'x': expected a number."),
        ({"part": 5}, "config.part = 5: expected a divisor of 12 (size): 1, 2, 3, 4, 6 or 12."),
        ({"part": 0}, "config.part = 0: expected a divisor of 12 (size): 1, 2, 3, 4, 6 or 12."),
        ({"steps": 3}, "config.steps = 3: expected a divisor of 4 (size / part): 1, 2 or 4."),
        ({"share": 0.0}, "config.share = 0.0: expected above 0 and at most 1."),
        ({"share": float("nan")}, "config.share = nan: expected above 0 and at most 1."),
        ({"kind": "d"}, "config.kind = 'd': expected 'a', 'b' or 'c'."),
        ({"angles": (0.1,)}, "config.angles = (0.1,): expected 2 numbers."),
        ({"angles": (0.1, -1)}, "config.angles = (0.1, -1): expected each at least 0."),
        ({"angles": ("x", "y")}, "config.angles = ('x', 'y'): expected a tuple, each a number."),
        ({"limit": 12}, "config.limit = 12: expected at least 1 and below 12 (size)."),
        ({"inner.low": 3}, "config.inner.low = 3: expected at most 2 (inner.high)."),
        ({"whole.part": 4}, "config.whole.part = 4: expected a divisor of 6 (size): 1, 2, 3 or 6."),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_one_grammar(changes, message):
    config = settings.defaults(TREE)
    settings.check(config, TREE)
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    with pytest.raises(UserError) as refused:
        settings.check(config, TREE)
    assert str(refused.value) == message


def test_a_config_is_completed_and_zero_means_not_given():
    config = ml_collections.ConfigDict({"size": 24, "limit": 0, "free": {"any": 1}})
    full = settings.completed(config, TREE)
    assert (full.size, full.part, full.limit, full.inner.high) == (24, 3, None, 2)
    assert full.free.any == 1
    full.limit = 3
    with pytest.raises(TypeError):
        full.limit = "three"
    config.inner = {"hihg": 1}
    with pytest.raises(UserError, match=r"config\.inner\.hihg: unknown key.*inner\.high\?"):
        settings.completed(config, TREE)


def test_every_key_is_described_with_value_and_bounds():
    text = settings.described(TREE, settings.defaults(TREE))
    assert text.count("--config.") == len(settings.flat(TREE)) - 1  # all but the free section
    assert "--config.part=3" in text
    assert "of the size (divides size)" in text
    assert "'a', 'b' or 'c'" in text


@pytest.mark.parametrize("name", files.names())
def test_every_setting_of_every_config_has_help_and_a_default_within_bounds(name):
    for argument in ("ntu60_xsub", "nwucla,runlocal"):
        config = files.get_config(f"{name}:{argument}")
        if "method" in config:
            tree = base.of_method(config.method)
        elif "protocol" in config:
            tree = evaluation.of_protocol(config.protocol)
        else:
            tree = comparison.COMPARISON
        settings.check(settings.completed(config, tree), tree)
        assert all(s.help for s in settings.flat(tree).values() if isinstance(s, Setting))


@pytest.mark.parametrize(
    ("method", "encoder", "model", "message"),
    [
        ("amr", {"patch_len": 5}, {}, "encoder.patch_len = 5: expected a divisor of 12"),
        ("amr", {}, {"r": 3}, "model.r = 3: expected a divisor of 4 (encoder.num_frames / encod"),
        ("amr", {}, {"r": 0}, "model.r = 0: expected a divisor of 4"),
        ("amr", {}, {"windows": (2, 5)}, "windows = (2, 5): expected each a divisor of 12"),
        ("amr", {}, {"windows": ()}, "model.windows = (): expected at least one number"),
        ("amr", {}, {"decoder_heads": 5}, "decoder_heads = 5: expected a divisor of 12 (model.d"),
        ("amr", {}, {"num_visible": 20}, "num_visible = 20: expected 1 to 19 visible patches"),
        ("amr", {}, {"num_visible": -1}, "model.num_visible = -1: expected at least 1"),
        (
            "amr",
            {},
            {"num_visible": None, "mask_ratio": 0.99},
            "num_visible = None: expected 1 to 19 visible patches; found 0, with config.model.mask",
        ),
        (
            "amr",
            {"patch_len": 12},
            {"masking": "motion_aware", "r": 1, "num_visible": 2},
            "masking = 'motion_aware': expected 'random', as a clip is one patch in time",
        ),
        ("amr", {}, {"target": "bones"}, "model.target = 'bones': expected 'joint' or 'motion'"),
        ("mamp", {}, {"pool": 3}, "model.pool = 3: expected a divisor of 4"),
        ("mamp", {}, {"num_decoded": 15}, "num_decoded = 15: expected at most 14, the hidden"),
        ("mamp", {}, {"num_decoded": 5, "pool": 2}, "expected None where config.model.pool is"),
        (
            "skeleton_mae",
            {"patch_len": 1},
            {"normalisation": "patch_timestamps"},
            "normalisation = 'patch_timestamps': expected another one, or predicted patches",
        ),
        ("nat", {}, {"momentum_start": 1.1}, "expected at least 0 and at most 1"),
        ("sjepa", {}, {"view_mirror": (1, 0)}, "expected each of the joints 0 to 4 once, or ()"),
        ("sjepa", {}, {"view_angles": (0.1, 0.2)}, "model.view_angles = (0.1, 0.2): expected 3"),
        (
            "sjepa",
            {"channels": 2},
            {},
            "max_angles = (0.3, 0.3, 0.3): expected (0.0, 0.0, angle): joints in an image rotate",
        ),
        ("slim", {}, {"local_parts": (2, 3)}, "local_parts = (2, 3): expected each a divisor of 4"),
        (
            "slim",
            {"position": "grid"},
            {},
            "an encoder with config.encoder.position = 'rotary' for",
        ),
        (
            "slim",
            {},
            {"local_min": (0.1,)},
            "local_min = (0.1,): expected 2 numbers, as con",
        ),
        ("slim", {}, {"parts": ()}, "parts = (): expected tuples of joints, none of them empty"),
        ("slim", {}, {"parts": ((0, 1), (1,))}, "expected tuples of joints, none of them empty"),
        ("slim", {}, {"limbs": ((0, 5),)}, "limbs = ((0, 5),): expected tuples of joints"),
        ("gfp", {}, {"levels": (4, 2)}, "levels = (4, 2): expected levels of which each divides"),
        ("gfp", {}, {"hidden": 0}, "model.hidden = 0: expected at least 1"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(method, encoder, model, message):
    config = ml_collections.ConfigDict(small.config(method, encoder, **model))
    with pytest.raises(UserError) as refused:
        settings.check(config, base.of_method(method))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["input.second_body=repeat"], "second_body = 'repeat': expected 'zeros', or config.input"),
        (["attention_kernel=cudnn", "dtype=float32"], "expected 'xla', or config.dtype = 'bfl"),
        (["optim.warmup_epochs=60"], "expected at least 0 and below 60 (epochs)"),
        (
            ["optim.min_lr=1.0"],
            "min_lr = 1.0: expected at least 0 and at most 0.001 (optim.lr)",
        ),
        (["augment.max_angles=(0.1,0.2)"], "max_angles = (0.1, 0.2): expected 3 numbers."),
        (["augment.max_angles=0.3"], "max_angles = (0.3,): expected 3 numbers."),
        (["augment.max_fraction=0.4"], "min_fraction = 0.5: expected at least 0 and at most 0.4"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(overrides, message):
    config = files.get_config("amr:nwucla")
    files.override(config, overrides)
    with pytest.raises(UserError) as refused:
        settings.check(config, base.of_method("amr"))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("protocol", "override", "message"),
    [
        ("linear", "features=fresh", "features = 'fresh': expected 'augmented' or 'cached'"),
        ("linear", "cached_views=-1", "cached_views = -1: expected at least 0"),
        ("knn", "k=0", "k = 0: expected at least 1"),
        ("knn", "bodies=both", "bodies = 'both': expected 'packed' or 'all'"),
        ("retrieval", "encode_batch_size=0", "encode_batch_size = 0: expected at least 1"),
        ("finetune", "head.dropout=-0.1", "head.dropout = -0.1: expected at least 0 and below 1"),
        ("finetune", "optim.warmup_epochs=31", "warmup_epochs = 31: expected at least 0 and at"),
        ("finetune", "optim.min_lr=0.1", "min_lr = 0.1: expected at least 0 and at most 0.001"),
        ("finetune", "scratch.encoder.patch_len=5", "config.scratch.encoder.patch_len = 5: exp"),
        ("semi", "fraction=0.0", "fraction = 0.0: expected above 0 and at most 1"),
        ("semi", "draws=0", "draws = 0: expected at least 1"),
    ],
)
def test_settings_of_protocols_are_refused(protocol, override, message):
    config = files.get_config(f"{protocol}:nwucla")
    files.override(config, [override])
    with pytest.raises(UserError) as refused:
        settings.check(config, evaluation.of_protocol(protocol))
    assert message in str(refused.value)
