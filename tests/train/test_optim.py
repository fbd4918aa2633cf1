"""Schedule and weight decay, against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from amr_jax import methods
from amr_jax.methods import METHODS
from amr_jax.train import optim
from tests.methods import small
from tests.models.params import encoder as build
from tests.models.params import views

ADAM = {"weight_decay": 0.0, "decay_on": "kernels", "b1": 0.9, "b2": 0.95, "clip_norm": None}


def test_schedule_warms_up_linearly_and_ends_at_its_floor():
    lr = optim.schedule(lr=1e-3, min_lr=5e-4, warmup_steps=10, total_steps=110)
    np.testing.assert_allclose(lr(0), 0.0)
    np.testing.assert_allclose(lr(5), 5e-4)
    np.testing.assert_allclose(lr(10), 1e-3)
    np.testing.assert_allclose(lr(60), 7.5e-4)  # half-way down the cosine
    np.testing.assert_allclose(lr(110), 5e-4)


def test_schedule_without_warm_up_starts_at_the_top():
    lr = optim.schedule(lr=1e-3, min_lr=0.0, warmup_steps=0, total_steps=4)
    np.testing.assert_allclose(lr(0), 1e-3)
    np.testing.assert_allclose(lr(2), 5e-4)


def test_first_step_is_that_of_adamw():
    # At the first step Adam moves each weight by lr · sign(gradient); decay adds lr · wd · weight,
    # on kernels alone.
    params = {"fc": {"kernel": jnp.array([[2.0]]), "bias": jnp.array([2.0])}, "joint": jnp.ones(1)}
    grads = jax.tree.map(jnp.ones_like, params)
    update = optim.adamw(lambda _: 0.1, ADAM | {"weight_decay": 0.5})
    moved, _ = update.update(grads, update.init(params), params)
    np.testing.assert_allclose(moved["fc"]["kernel"], -0.1 - 0.1 * 0.5 * 2, rtol=1e-5)
    np.testing.assert_allclose(moved["fc"]["bias"], -0.1, rtol=1e-5)
    np.testing.assert_allclose(moved["joint"], -0.1, rtol=1e-5)


def test_clipping_bounds_the_gradient():
    # Adam divides the gradient's size out, but its first moment shows what came in.
    params = {"kernel": jnp.zeros((4,))}
    update = optim.adamw(lambda _: 0.1, ADAM | {"clip_norm": 1.0})
    _, state = update.update({"kernel": jnp.full((4,), 50.0)}, update.init(params), params)
    first_moment = jax.tree.leaves(state, is_leaf=lambda x: hasattr(x, "mu"))[0].mu["kernel"]
    np.testing.assert_allclose(np.linalg.norm(first_moment), 0.1, rtol=1e-5)


def test_kernels_decay_and_as_published_embeddings_and_tokens_do_too():
    names = ("kernel", "bias", "scale", "time", "mask_token")
    params = {"layer": dict.fromkeys(names, jnp.full((2, 2), 2.0))}

    def decayed(decay_on):
        update = optim.adamw(lambda _: 0.1, ADAM | {"weight_decay": 0.5, "decay_on": decay_on})
        zeros = jax.tree.map(jnp.zeros_like, params)
        moved, _ = update.update(zeros, update.init(params), params)
        return {name: float(move[0, 0]) for name, move in moved["layer"].items()}

    kept, gone = 0.0, pytest.approx(-0.1 * 0.5 * 2)
    kernels = dict.fromkeys(names, kept) | {"kernel": gone}
    assert decayed("kernels") == kernels
    assert decayed("all") == kernels | {"time": gone, "mask_token": gone}


@pytest.mark.parametrize("method", METHODS)
def test_the_published_rule_spares_vectors_of_linear_layers_and_norms_alone(method):
    module = methods.build(small.config(method))
    inputs = {"params": jax.random.key(0), **small.keys(module)}
    clips = small.clips()
    given = views(module, clips, small.everywhere(clips))
    params = jax.eval_shape(module.init, inputs, *given)["params"]
    mask = optim.decay_mask(params, "all")
    for path, decays in jax.tree_util.tree_leaves_with_path(mask):
        assert decays == (path[-1].key not in ("bias", "scale")), path
    spared = jax.tree.map(lambda x, decays: decays or x.ndim == 1, params, mask)
    assert all(jax.tree.leaves(spared))  # published: parameters of one dimension


def test_layer_scale_of_every_parameter_of_the_encoder():
    encoder = build(num_frames=8, num_joints=2, width=4, depth=2, num_heads=1)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 8, 2, 3)))["params"]
    head = {"fc1": {"kernel": 0, "bias": 0}, "norm": {"scale": 0}}
    scales = optim.layer_scales({"encoder": shapes, "head": head}, depth=2, decay=0.5)
    found = {
        jax.tree_util.keystr(path, simple=True, separator="/"): scale
        for path, scale in jax.tree_util.tree_leaves_with_path(scales)
    }
    block = [f"{part}/{which}" for part in BLOCK for which in ("kernel", "bias")]
    block += [f"{norm}/{which}" for norm in ("norm1", "norm2") for which in ("scale", "bias")]
    expected = {f"encoder/block_0/{name}": 0.25 for name in block}
    expected |= {f"encoder/block_1/{name}": 0.5 for name in block}
    for name in ("patch_embed/kernel", "patch_embed/bias", "position/time", "position/joint"):
        expected[f"encoder/{name}"] = 0.125
    for name in ("encoder/norm/scale", "encoder/norm/bias"):
        expected[name] = 1
    expected |= {f"head/{name}": 1 for name in ("fc1/kernel", "fc1/bias", "norm/scale")}
    assert found == expected


BLOCK = ("attn/qkv", "attn/proj", "mlp/fc1", "mlp/fc2")


def test_updates_are_scaled_by_layer_weight_decay_with_them():
    params = {"encoder": {"block_0": {"kernel": jnp.array([[2.0]])}}, "head": {"bias": jnp.ones(1)}}
    grads = jax.tree.map(jnp.ones_like, params)
    update = optax.chain(
        optim.adamw(lambda _: 0.1, ADAM | {"weight_decay": 0.5}),
        optim.scale_by_layer(depth=1, decay=0.8),
    )
    moved, _ = update.update(grads, update.init(params), params)
    kernel = moved["encoder"]["block_0"]["kernel"]
    np.testing.assert_allclose(kernel, 0.8 * (-0.1 - 0.1 * 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(moved["head"]["bias"], -0.1, rtol=1e-5)


def test_a_part_of_the_encoder_without_a_layer_is_refused():
    with pytest.raises(ValueError, match="knows no layer for 'extra'"):
        optim.layer_scales({"encoder": {"extra": {"kernel": 0}}}, depth=1, decay=0.8)


def test_weight_decay_follows_half_a_cosine_to_its_last_value():
    decay = optim.decay_schedule(0.04, 0.2, total_steps=100)
    np.testing.assert_allclose(
        [decay(n) for n in (0, 50, 100, 150)], [0.04, 0.12, 0.2, 0.2], rtol=1e-6
    )
    assert optim.decay_schedule(0.04, None, total_steps=100) == 0.04


def test_parts_of_a_pretraining_have_learning_rates_of_their_own():
    kernel = {"kernel": jnp.ones((1, 1))}
    params = {
        "encoder": {"patch_embed": kernel, "block_0": kernel, "norm": {"scale": jnp.ones(1)}},
        "class_head": {"fc1": kernel, "prototypes": kernel},
    }
    settings = ADAM | {"weight_decay_end": None, "layer_decay": 0.5, "embed_scale": 0.2}
    update = optim.of_pretraining(lambda _: 0.1, settings, depth=1, total_steps=9, frozen_steps=2)
    state, grads = update.init(params), jax.tree.map(jnp.ones_like, params)
    moves = []
    for _ in range(3):  # of equal gradients: Adam moves every weight by the learning rate
        moved, state = update.update(grads, state, params)
        moves.append(moved)
    for moved in moves:
        encoder, head = moved["encoder"], moved["class_head"]
        np.testing.assert_allclose(encoder["patch_embed"]["kernel"], -0.1 * 0.5**2 * 0.2, rtol=1e-5)
        np.testing.assert_allclose(encoder["block_0"]["kernel"], -0.1 * 0.5, rtol=1e-5)
        np.testing.assert_allclose(encoder["norm"]["scale"], -0.1, rtol=1e-5)
        np.testing.assert_allclose(head["fc1"]["kernel"], -0.1, rtol=1e-5)
    frozen = [float(moved["class_head"]["prototypes"]["kernel"][0, 0]) for moved in moves]
    np.testing.assert_allclose(frozen, [0, 0, -0.1], rtol=1e-5)


def test_weight_decay_rises_during_a_pretraining():
    params = {"fc": {"kernel": jnp.full((1, 1), 2.0)}}
    settings = ADAM | {"weight_decay": 0.0, "weight_decay_end": 0.5}
    settings |= {"layer_decay": 1.0, "embed_scale": 1.0}
    update = optim.of_pretraining(lambda _: 0.1, settings, depth=1, total_steps=2, frozen_steps=0)
    state, zeros = update.init(params), jax.tree.map(jnp.zeros_like, params)
    for expected in (0.0, -0.1 * 0.25 * 2, -0.1 * 0.5 * 2):
        moved, state = update.update(zeros, state, params)
        np.testing.assert_allclose(moved["fc"]["kernel"], expected, rtol=1e-5)
