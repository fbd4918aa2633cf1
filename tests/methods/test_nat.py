"""NAT: its contrastive term by hand, and what reaches which encoder."""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax import methods
from amr_jax.methods.nat import info_nce
from amr_jax.run import sharding
from amr_jax.train.step import method_loss
from tests.methods import small
from tests.models import reference
from tests.models.params import noisy

CLIPS = small.clips()
ALL = small.everywhere(CLIPS)
KEYS = {"mask": jax.random.key(5)}


def test_info_nce_by_hand_eagerly_compiled_and_mapped():
    one = jnp.array([[3.0, 0.0], [0.0, 0.5]])
    other = jnp.array([[1.0, 0.0], [2.0, 2.0]])
    both = jnp.ones(2, bool)
    # Cosines: 1, 1/√2; 0, 1/√2. Temperature 1/2 doubles them.
    c = 2 / np.sqrt(2)
    rows = [np.log(np.exp(2) + np.exp(c)) - 2, np.log(1 + np.exp(c)) - c]
    for f in (info_nce, jax.jit(info_nce)):
        np.testing.assert_allclose(f(one, other, both, 0.5), np.mean(rows), rtol=1e-6)
    mapped = jax.vmap(info_nce, in_axes=(0, 0, None, None))(
        jnp.stack([one, one]), jnp.stack([other, one]), both, 0.5
    )
    alike = np.log(np.exp(2) + 1) - 2
    np.testing.assert_allclose(mapped, [np.mean(rows), alike], rtol=1e-6)
    # Features of one place for all: nothing can be told apart.
    np.testing.assert_allclose(
        info_nce(jnp.ones((8, 3)), jnp.ones((8, 3)), jnp.ones(8, bool), 0.1), np.log(8), rtol=1e-6
    )
    assert info_nce(one.astype(jnp.bfloat16), other, both, 0.5).dtype == jnp.float32


def test_without_contrast_it_is_skeleton_mae_with_another_target():
    nat = methods.build(small.config("nat"))
    mae = methods.build(small.config("skeleton_mae", normalisation="timestamps"))
    params = noisy(nat, CLIPS)
    assert not nat.momentum_encoder
    (loss, _), _ = small.loss_and_gradient(nat)(params, {}, {}, CLIPS, KEYS)
    (expected, _), _ = small.loss_and_gradient(mae)(params, {}, {}, CLIPS, KEYS)
    assert loss == expected


def test_the_contrastive_term_compares_the_masked_view_with_the_whole_sequence():
    method = methods.build(small.config("nat", contrast=0.3, temperature=0.4))
    plain = methods.build(small.config("nat"))
    params, average = noisy(method, CLIPS), small.average(method)
    draw = jax.jit(
        lambda: method.apply({"params": params}, CLIPS, ALL, rngs=KEYS, method="draw_mask")
    )
    visible, whole = [], []
    for clip, ids in zip(np.asarray(CLIPS), np.asarray(draw()), strict=True):
        visible.append(reference.encoder(clip, ids, params["encoder"], 3, 2).mean(0))
        whole.append(reference.encoder(clip, None, average, 3, 2).mean(0))
    term = info_nce(jnp.array(visible), jnp.array(whole), jnp.ones(3, bool), 0.4)
    (loss, (metrics, _)), _ = small.loss_and_gradient(method)(params, {}, average, CLIPS, KEYS)
    (rest, _), _ = small.loss_and_gradient(plain)(params, {}, {}, CLIPS, KEYS)
    np.testing.assert_allclose(metrics["contrast"], term, rtol=1e-5)
    np.testing.assert_allclose(metrics["reconstruction"], rest, rtol=1e-6)
    np.testing.assert_allclose(loss, rest + 0.3 * term, rtol=1e-5)
    np.testing.assert_allclose(metrics["target_std"], np.std(whole, axis=0).mean(), rtol=1e-4)


def test_the_bodies_of_all_devices_are_compared():
    method = methods.build(small.config("nat", contrast=0.3, temperature=0.4))
    params, average = noisy(method, CLIPS), small.average(method)
    (expected, _), _ = small.loss_and_gradient(method)(params, {}, average, CLIPS, KEYS)
    mesh = sharding.make_mesh(jax.devices()[:3])  # a body each
    clips = sharding.put(CLIPS, sharding.over_data(mesh))
    loss = jax.jit(lambda clips: method_loss(method)(params, {}, average, clips, ALL, KEYS)[0])
    np.testing.assert_allclose(loss(clips), expected, rtol=1e-5)
