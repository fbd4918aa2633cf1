"""From config to method: the contract of every method, and settings refused by name."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict, config_dict

from amr_jax import methods
from amr_jax.errors import UserError
from tests.methods import small
from tests.models.params import noisy

CLIPS = small.clips()


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_keeps_the_contract(name):
    method = methods.build(small.config(name))
    params = noisy(method, CLIPS)
    alone = jax.eval_shape(method.encoder.init, jax.random.key(0), CLIPS)["params"]
    assert jax.tree.map(jnp.shape, params["encoder"]) == jax.tree.map(jnp.shape, alone)

    kept = small.variables(method, CLIPS)
    (loss, (metrics, changed)), gradient = small.loss_and_gradient(method)(
        params, kept, small.average(method), CLIPS, small.keys(method, 2)
    )
    assert jax.tree.map(jnp.shape, changed) == jax.tree.map(jnp.shape, kept)
    assert 0 < method.num_kept < method.encoder.num_patches
    assert method.num_predicted > 0
    assert loss.shape == ()
    assert loss.dtype == jnp.float32
    assert jnp.isfinite(loss)
    assert metrics["loss"] == loss
    assert all(metric.shape == () for metric in metrics.values())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert jnp.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert leaf.any(), f"no gradient reaches {jax.tree_util.keystr(path)}"


def test_a_config_dict_with_placeholders_builds():
    config = ConfigDict(small.config())
    config.model.num_visible = config_dict.placeholder(int)
    method = methods.build(config)
    assert method.num_kept == 2  # 10 % of 20
    config.model.num_visible = 0
    assert methods.build(config).num_kept == 2
    config.model.num_visible = 7
    config.dtype = "bfloat16"
    method = methods.build(config)
    assert method.num_kept == 7
    assert method.encoder.dtype == method.dtype == jnp.bfloat16
    hash(method)


def test_the_default_model_is_the_papers():
    method = methods.build(small.full_size("amr"))
    assert (method.encoder.num_patches, method.num_kept, method.num_predicted) == (750, 75, 125)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (small.config("mae"), r"config\.method = 'mae'; expected one of: amr, "),
        (small.config() | {"dtype": "auto"}, r"config\.dtype = 'auto'"),
        (small.config(rr=2), r"unknown key config\.model\.rr; expected one of: .*windows"),
        (small.config("mamp", r=2), r"unknown key config\.model\.r;"),
        (small.config(encoder={"heads": 2}), r"unknown key config\.encoder\.heads"),
        (small.config(encoder={"patch_len": 5}), r"patch_len = 5 does not divide"),
        (small.config(r=3), r"config\.model\.r = 3 does not divide .*12 / 3 = 4; .* 1, 2, 4"),
        (small.config(r=0), r"config\.model\.r = 0 does not divide"),
        (small.config(windows=(2, 5)), r"windows: n = 5 does not divide .*num_frames = 12"),
        (small.config(windows=()), r"config\.model\.windows is empty"),
        (small.config(decoder_heads=5), r"decoder_heads = 5 does not divide .*decoder_width = 12"),
        (small.config(decoder_depth=0), r"config\.model\.decoder_depth = 0"),
        (small.config(num_visible=20), r"20 of 20 patches.*num_visible = 20"),
        (small.config(num_visible=-1), r"-1 of 20 patches"),
        (small.config(num_visible=0, mask_ratio=0.99), r"0 of 20 patches.*mask_ratio = 0\.99"),
        (small.config(mask_ratio=1.0), r"config\.model\.mask_ratio = 1\.0"),
        (small.config(masking="all"), r"masking = 'all'; expected one of: random, motion_aware"),
        (small.config(masking="motion_aware", tau=0.0), r"config\.model\.tau = 0\.0"),
        (
            small.config(masking="motion_aware", r=1, encoder={"patch_len": 12}, num_visible=2),
            r"compares patches in time .*patch_len = 1\.",
        ),
        (small.config(target="bones"), r"target = 'bones'; expected one of: joint, motion"),
        (small.config(normalisation="layer"), r"normalisation = 'layer'"),
        (small.config(weighting="linear"), r"weighting = 'linear'"),
        (small.config(energy_threshold="clip"), r"energy_threshold = 'clip'"),
        (small.config(loss_on="visible"), r"loss_on = 'visible'; expected one of: all, masked"),
        (small.config() | {"attention_kernel": "flash"}, r"attention_kernel = 'flash'; expected"),
        (
            small.config() | {"attention_kernel": "cudnn"},
            r"'cudnn' needs config\.dtype = 'bfloat16'",
        ),
        (small.config("mamp", pool=3), r"config\.model\.pool = 3 does not divide .*= 4"),
        (small.config("mamp", num_decoded=15), r"num_decoded = 15; .* the 14 hidden patches"),
        (small.config("mamp", num_decoded=5, pool=2), r"num_decoded = 5 and pool = 2"),
        (small.config("nat", contrast=-0.1), r"contrast = -0\.1"),
        (small.config("nat", temperature=0.0), r"config\.model\.temperature = 0\.0"),
        (small.config("nat", momentum_start=1.1), r"momentum_start = 1\.1; expected 0 to 1"),
        (small.config("sjepa", momentum_end=-1.0), r"momentum_end = -1\.0"),
        (small.config("sjepa", target_temperature=0.0), r"target_temperature = 0\.0"),
        (small.config("sjepa", centre_momentum=1.0), r"centre_momentum = 1\.0"),
        (small.config("sjepa", view_mirror=(1, 0)), r"view_mirror = \(1, 0\); .* 5 joints once"),
        (small.config("sjepa", target="joint"), r"unknown key config\.model\.target;"),
        (small.config("gfp", levels=()), r"config\.model\.levels is empty"),
        (small.config("gfp", levels=(3,)), r"config\.model\.levels = 3 does not divide"),
        (
            small.config("gfp", levels=(4, 2)),
            r"config\.model\.levels: = 4 does not divide the next, = 2",
        ),
        (small.config("gfp", hidden=0), r"config\.model\.hidden = 0"),
        (small.config("gfp", variance_weight=-1.0), r"variance_weight = -1\.0"),
        (small.config(k=0.0), r"config\.model\.k = 0\.0"),
        (small.config(epsilon=0.0), r"config\.model\.epsilon = 0\.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(config, message):
    with pytest.raises(UserError, match=message):
        methods.build(config)
