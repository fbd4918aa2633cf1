"""The encoder sees a confidence; masks, targets, weights and views do not depend on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax import methods
from tests.methods import small
from tests.models.params import noisy, views

PLACES = small.clips()[..., :2]
ONE, OTHER = (
    jnp.concatenate([PLACES, jax.random.uniform(jax.random.key(i), (3, 12, 5, 1))], axis=-1)
    for i in (1, 2)
)

ALL = small.everywhere(ONE)


def build(method, confidence=True, **model):
    if method == "sjepa":
        model["view_angles"] = (0.0, 0.0, 0.3)
    encoder = {"channels": 2 + confidence, "confidence": confidence}
    return methods.build(small.config(method, encoder=encoder, **model))


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_trains_on_clips_with_confidence(method):
    module = build(method)
    rngs = {"params": jax.random.key(0), **small.keys(module)}
    shapes = jax.eval_shape(module.init, rngs, *views(module, ONE, ALL))
    assert shapes["params"]["encoder"]["patch_embed"]["kernel"].shape == (3 * 3, 8)
    if method in ("amr", "mamp", "nat", "skeleton_mae"):
        frames = 3 * (module.r if method == "amr" else 1)
        assert shapes["params"]["decoder"]["pred"]["bias"].shape == (frames * 2,)


@pytest.mark.parametrize("method", ["amr", "mamp"])
def test_targets_do_not_depend_on_confidence(method):
    module, without = build(method), build(method, confidence=False)
    (target, _), (expected, _) = (
        m.apply({}, x, ALL, 1, method="target_patches")
        for m, x in ((module, ONE), (without, PLACES))
    )
    np.testing.assert_array_equal(target, expected)


def test_motion_aware_masks_do_not_depend_on_confidence():
    module = build("mamp")
    masks = [
        module.apply({}, clips, ALL, rngs={"mask": jax.random.key(0)}, method="draw_mask")
        for clips in (ONE, OTHER)
    ]
    np.testing.assert_array_equal(*masks)


def test_motion_features_of_gfp_do_not_depend_on_confidence():
    module = build("gfp")
    params = noisy(module, ONE)
    apply = jax.jit(lambda x: module.apply({"params": params}, x, ALL, rngs=small.keys(module))[1])
    one, other = apply(ONE), apply(OTHER)
    for name in ("covariance", "variance", "target_std"):  # of the features alone
        assert one[name] == other[name]
    assert one["prediction"] != other["prediction"]


def test_the_encoder_of_amr_sees_confidence_and_its_weights_do_not():
    module = build("amr")
    params = noisy(module, ONE)
    apply = jax.jit(lambda x: module.apply({"params": params}, x, ALL, rngs=small.keys(module)))
    (loss, metrics), (other_loss, other_metrics) = apply(ONE), apply(OTHER)
    assert 0 < metrics["weight"] == other_metrics["weight"]
    assert np.isfinite(loss)
    assert abs(loss - other_loss) > 1e-4


def test_the_views_of_sjepa_keep_confidence():
    module = build("sjepa")
    view, _ = module.apply({}, ONE, ALL, rngs={"view": jax.random.key(0)}, method="view")
    mirrored = ONE[:, :, jnp.array(module.view_mirror)]
    for body in range(3):
        same = [np.array_equal(view[body, ..., 2], x[body, ..., 2]) for x in (ONE, mirrored)]
        assert any(same)
    assert np.abs(view - ONE)[..., :2].min(axis=(1, 2)).max() > 0
