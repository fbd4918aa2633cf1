"""The encoder with rotary time, tokens in front, a mask token and SwiGLU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from amr_jax.config import base, settings
from amr_jax.errors import UserError
from amr_jax.ops import masking
from amr_jax.train import optim
from tests.models import reference
from tests.models.params import encoder as build
from tests.models.params import noisy

FORM = {
    "position": "rotary",
    "class_token": True,
    "registers": 2,
    "mask_token": True,
    "mlp": "swiglu",
}
SIZES = {"num_frames": 12, "num_joints": 5, "patch_len": 3, "width": 16, "depth": 2, "num_heads": 4}
CLIPS = jax.random.normal(jax.random.key(0), (3, 12, 5, 3))
HIDDEN = jnp.zeros((3, 20), bool).at[0, jnp.array([3, 11])].set(True).at[2, 19].set(True)


@pytest.fixture(scope="module")
def params():
    return noisy(build(**SIZES, **FORM), CLIPS)


@pytest.fixture(scope="module")
def encode(params):
    apply = jax.jit(
        lambda *args, **named: build(**SIZES, **FORM).apply(
            {"params": params}, *args, method="encode", **named
        )
    )
    return apply


@pytest.mark.parametrize("frames", [12, 3, 18])
def test_tokens_follow_the_definition_at_any_length(params, encode, frames):
    clips = jnp.tile(CLIPS, (1, 2, 1, 1))[:, :frames]
    tokens, summary = encode(clips)
    for body in range(3):
        expected = reference.rotary_encoder(clips[body], params, patch_len=3, num_heads=4)
        np.testing.assert_allclose(tokens[body], expected[3:], atol=3e-5)
        np.testing.assert_allclose(summary[body], expected[0], atol=3e-5)


def test_the_mask_token_replaces_hidden_patches(params, encode):
    tokens, summary = encode(CLIPS, hidden=HIDDEN)
    for body in range(3):
        hidden = np.flatnonzero(HIDDEN[body])
        expected = reference.rotary_encoder(CLIPS[body], params, 3, 4, hidden)
        np.testing.assert_allclose(tokens[body], expected[3:], atol=3e-5)
        np.testing.assert_allclose(summary[body], expected[0], atol=3e-5)
    # What a hidden patch was has no effect.
    other = CLIPS.at[0, 0:3, 3].add(1.0)
    np.testing.assert_array_equal(encode(other, hidden=HIDDEN)[0], tokens)


def test_visible_patches_alone_are_as_if_others_were_not_attended_to(encode):
    joints = jnp.array([[1, 0, 1, 1, 0]] * 3, bool)
    kept = jnp.flatnonzero(masking.of_all_times(joints, 4)[0])
    tokens, summary = encode(CLIPS, joints=joints)
    alone, own = encode(CLIPS, jnp.tile(kept, (3, 1)))
    np.testing.assert_allclose(alone, tokens[:, kept], atol=1e-5)
    np.testing.assert_allclose(own, summary, atol=1e-5)


def test_a_call_gives_the_patches(params, encode):
    tokens = build(**SIZES, **FORM).apply({"params": params}, CLIPS)
    np.testing.assert_allclose(tokens, encode(CLIPS)[0], atol=1e-5)
    plain = build(**SIZES)
    found = plain.apply({"params": noisy(plain, CLIPS)}, CLIPS, method="encode")
    assert found[0].shape == (3, 20, 16)
    assert found[1] is None


def test_rotary_tokens_know_differences_of_times_alone(params):
    """Later patches alone are what the clip from there on is, but for the tokens in front."""
    bare = FORM | {"class_token": False, "registers": 0}
    encoder = build(**SIZES, **bare)
    later = jnp.tile(jnp.arange(5, 20), (3, 1))
    tokens = encoder.apply({"params": params}, CLIPS, later)
    np.testing.assert_allclose(tokens, encoder.apply({"params": params}, CLIPS[:, 3:]), atol=1e-4)
    backwards = CLIPS.reshape(3, 4, 3, 5, 3)[:, ::-1].reshape(3, 12, 5, 3)
    found = encoder.apply({"params": params}, backwards).reshape(3, 4, 5, 16)[:, ::-1]
    forwards = encoder.apply({"params": params}, CLIPS).reshape(3, 4, 5, 16)
    assert jnp.abs(found - forwards).max() > 0.1


def test_every_parameter_gets_a_gradient(params):
    def loss(params):
        encoder = build(**SIZES, **FORM)
        tokens, summary = encoder.apply({"params": params}, CLIPS, hidden=HIDDEN, method="encode")
        return (tokens * jnp.arange(16)).sum() + (summary * jnp.arange(16)).sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(params)):
        assert jnp.abs(gradient).max() > 1e-6, path


def test_parameters_at_full_size():
    """6.37 M, as published for SLiM: heads of 32, two thirds of the hidden width of 1,024."""
    form = FORM | {"registers": 4}
    encoder = build(num_frames=64, num_joints=25, patch_len=8, **form)
    clips = jnp.zeros((1, 64, 25, 3))
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), clips)["params"]
    assert shapes["block_0"]["mlp"]["fc1"]["kernel"].shape == (256, 2 * 688)
    assert shapes["block_0"]["mlp"]["fc2"]["kernel"].shape == (688, 256)
    assert shapes["position"].keys() == {"joint"}
    assert shapes["leading_tokens"].shape == (5, 256)
    assert shapes["mask_token"].shape == (256,)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 6_368_512
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_every_part_has_a_layer_for_fine_tuning(params):
    scales = optim.layer_scales({"encoder": params}, depth=2, decay=0.5)["encoder"]
    for name in ("leading_tokens", "mask_token"):
        assert scales[name] == 0.125
    assert scales["position"] == {"joint": 0.125}


def test_half_precision_stays_close(params, encode):
    half = build(**SIZES, **FORM, dtype="bfloat16")
    found = half.apply({"params": params}, CLIPS, hidden=HIDDEN, method="encode")
    for x, exact in zip(found, encode(CLIPS, hidden=HIDDEN), strict=True):
        assert x.dtype == jnp.bfloat16
        np.testing.assert_allclose(x.astype(jnp.float32), exact, atol=0.2)


def test_what_does_not_fit_is_refused(params):
    encoder = build(**SIZES, **FORM)
    with pytest.raises(ValueError, match=r"\(3, 11, 5, 3\).*or T a multiple of 3"):
        encoder.apply({"params": params}, CLIPS[:, :11])
    with pytest.raises(ValueError, match=r"\(3, 12, 4, 3\).*12, 5, 3"):
        encoder.apply({"params": params}, CLIPS[:, :, :4])
    with pytest.raises(ValueError, match="mask_token = True"):
        build(**SIZES).init(jax.random.key(0), CLIPS, hidden=HIDDEN, method="encode")


def test_rotary_heads_have_an_even_width():
    config = ConfigDict({"encoder": settings.defaults(base.ENCODER)})
    config.encoder.update({"position": "rotary", "width": 12, "num_heads": 4})
    with pytest.raises(UserError, match=r"encoder\.position = 'rotary'.*found 3"):
        settings.check(config, {"encoder": base.ENCODER})
    config.encoder.num_heads = 3
    settings.check(config, {"encoder": base.ENCODER})
