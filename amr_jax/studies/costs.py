"""Costs of a method, counted as in papers and by the compiler.

Papers count the multiplications and additions of the linear layers in a forward pass of one
sequence (two bodies on NTU): `linear_flops`. The compiler counts the whole program, attention and
loss included: `forward_flops`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from amr_jax import methods
from amr_jax.methods.method import Method, takes, view_shapes
from amr_jax.models.projection import Prototypes
from amr_jax.run import console, sharding
from amr_jax.train import optim
from amr_jax.train import step as train_step
from amr_jax.train.views import make_views

# Bodies per unit of the batch, by config.input.bodies: sequences of NTU and PKU have two slots.
SLOTS = {"packed": 1, "all": 2}
# Length of the run that a step belongs to; only constants of the schedule depend on it.
_TOTAL_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Costs:
    """Costs of one method at one size.

    Attributes:
      num_patches, num_predicted: per body.
      parameters: all trained parameters. encoder_parameters: those of the encoder.
      linear_gflops: a forward pass of a sequence, linear layers only.
      compiler_gflops: a forward pass of a sequence, everything, by the compiler.
      step_bytes: peak memory of a training step, by the compiler.
    """

    num_patches: int
    num_predicted: int
    parameters: int
    encoder_parameters: int
    linear_gflops: float
    compiler_gflops: float
    step_bytes: int


def of_config(config: ml_collections.ConfigDict, bodies: int) -> Costs:
    """The costs of a resolved pre-training config.

    Args:
      config: see `pretrain.resolve`; the step has its `batch_size`.
      bodies: bodies per sequence.

    Raises:
      UserError: the config's settings do not fit.
    """
    method = methods.build(config)
    # No compiler counts the inside of cuDNN's attention.
    counted = methods.build({**config, "attention_kernel": "xla"})
    (params, *_), _ = _loss_arguments(method, bodies)

    def size(tree) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    mesh = sharding.make_mesh(jax.devices()[:1])
    dispatch, state, batch = abstract_training_step(config, mesh)
    with console.progress_bar("compiling, to count operations and memory"):
        memory = dispatch.lower(state, {}, batch).compile().memory_analysis()
    return Costs(
        num_patches=method.encoder.num_patches,
        num_predicted=method.num_predicted,
        parameters=size(params),
        encoder_parameters=size(params["encoder"]),
        linear_gflops=linear_flops(method, bodies) / 1e9,
        compiler_gflops=forward_flops(counted, bodies) / 1e9,
        step_bytes=peak_bytes(memory),
    )


def _loss_arguments(method: Method, bodies: int) -> tuple[tuple, dict]:
    """Shapes of the arguments of `train_step.method_loss(method)`: by position, and by name."""
    clips, present = view_shapes(method, bodies)
    keys = {name: jax.random.key(0) for name in method.streams}
    variables = jax.eval_shape(method.init, {"params": jax.random.key(0), **keys}, clips, present)
    params = variables.pop("params")
    average = params["encoder"] if method.momentum_encoder else {}
    wanted = {
        "progress": jax.ShapeDtypeStruct((), jnp.float32),
        "sequences": jax.ShapeDtypeStruct((bodies,), jnp.int32),
    }
    wanted = {name: x for name, x in wanted.items() if takes(method, name)}
    return (params, variables, average, clips, present, keys), wanted


def linear_flops(method: Method, bodies: int) -> int:
    """2 · inputs · outputs of every linear layer, summed over a forward pass of `bodies` bodies.

    The momentum encoder counts, too: interceptors reach into a nested `apply`. A layer under `vmap`
    or `scan` would count for one element only; no method has one.
    """
    total = 0

    def count(layer, args, kwargs, context):
        nonlocal total
        out = layer(*args, **kwargs)
        if isinstance(context.module, nn.Dense | Prototypes) and context.method_name == "__call__":
            total += 2 * args[0].size * out.shape[-1]
        return out

    arguments, named = _loss_arguments(method, bodies)
    # `method_loss` makes a new function each time: for one that was traced before, JAX would take
    # the shapes from its cache, and nothing would be counted.
    with nn.intercept_methods(count):
        jax.eval_shape(train_step.method_loss(method), *arguments, **named)
    return total


def forward_flops(method: Method, bodies: int) -> float:
    """FLOPs of the loss of `bodies` bodies, by the compiler of this backend.

    It does not count the inside of cuDNN's attention: use the kernel `xla`.
    """
    arguments, named = _loss_arguments(method, bodies)
    lowered = jax.jit(train_step.method_loss(method)).lower(*arguments, **named)
    return lowered.compile().cost_analysis()["flops"]


def training_step(config: ml_collections.ConfigDict, steps: int = 1) -> tuple:
    """The loop's own dispatch, on `random_batch` in device memory.

    Args:
      config: resolved.
      steps: steps per dispatch.

    Returns:
      The jitted dispatch, which donates the state; an initial state; and a batch, for
      `dispatch(state, {}, batch)`. All are on one device.
    """
    mesh = sharding.make_mesh(jax.devices()[:1])
    method, optimizer, dispatch = _loop(config, mesh)
    state = train_step.init_state(method, optimizer, config, mesh)
    where = sharding.over_data(mesh, axis=1)
    return dispatch, state, sharding.put(random_batch(config, steps), where)


def abstract_training_step(config: ml_collections.ConfigDict, mesh: Mesh) -> tuple:
    """`training_step` with shapes and shardings in place of arrays, on any mesh.

    Nothing is allocated, and the devices of the mesh may be absent: this is for lowering and
    compiling. The batch is split over the devices.
    """
    method, optimizer, dispatch = _loop(config, mesh)
    state = train_step.abstract_state(method, optimizer, config, mesh)
    batch = sharding.abstract(_batch_shapes(config), sharding.over_data(mesh, axis=1))
    return dispatch, state, batch


def step_flops(config: ml_collections.ConfigDict) -> float:
    """FLOPs of one training step, by the compiler's analysis of the lowered program.

    The analysis does not see inside cuDNN's attention (github.com/jax-ml/jax/issues/22249), so the
    kernel is `xla`. Recomputation, if any, counts.

    Args:
      config: resolved.
    """
    counted = ml_collections.ConfigDict({**config, "attention_kernel": "xla"})
    mesh = sharding.make_mesh(jax.devices()[:1])
    dispatch, state, batch = abstract_training_step(counted, mesh)
    return dispatch.lower(state, {}, batch).cost_analysis()["flops"]


def _loop(config: ml_collections.ConfigDict, mesh: Mesh) -> tuple:
    """Method, optimizer and dispatch of the training loop; a batch is its clips."""
    method = methods.build(config)
    settings, depth = config.optim, config.encoder.depth
    schedule = optim.schedule(settings.lr, settings.min_lr, 1, _TOTAL_STEPS)
    optimizer = optim.of_pretraining(schedule, settings, depth, _TOTAL_STEPS, frozen_steps=0)
    dispatch = train_step.make_dispatch(
        method, optimizer, lambda _, batch: batch, config, _TOTAL_STEPS, mesh
    )
    return method, optimizer, dispatch


def augmentation(config: ml_collections.ConfigDict, steps: int = 1) -> tuple:
    """The augmentation of a training step alone, in the form of `training_step`.

    The state is the number of the step; the result beside it is the clips of the steps.
    """
    mesh = sharding.make_mesh(jax.devices()[:1])
    first, batch = sharding.put(
        (np.int32(0), random_batch(config, steps)), sharding.replicated(mesh)
    )
    return augmenting(config, lambda _, batch: batch, mesh), first, batch


def augmenting(config: ml_collections.ConfigDict, batch_clips: Callable, mesh: Mesh) -> Callable:
    """The jitted function (number, arrays, batches) → (number, the steps' augmented clips).

    Arguments as in `train_step.make_dispatch`; `number`, of the first step, is donated.
    """
    views = make_views(config, mesh, methods.build(config).views)

    def dispatch(number, arrays, batches):
        def step(number, batch):
            keys = train_step.stream_keys(config.seed, number, (train_step.AUGMENT,))
            clips, present, *_ = views(keys[train_step.AUGMENT], *batch_clips(arrays, batch))
            return number + 1, {"clips": clips, "present": present}

        return jax.lax.scan(step, number, batches)

    return jax.jit(dispatch, donate_argnums=0)


def random_batch(
    config: ml_collections.ConfigDict, steps: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Random walks: clips (steps, batch, T, slots, V, C) float32 and their lengths (steps, batch).

    Every slot holds a body. The time of a step does not depend on the values.
    """
    clips, lengths = _batch_shapes(config, steps)
    walk = np.random.default_rng(0).normal(scale=0.01, size=clips.shape).astype(clips.dtype)
    full = np.full(lengths.shape, config.encoder.num_frames, lengths.dtype)
    return walk.cumsum(2), full


def _batch_shapes(config: ml_collections.ConfigDict, steps: int = 1) -> tuple:
    """Shapes of the arrays of `random_batch`."""
    encoder, slots = config.encoder, SLOTS[config.input.bodies]
    shape = (steps, config.batch_size, encoder.num_frames, slots)
    shape += (encoder.num_joints, encoder.channels)
    return jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape[:2], jnp.int32)


def peak_bytes(memory: Any) -> int:
    """Bytes of arguments, results and temporaries; a donated argument and its result count once.

    (The compiler's own `peak_memory_in_bytes` leaves the temporaries out on CPU.)

    Args:
      memory: `memory_analysis()` of a compiled program.
    """
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
