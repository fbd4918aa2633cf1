"""The decoders against a float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.models.decoder import QueryDecoder, SelfAttentionDecoder
from tests.models import reference
from tests.models.params import noisy

SIZES = {"num_times": 2, "num_joints": 5, "values": 18, "width": 16, "depth": 1, "num_heads": 4}
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


def test_mask_tokens_follow_the_definition():
    decoder = SelfAttentionDecoder(**SIZES)
    params = noisy(decoder, TOKENS, IDS)
    out = jax.jit(decoder.apply)({"params": params}, TOKENS, IDS)
    assert out.shape == (3, 10, 18)
    for body in range(3):
        expected = reference.self_attention_decoder(TOKENS[body], IDS[body], params, num_heads=4)
        np.testing.assert_allclose(out[body], expected, atol=2e-5)
