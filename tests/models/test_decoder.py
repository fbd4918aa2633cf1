"""The decoders against a float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.models.decoder import PoolingDecoder, QueryDecoder, SelfAttentionDecoder
from tests.models import reference
from tests.models.params import noisy

SIZES = {
    "num_times": 2,
    "num_joints": 5,
    "values": 18,
    "width": 16,
    "depth": 1,
    "num_heads": 4,
    "mlp_ratio": 4.0,
    "dtype": jnp.float32,
    "residual_dtype": "compute",
    "attention_kernel": "xla",
}
TOKENS = jax.random.normal(jax.random.key(0), (3, 4, 8))
IDS = jnp.array([[0, 7, 9, 1], [5, 3, 4, 2], [1, 0, 2, 9]])


@pytest.mark.parametrize("self_attention", [False, True], ids=["MCA", "MCA+MSA"])
def test_queries_follow_the_definition(self_attention):
    decoder = QueryDecoder(**SIZES, self_attention=self_attention)
    params = noisy(decoder, TOKENS)
    assert ("attn" in params["block_0"]) == self_attention
    out = jax.jit(decoder.apply)({"params": params}, TOKENS)
    assert out.shape == (3, 10, 18)
    for body in range(3):
        expected = reference.query_decoder(TOKENS[body], params, num_heads=4)
        np.testing.assert_allclose(out[body], expected, atol=2e-5)


@pytest.mark.parametrize("pool", [1, 2], ids=["all patches", "downsampling"])
def test_mask_tokens_follow_the_definition(pool):
    decoder = SelfAttentionDecoder(**SIZES, pool=pool)
    params = noisy(decoder, TOKENS, IDS)
    out = jax.jit(decoder.apply)({"params": params}, TOKENS, IDS)
    assert out.shape == (3, 10 // pool, 18)
    for body in range(3):
        expected = reference.self_attention_decoder(
            TOKENS[body], IDS[body], params, num_heads=4, pool=pool
        )
        np.testing.assert_allclose(out[body], expected, atol=2e-5)


def test_decoder_masking_decodes_the_drawn_patches_alone():
    decoder = SelfAttentionDecoder(**SIZES, pool=1)
    drawn = jnp.array([[2, 3, 8], [0, 1, 9], [4, 8, 6]])
    params = noisy(decoder, TOKENS, IDS, drawn)
    out = jax.jit(decoder.apply)({"params": params}, TOKENS, IDS, drawn)
    assert out.shape == (3, 3, 18)
    for body in range(3):
        expected = reference.decoder_masking(
            TOKENS[body], IDS[body], drawn[body], params, num_heads=4
        )
        np.testing.assert_allclose(out[body], expected, atol=2e-5)


def test_pooling_goes_from_fine_to_coarse():
    sizes = SIZES | {"num_times": 4, "depth": 2}
    decoder = PoolingDecoder(**sizes, levels=(2, 4))
    params = noisy(decoder, TOKENS, IDS)
    out = jax.jit(decoder.apply)({"params": params}, TOKENS, IDS)
    assert [level.shape for level in out] == [(3, 10, 18), (3, 5, 18), (3, 1, 18)]
    for body in range(3):
        expected = reference.pooling_decoder(
            TOKENS[body], IDS[body], params, num_heads=4, levels=(2, 4), depth=2
        )
        for level, values in zip(out, expected, strict=True):
            np.testing.assert_allclose(level[body], values, atol=5e-5)


def test_a_residual_stream_in_float32_is_closer_to_the_definition():
    sizes = SIZES | {"depth": 6}
    params = noisy(QueryDecoder(**sizes, self_attention=False), TOKENS)
    exact = [reference.query_decoder(body, params, num_heads=4) for body in TOKENS]
    errors = {}
    for residual_dtype in ("compute", "float32"):
        half = sizes | {"dtype": jnp.bfloat16, "residual_dtype": residual_dtype}
        decoder = QueryDecoder(**half, self_attention=False)
        out = jax.jit(decoder.apply)({"params": params}, TOKENS)
        assert out.dtype == jnp.bfloat16
        errors[residual_dtype] = np.abs(out.astype(np.float32) - np.stack(exact)).mean()
    assert errors["float32"] < 0.9 * errors["compute"]
