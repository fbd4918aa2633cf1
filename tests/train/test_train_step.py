"""One step against the same step written out; streams of random numbers."""

import functools
import re

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from amr_jax import methods, pretrain
from amr_jax.config import base, settings
from amr_jax.data import batches, order, split
from amr_jax.ops import augment
from amr_jax.run import sharding
from amr_jax.skeleton.layouts import KINECT_20
from amr_jax.studies import costs
from amr_jax.train import optim
from amr_jax.train import step as train_step
from amr_jax.train.views import make_views
from configs import amr, sjepa


@pytest.fixture(scope="module")
def setting():
    config = amr.get_config("nwucla,runlocal")
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 32
    config.encoder.depth = config.model.decoder_depth = 1
    config.optim.ema_decay = 0.9
    config = pretrain.resolve(config)
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(8, 30, 2, 20, 3)).astype(np.float32)  # two bodies a sequence
    lengths = rng.integers(1, 31, size=8).astype(np.int32)
    # Second bodies that come late or never: with accumulate=2, most of what the second part has.
    clips[:, :12, 1] = clips[:5, :, 1] = 0
    return config, clips, lengths


@pytest.fixture(scope="module")
def on_one_device(setting):
    """The step of `setting` on one device, as `run_step` returns it."""
    return run_step(*setting)


@pytest.fixture(scope="module")
def with_split_parameters(setting):
    """The config, and what `run_step` returns: on eight devices in groups of four, in two parts."""
    config, clips, lengths = setting
    config = config.copy_and_resolve_references()
    config.fsdp, config.optim.accumulate, config.input.stream = 4, 2, "bone"
    return config, *run_step(config, clips, lengths, num_devices=8)


def run_step(config, clips, lengths, num_devices=1):
    """One dispatch of one step; returns the states before and after, and the metrics."""
    mesh = sharding.make_mesh(jax.devices()[:num_devices], config.fsdp)
    method = methods.build(config)
    # Differences show as they are: linear in the gradient. The momentum is kept, and counts for 0.
    optimizer = optax.sgd(0.1, momentum=0.0)
    before = train_step.init_state(method, optimizer, config, mesh)
    kept = jax.device_get(before)
    dispatch = train_step.make_dispatch(method, optimizer, lambda _, batch: batch, config, 10, mesh)
    batch = sharding.put((clips[None], lengths[None]), sharding.over_data(mesh, axis=1))
    after, metrics = dispatch(before, {}, batch)
    return method, kept, after, jax.device_get(metrics)


@functools.partial(jax.jit, static_argnums=0)
def views(config, key, clips, lengths):
    """Training views of the bodies, (sequences · 2, T, V, C), and their presence."""

    def view(key, clip, length):
        how = {"num_frames": 24, "stream": config.input.stream, "parents": KINECT_20.parents}
        return augment.train_view(key, clip, length, **how, **config.augment)

    both = jax.vmap(view)(jax.random.split(key, len(clips)), clips, lengths)
    return [x.swapaxes(1, 2).reshape(-1, *x.shape[1:2], *x.shape[3:]) for x in both]


