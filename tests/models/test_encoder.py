"""The encoder against a float64 reference, its parameters, dtypes and stochastic depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models import reference
from tests.models.params import encoder as build
from tests.models.params import noisy

SIZES = {"num_frames": 12, "num_joints": 5, "patch_len": 3, "width": 16, "depth": 2, "num_heads": 4}
CLIPS = jax.random.normal(jax.random.key(0), (3, 12, 5, 3))
IDS = jnp.array([[0, 7, 19], [19, 3, 4], [11, 10, 12]])


@pytest.fixture(scope="module")
def params():
    return noisy(build(**SIZES), CLIPS)


def test_tokens_of_visible_patches_follow_the_definition(params):
    apply = build(**SIZES).apply
    eager = apply({"params": params}, CLIPS, IDS)
    compiled = jax.jit(apply)({"params": params}, CLIPS, IDS)
    for body in range(3):
        expected = reference.encoder(CLIPS[body], IDS[body], params, patch_len=3, num_heads=4)
        np.testing.assert_allclose(eager[body], expected, atol=2e-5)
        np.testing.assert_allclose(compiled[body], expected, atol=2e-5)


def test_tokens_of_all_patches_follow_the_definition(params):
    tokens = jax.jit(build(**SIZES).apply)({"params": params}, CLIPS)
    for body in range(3):
        expected = reference.encoder(CLIPS[body], None, params, patch_len=3, num_heads=4)
        np.testing.assert_allclose(tokens[body], expected, atol=2e-5)


def test_parameters_of_the_default_encoder():
    encoder = build(num_frames=120, num_joints=25)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 120, 25, 3)))["params"]
    leaves = jax.tree.leaves(shapes)
    assert sum(leaf.size for leaf in leaves) == 6_336_000
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    assert shapes["block_0"]["attn"]["qkv"]["kernel"].shape == (256, 768)
    assert shapes["position"]["time"].shape == (30, 256)
    assert shapes["position"]["joint"].shape == (25, 256)


def test_the_published_patch_embedding_starts_as_torch_starts_it():
    """As nn.Conv2d does: weights and biases uniform within 1/√(values of a patch)."""
    encoder = build(num_frames=120, num_joints=25, depth=1, patch_init="torch")
    params = jax.jit(encoder.init)(jax.random.key(0), jnp.zeros((1, 120, 25, 3)))["params"]
    limit = 1 / np.sqrt(4 * 3)
    for name, least in (("kernel", 0.99), ("bias", 0.9)):
        values = np.asarray(params["patch_embed"][name])
        assert least * limit < np.abs(values).max() <= limit
        np.testing.assert_allclose(values.std(), limit / np.sqrt(3), rtol=0.1)
    assert np.abs(params["block_0"]["attn"]["qkv"]["kernel"]).max() <= np.sqrt(6 / (256 + 768))


def test_initial_values():
    encoder = build(num_frames=120, num_joints=25, depth=1)
    params = jax.jit(encoder.init)(jax.random.key(0), jnp.zeros((1, 120, 25, 3)))["params"]
    qkv = params["block_0"]["attn"]["qkv"]
    limit = np.sqrt(6 / (256 + 768))  # Xavier on the fused projection, as published
    assert 0.99 * limit < np.abs(qkv["kernel"]).max() <= limit
    assert not qkv["bias"].any()
    time = np.asarray(params["position"]["time"])
    assert 0.0195 < time.std() < 0.0205
    assert np.abs(time).max() > 0.05  # not cut at two standard deviations


def test_half_precision_computes_in_bfloat16_and_stays_close(params):
    encoder = build(**SIZES, dtype="bfloat16")
    half = jax.jit(encoder.apply)({"params": params}, CLIPS, IDS)
    assert half.dtype == jnp.bfloat16
    exact = reference.encoder(CLIPS[0], IDS[0], params, patch_len=3, num_heads=4)
    np.testing.assert_allclose(half[0].astype(jnp.float32), exact, atol=0.1)
    own = jax.eval_shape(encoder.init, jax.random.key(1), CLIPS)
    assert {leaf.dtype for leaf in jax.tree.leaves(own)} == {jnp.dtype("float32")}


def test_a_residual_stream_in_float32_is_closer_to_the_definition():
    sizes = SIZES | {"depth": 6}
    params = noisy(build(**sizes), CLIPS, IDS)
    exact = [
        reference.encoder(clip, ids, params, patch_len=3, num_heads=4)
        for clip, ids in zip(CLIPS, IDS, strict=True)
    ]
    errors = {}
    for residual_dtype in ("compute", "float32"):
        encoder = build(**sizes, dtype="bfloat16", residual_dtype=residual_dtype)
        half = jax.jit(encoder.apply)({"params": params}, CLIPS, IDS)
        assert half.dtype == jnp.bfloat16
        errors[residual_dtype] = np.abs(half.astype(np.float32) - np.stack(exact)).mean()
    assert errors["float32"] < 0.9 * errors["compute"]


def test_half_precision_keeps_what_moves_far_from_the_camera(params):
    # Uncentred sets (PKU-MMD) stand 3 m away, where bfloat16 numbers are 16 mm apart. A bias that
    # has learned the distance takes it off before anything is rounded.
    still = jnp.broadcast_to(0.1 * CLIPS[:, :1], CLIPS.shape)
    wave = 0.02 * jnp.sin(jnp.arange(12.0))[:, None, None]  # 2 cm
    kernel = params["patch_embed"]["kernel"]
    layer = {"kernel": kernel, "bias": -3 * kernel.sum(0)}
    encoder = build(**SIZES, dtype="bfloat16")

    def embed(clips):
        given = []

        def first_block(call, args, kwargs, context):
            if context.module.name == "block_0":
                given.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(first_block):
            encoder.apply({"params": params | {"patch_embed": layer}}, clips)
        return given[0].astype(jnp.bfloat16)  # as the blocks take it

    far = embed(still + 3 + wave) - embed(still + 3)
    exact = wave[:, 0, 0].reshape(4, 3).repeat(3, axis=1) @ kernel  # of each time
    error = far.reshape(3, 4, 5, 16).astype(jnp.float32) - exact[:, None]
    assert jnp.square(error).mean() < 0.03 * jnp.square(exact).mean()


def test_gradient_reaches_the_embeddings_of_visible_patches_only(params):
    def loss(position):
        tokens = build(**SIZES).apply({"params": params | {"position": position}}, CLIPS, IDS)
        return (tokens * jnp.arange(16)).sum()

    gradient = jax.jit(jax.grad(loss))(params["position"])
    times, joints = {0, 1, 3, 2}, {0, 2, 4, 3, 1}  # ids // 5 and ids % 5
    assert set(np.flatnonzero(np.abs(gradient["time"]).sum(-1))) == times
    assert set(np.flatnonzero(np.abs(gradient["joint"]).sum(-1))) == joints


def test_stochastic_depth_grows_from_none_and_drops_whole_bodies(params):
    encoder = build(**SIZES, drop_path=0.5)
    many = jnp.repeat(CLIPS[:1], 64, axis=0)

    def blocks(train):
        rngs = {"drop_path": jax.random.key(0)}
        found = encoder.apply(
            {"params": params}, many, None, train, rngs=rngs, capture_intermediates=True
        )[1]["intermediates"]
        return [found[f"block_{i}"]["__call__"][0] for i in range(2)]

    kept, dropped = jax.jit(lambda: (blocks(False), blocks(True)))()
    np.testing.assert_allclose(dropped[0], kept[0], atol=1e-6)
    # Either branch of the last block is skipped, or counts double: four outcomes.
    outcomes = np.unique(np.round(np.asarray(dropped[1]), 4), axis=0)
    assert len(outcomes) == 4
    skipped_both = np.abs(outcomes - np.asarray(kept[0])[0]).max((1, 2)) < 1e-3
    assert skipped_both.sum() == 1


def test_clips_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 12, 4, 3\).*12, 5, 3"):
        build(**SIZES).init(jax.random.key(0), CLIPS[:, :, :4])
