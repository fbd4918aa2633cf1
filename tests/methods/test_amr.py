"""AMR against the definitions of the paper in float64; its scales, sizes and corner cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from amr_jax import methods
from amr_jax.methods.masked import mean_squared_error
from tests.methods import small
from tests.models import reference
from tests.models.params import noisy
from tests.ops.test_motion_energy import reference_weights
from tests.ops.test_targets import reference as reference_target

CLIPS = small.clips()
ALL = small.everywhere(CLIPS)
KEY = jax.random.key(5)
KEYS = {"mask": KEY}


def reference_loss(method, params, clip, ids):
    """The loss of one body, in the order of the paper."""
    heads = method.encoder.num_heads
    h_v = reference.encoder(clip, ids, params["encoder"], method.encoder.patch_len, heads)
    x_p = reference.query_decoder(h_v, params["decoder"], method.decoder_heads)
    large = method.r * method.encoder.patch_len
    x_t = reference_target(clip, large, method.target, method.normalisation).reshape(x_p.shape)
    weights = reference_weights(clip, method.windows, "ratio", method.k, method.epsilon, True)
    w = reference.patches(np.repeat(weights[..., None], 3, axis=-1), large)
    error = w * (x_p - x_t) ** 2
    if method.loss_on == "all":
        return error.mean(), w.mean()
    frames = np.ones((12, 5, 3), bool)
    for i in ids:
        start = i // 5 * method.encoder.patch_len
        frames[start : start + method.encoder.patch_len, i % 5] = False
    return error[reference.patches(frames, large)].mean(), w.mean()


@functools.partial(jax.jit, static_argnums=0)
def draw_mask(method, params, key):
    return method.apply({"params": params}, CLIPS, ALL, rngs={"mask": key}, method="draw_mask")


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"loss_on": "masked", "target": "motion", "normalisation": "patch", "r": 4},
    ],
    ids=["defaults", "masked motion"],
)
def test_the_loss_follows_the_paper(model):
    method = methods.build(small.config(**model))
    params = noisy(method, CLIPS)
    ids = draw_mask(method, params, KEY)
    bodies = [
        reference_loss(method, params, clip, kept)
        for clip, kept in zip(np.asarray(CLIPS), np.asarray(ids), strict=True)
    ]
    loss, weight = np.mean(bodies, axis=0)
    (out, (metrics, _)), _ = small.loss_and_gradient(method)(params, {}, {}, CLIPS, KEYS)
    np.testing.assert_allclose(out, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["weight"], weight, rtol=1e-5)
    assert metrics["mse"] > out


def test_the_weighted_loss_by_hand_eagerly_compiled_and_mapped():
    x_p = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    x_t = jnp.array([[0.0, 0.0], [0.0, 2.0]])
    w = jnp.array([[1.0, 0.5], [0.0, 0.25]])
    everywhere = jnp.ones((2, 2), bool)
    for loss in (mean_squared_error, jax.jit(mean_squared_error)):
        assert loss(x_p, x_t, everywhere, w) == 1.0  # (1 + 2 + 0 + 1) / 4
        assert loss(x_p, x_t, ~everywhere, w) == 0  # nothing counts
    mapped = jax.vmap(mean_squared_error)(x_p, x_t, everywhere, w)
    np.testing.assert_array_equal(mapped, [1.5, 0.5])
    assert mean_squared_error(x_p, x_t, jnp.array([[True, True], [True, False]]), w) == 1.0
    assert mean_squared_error(x_p, x_t, jnp.array([[False, True], [False, False]]), w) == 2.0
    # Weights and masks broadcast; without a weight, all count alike.
    column = jnp.array([[1.0], [0.5]])
    assert mean_squared_error(x_p, x_t, jnp.array([[False], [True]]), column) == 3.25
    assert mean_squared_error(x_p, x_t, everywhere) == 4.5
    assert mean_squared_error(x_p.astype(jnp.bfloat16), x_t, everywhere, w).dtype == jnp.float32


@pytest.mark.parametrize("r", [1, 2, 3, 5, 6, 10, 15, 30])
def test_every_scale_runs_on_one_encoder(r):
    encoder = {"num_frames": 120, "num_joints": 2, "patch_len": 4}
    method = methods.build(small.config(encoder=encoder, r=r, windows=(4, 8, 12)))
    assert method.num_predicted == 60 // r
    clips = small.clips(bodies=2, frames=120, joints=2)
    here = small.everywhere(clips)
    params = noisy(method, clips)
    alone = noisy(method.encoder, clips)
    assert jax.tree.map(jnp.shape, params["encoder"]) == jax.tree.map(jnp.shape, alone)
    assert params["decoder"]["queries"].shape == (60 // r, 12)
    assert params["decoder"]["pred"]["kernel"].shape == (12, r * 4 * 3)
    loss, _ = jax.eval_shape(lambda p: method.apply({"params": p}, clips, here, rngs=KEYS), params)
    assert loss.shape == ()


def test_bodies_that_do_not_move_cost_nothing():
    method = methods.build(small.config())
    params = noisy(method, CLIPS)
    absent = jnp.zeros((12, 5, 3))
    still = jnp.stack([absent, absent + 1.3, absent - 70])
    (loss, (metrics, _)), gradient = small.loss_and_gradient(method)(params, {}, {}, still, KEYS)
    assert loss == 0
    assert metrics["weight"] == 0
    assert metrics["mse"] > 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_eight_devices_compute_the_loss_of_one_without_gathering_the_batch():
    method = methods.build(small.config())
    clips = small.clips(bodies=16)
    params = noisy(method, clips)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    spread = NamedSharding(mesh, PartitionSpec("data"))

    def loss(params, clips):
        return method.apply({"params": params}, clips, small.everywhere(clips), rngs={"mask": KEY})[
            0
        ]

    compiled = (
        jax.jit(jax.value_and_grad(loss), in_shardings=(everywhere, spread))
        .lower(params, clips)
        .compile()
    )
    eight, _ = compiled(jax.device_put(params, everywhere), jax.device_put(clips, spread))
    np.testing.assert_allclose(eight, jax.jit(loss)(params, clips), rtol=1e-5)
    assert "all-gather" not in compiled.as_text()


def test_size_of_the_default_model():
    method = default_method()
    clips = jnp.zeros((1, 120, 25, 3))
    given = jax.random.key(0), clips, small.everywhere(clips)
    shapes = jax.eval_shape(method.init, *given)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 10_409_288


def default_method(**model):
    return methods.build(small.full_size("amr", **model))