def expected_gradient(method, config, params, clips, lengths):
    """The mean over `accumulate` parts, each with keys of its own, by their present values."""
    parts = config.optim.accumulate
    keys = train_step.stream_keys(config.seed, jnp.int32(0), ("augment", "mask", "drop_path"))
    clips, lengths = jnp.asarray(clips), jnp.asarray(lengths)
    bodies, present = views(
        ml_collections.FrozenConfigDict(config), keys.pop("augment"), clips, lengths
    )
    shares = [present[i::parts].sum() / present.sum() for i in range(parts)]

    def loss(params):
        losses = []
        for i in range(parts):
            rngs = keys
            if parts > 1:
                rngs = {name: jax.random.fold_in(key, i) for name, key in keys.items()}
            part = bodies[i::parts], present[i::parts]
            losses.append(method.apply({"params": params}, *part, rngs=rngs)[0])
        return sum(share * loss for share, loss in zip(shares, losses, strict=True))

    return jax.value_and_grad(loss)(params)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_is_gradient_descent_on_the_augmented_bodies(
    setting, on_one_device, with_split_parameters, parts
):
    config, clips, lengths = setting
    if parts == 1:
        method, before, after, metrics = on_one_device
    else:
        config, method, before, after, metrics = with_split_parameters
        after = jax.device_get(after)
    expected = jax.jit(lambda params: expected_gradient(method, config, params, clips, lengths))
    value, gradient = expected(before.params)
    np.testing.assert_allclose(metrics["loss"][0], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"][0], optax.tree.norm(gradient), rtol=1e-4)
    for old, new, grad in zip(
        *map(jax.tree.leaves, (before.params, after.params, gradient)), strict=True
    ):
        np.testing.assert_allclose(new, old - 0.1 * grad, rtol=1e-4, atol=1e-6)
    for old, new, mean in zip(
        *map(jax.tree.leaves, (before.params["encoder"], after.params["encoder"], after.average)),
        strict=True,
    ):
        np.testing.assert_allclose(mean, 0.9 * old + 0.1 * new, rtol=1e-5, atol=1e-7)
    assert after.step == 1


@pytest.mark.parametrize("absent_frames", ["ignored", "counted"])
def test_the_views_of_a_step_tell_who_is_there_unless_absent_frames_count(setting, absent_frames):
    config, clips, lengths = setting
    config = config.copy_and_resolve_references()
    config.input.absent_frames = absent_frames
    mesh = sharding.make_mesh(jax.devices()[:1])
    found = jax.jit(make_views(config, mesh))(jax.random.key(1), clips, lengths)
    expected = views(ml_collections.FrozenConfigDict(config), jax.random.key(1), clips, lengths)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    assert found[1].shape == (16, 24, 20)
    if absent_frames == "counted":
        assert found[1].all()
    else:
        np.testing.assert_array_equal(found[1], expected[1])
        assert not found[1][1:10:2].any()  # second bodies that never come
        assert found[1][::2].all()


def test_joints_that_a_set_lacks_are_absent_also_where_absent_frames_count(setting):
    config, clips, lengths = setting
    config = config.copy_and_resolve_references()
    config.input.absent_frames = "counted"
    has = jnp.arange(20) < jnp.where(jnp.arange(len(lengths)) % 3, 20, 15)[:, None]
    views = make_views(config, sharding.make_mesh(jax.devices()[:1]))
    _, present, joints = jax.jit(views)(jax.random.key(1), clips, lengths, has)
    bodies = np.repeat(has, 2, axis=0)  # of two slots
    np.testing.assert_array_equal(joints, bodies)
    np.testing.assert_array_equal(present, np.repeat(bodies[:, None], 24, axis=1))


def test_a_parameter_what_the_optimiser_keeps_of_it_and_its_average_lie_alike(
    with_split_parameters,
):
    *_, state, _ = with_split_parameters
    for tree in (state.params["encoder"], state.opt_state[0].trace["encoder"], state.average):
        kernel = tree["block_0"]["mlp"]["fc1"]["kernel"]
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(32, 32)}
        assert kernel.shape == (32, 128)


def test_with_split_parameters_only_parameters_and_gradients_travel(setting):
    config = setting[0].copy_and_resolve_references()
    config.fsdp, config.batch_size, config.optim.ema_decay = 4, 64, 0.0
    mesh = sharding.make_mesh(jax.devices()[:8], config.fsdp)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    program = dispatch.lower(state, {}, batch).compile().as_text()
    moved = re.findall(r"= (.*?) (?:all-gather|all-to-all|collective-permute)\(", program)
    sizes = [
        np.prod([int(n) for n in shape.split(",")])
        for shapes in moved
        for shape in re.findall(r"f32\[([\d,]+)\]", shapes)
    ]
    largest = max(leaf.size for leaf in jax.tree.leaves(state.params))
    # An activation of one device, 8 bodies x 12 tokens x 32, is no larger than a parameter: so by
    # number. Each split array is collected once, and never moved in another way.
    split = [leaf for leaf in jax.tree.leaves(state.params) if leaf.sharding.spec != P()]
    assert len(split) == 4
    assert len(sizes) <= len(split) + 2
    assert max(sizes) <= largest


