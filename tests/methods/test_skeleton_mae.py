"""The mask-token methods against their definition in float64, and the paper's two baselines."""

import functools

import jax
import numpy as np
import pytest

from amr_jax import methods
from amr_jax.ops import masking
from tests.methods import small
from tests.models import reference
from tests.models.params import noisy
from tests.ops.test_targets import reference as reference_target

CLIPS = small.clips()
KEYS = {"mask": jax.random.key(5)}


@functools.partial(jax.jit, static_argnums=0)
def drawn(method, params):
    """The visible patches, and those that decoder masking decodes, as the method draws them."""

    def draw(module):
        ids = module.draw_mask(CLIPS, small.everywhere(CLIPS))
        count = module.num_decoded or 1
        key = module.make_rng("mask")
        return ids, masking.draw_hidden(key, ids, module.encoder.num_patches, count)

    return method.apply({"params": params}, rngs=KEYS, method=draw)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("skeleton_mae", {}),
        ("mamp", {}),
        ("skeleton_mae", {"num_decoded": 3}),
        ("skeleton_mae", {"pool": 2, "target": "motion"}),
    ],
    ids=["SkeletonMAE", "MAMP", "decoder masking", "downsampling"],
)
def test_the_loss_follows_the_definition(name, model):
    method = methods.build(small.config(name, **model))
    params = noisy(method, CLIPS)
    visible, decoded = map(np.asarray, drawn(method, params))
    heads, length = method.encoder.num_heads, method.encoder.patch_len
    errors, hidden = [], []
    for clip, ids, chosen in zip(np.asarray(CLIPS), visible, decoded, strict=True):
        tokens = reference.encoder(clip, ids, params["encoder"], length, heads)
        patches = method.pool * length
        target = reference_target(clip, patches, method.target, method.normalisation)
        if method.num_decoded:
            prediction = reference.decoder_masking(tokens, ids, chosen, params["decoder"], 3)
            errors.append((prediction - target.reshape(20, -1)[chosen]) ** 2)
            hidden.append(np.ones_like(errors[-1], bool))
            continue
        prediction = reference.self_attention_decoder(
            tokens, ids, params["decoder"], 3, method.pool
        )
        errors.append((prediction - target.reshape(prediction.shape)) ** 2)
        frames = np.ones((12, 5, 3), bool)
        for i in ids:
            frames[i // 5 * length : (i // 5 + 1) * length, i % 5] = False
        hidden.append(reference.patches(frames, patches))
    (loss, _), _ = small.loss_and_gradient(method)(params, {}, {}, CLIPS, KEYS)
    expected = np.concatenate(errors)[np.concatenate(hidden)].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "predicted"), [({}, 20), ({"num_decoded": 3}, 3), ({"pool": 4}, 5)]
)
def test_number_of_predictions(model, predicted):
    assert methods.build(small.config("mamp", **model)).num_predicted == predicted