def test_a_momentum_encoder_and_a_methods_own_variables_are_kept(setting):
    _, clips, lengths = setting
    clips = np.where(clips == 0, 0.1, clips)  # everything is present
    config = sjepa.get_config("nwucla,runlocal")
    config.encoder.num_frames = 24
    config.encoder.width = config.model.decoder_width = 16
    config.encoder.depth = config.model.decoder_depth = 1
    config.optim.accumulate = 2
    config.model.momentum_start = 0.8
    method, before, after, metrics = run_step(pretrain.resolve(config), clips, lengths)
    assert (before.variables["state"]["centre"] == 0).all()
    # At the start the target encoder is the encoder: what it makes of the clips as they came.
    key = train_step.stream_keys(config.seed, jnp.int32(0), ("augment",))["augment"]
    bodies, _ = views(ml_collections.FrozenConfigDict(config), key, clips, lengths)
    tokens = jax.jit(method.encoder.apply)({"params": before.params["encoder"]}, bodies)
    np.testing.assert_allclose(
        after.variables["state"]["centre"], 0.1 * tokens.mean((0, 1)), atol=2e-6
    )
    keep = method.momentum(0.1)  # the first of ten steps is done
    assert 0.8 < keep < 0.81
    for old, new, mean in zip(
        *map(jax.tree.leaves, (before.params["encoder"], after.params["encoder"], after.average)),
        strict=True,
    ):
        np.testing.assert_allclose(mean, keep * old + (1 - keep) * new, rtol=1e-5, atol=1e-7)
    assert metrics["target_std"] > 0


def test_16_bit_compute_gives_the_losses_and_gradients_of_32_bits_to_its_rounding(
    setting, on_one_device
):
    config, clips, lengths = setting
    _, before, exact, measured = on_one_device
    config = config.copy_and_resolve_references()
    config.dtype = "bfloat16"
    _, _, after, metrics = run_step(config, clips, lengths)
    # Eight bits: 2^-8 a rounding, of which a loss averages many; parameters stay in 32 bits.
    np.testing.assert_allclose(metrics["loss"], measured["loss"], rtol=2**-8)
    assert metrics["loss"] != measured["loss"]
    steps = [
        jnp.concatenate(
            jax.tree.leaves(jax.tree.map(lambda a, b: (a - b).ravel(), state.params, before.params))
        )
        for state in (exact, after)
    ]
    assert steps[1].dtype == jnp.float32
    cosine = steps[0] @ steps[1] / jnp.linalg.norm(steps[0]) / jnp.linalg.norm(steps[1])
    assert cosine > 0.999


def test_streams_differ_by_name_step_and_seed():
    names = ("augment", "mask", "view")

    def draw(seed, step, name):
        keys = train_step.stream_keys(seed, jnp.int32(step), names)
        return float(jax.random.uniform(keys[name]))

    draws = {draw(seed, step, name) for seed in (0, 1) for step in (0, 1) for name in names}
    assert len(draws) == 4 * len(names)
    assert draw(1, 1, "mask") == draw(1, 1, "mask")


def test_the_step_of_full_width_exports_for_tpu_and_gpu():
    # It lowers for both; whether and how fast it runs, only such devices can show.
    config = amr.get_config("ntu60_xsub")
    config.dtype = "bfloat16"
    config.encoder.depth = config.model.decoder_depth = 1
    config = pretrain.resolve(config)
    mesh = sharding.make_mesh(jax.devices()[:1])
    method = methods.build(config)
    optimizer = optim.adamw(optim.schedule(1e-3, 5e-4, 10, 100), settings.defaults(base.ADAM))
    one = split.Split(
        frames=np.zeros((300, 25, 3), np.float32),
        own=np.arange(1),
        length=np.full(1, 300, np.int32),
        present=np.ones((1, 1), bool),
        label=np.zeros(1, np.int32),
        names=np.array(["one"]),
        class_names=("one",),
    )
    steps = order.Order([1], config.batch_size, 0)
    data = batches.Resident(split.place(one, mesh), np.zeros((1, 1), int), steps)
    dispatch = train_step.make_dispatch(method, optimizer, data.clips, config, 100, mesh)
    state = jax.eval_shape(lambda: train_step.init_state(method, optimizer, config, mesh))
    batch = next(data.batches(0, 2, 2))
    exported = jax.export.export(dispatch, platforms=("tpu", "cuda"))(state, data.resident, batch)
    assert exported.platforms == ("tpu", "cuda")
    # The attention of the 75 visible patches runs in bfloat16, the loss in float32.
    text = exported.mlir_module()
    assert "128x75x768xbf16" in text
    assert all(aval.dtype == jnp.float32 for aval in exported.out_avals[-4:])
