"""The training step: augment, method, gradient, update; and many of them in one dispatch."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import Mesh

from amr_jax.data import datasets
from amr_jax.ops import augment
from amr_jax.run import sharding

# The loop's own named random stream; the others are the method's.
AUGMENT = "augment"


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes.

    Attributes:
      step: number of updates done, int32.
      params: of the whole method; `params['encoder']` is what downstream loads.
      opt_state: optax's.
      average: exponential moving average of `params['encoder']`; {} if none is kept.
      variables: what the method keeps beside parameters (collections by name); {} for most.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    average: Any
    variables: Any


def stream_keys(seed: int, step: jax.Array, names: Sequence[str]) -> dict[str, jax.Array]:
    """One key per named stream, folded with the step: equal on every device, host and restart."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return {name: jax.random.fold_in(key, zlib.crc32(name.encode()) >> 1) for name in names}


def keeps_average(method: nn.Module, config: ml_collections.ConfigDict) -> bool:
    """Whether a moving average of the encoder is kept, for the method or for its own sake."""
    return method.momentum_encoder or bool(config.optim.ema_decay)


def method_loss(method: nn.Module) -> Callable:
    """The function (params, variables, average, clips, keys) → loss, (metrics, new variables)."""

    def loss(params, variables, average, clips, keys):
        given = {"params": params, **variables}
        if method.momentum_encoder:
            given["average"] = {"encoder": average}
        (value, metrics), changed = method.apply(given, clips, rngs=keys, mutable=list(variables))
        return value, (metrics, changed)

    return loss


def init_state(
    method: nn.Module, optimizer: optax.GradientTransformation, config, mesh: Mesh
) -> TrainState:
    """The state before the first step, as `sharding.of_state` lays it; a function of the seed."""
    init = _initialiser(method, optimizer, config)
    return jax.jit(init, out_shardings=sharding.of_state(jax.eval_shape(init), mesh))()


def abstract_state(
    method: nn.Module, optimizer: optax.GradientTransformation, config, mesh: Mesh
) -> TrainState:
    """Shapes and shardings of `init_state`; nothing is computed, and no device need be there."""
    state = jax.eval_shape(_initialiser(method, optimizer, config))
    return sharding.abstract(state, sharding.of_state(state, mesh))


def _initialiser(method: nn.Module, optimizer: optax.GradientTransformation, config) -> Callable:
    """The function without arguments that makes the first state."""

    def init():
        encoder = config.encoder
        clips = jnp.zeros((1, encoder.num_frames, encoder.num_joints, encoder.channels))
        keys = stream_keys(config.seed, jnp.int32(0), ("params", *method.streams))
        variables = method.init(keys, clips)
        params = variables.pop("params")
        # A copy: a state is donated, and one buffer cannot be given away twice.
        average = jax.tree.map(jnp.copy, params["encoder"]) if keeps_average(method, config) else {}
        return TrainState(jnp.int32(0), params, optimizer.init(params), average, variables)

    return init


def make_views(config: ml_collections.ConfigDict, mesh: Mesh) -> Callable:
    """The augmentation of a step: (key, clips (b, L, slots, V, C), lengths (b,)) → (B, T, V, C).

    One row a body, B = b · slots; the bodies of a sequence are cropped and rotated alike.
    """
    view = dict(
        num_frames=config.encoder.num_frames,
        confidence=config.encoder.confidence,
        stream=config.input.stream,
        parents=datasets.get(config.dataset).layout.parents,
        **config.augment,
    )

    def views(key, clips, lengths):
        keys = jax.random.split(key, len(clips))
        clips = jax.vmap(lambda k, clip, length: augment.train_view(k, clip, length, **view))(
            keys, clips, lengths
        )  # (b, T, slots, V, C)
        clips = clips.swapaxes(1, 2).reshape(-1, *clips.shape[1:2], *clips.shape[3:])
        return jax.lax.with_sharding_constraint(clips, sharding.over_data(mesh))

    return views


def make_dispatch(
    method: nn.Module,
    optimizer: optax.GradientTransformation,
    batch_clips: Callable,
    config: ml_collections.ConfigDict,
    total_steps: int,
    mesh: Mesh,
) -> Callable:
    """The jitted function (state, arrays, batches) → (state, metrics of each step).

    Args:
      method: see `amr_jax.methods`.
      optimizer: see `amr_jax.train.optim`.
      batch_clips: (arrays, batch) → clips (b, L, slots, V, C), lengths (b,); of the input.
      config: the resolved config of the run.
      total_steps: of the whole run; a momentum encoder's share follows from it.
      mesh: the devices.

    Returns:
      A function that runs one step for each leading element of `batches` and donates `state`.
    """
    num_micro = config.optim.accumulate
    views = make_views(config, mesh)
    gradient = jax.value_and_grad(method_loss(method), has_aux=True)

    def accumulated(state, clips, keys):
        """Loss, metrics and gradient over the batch, in `num_micro` parts one after the other."""
        # Collected before they are used: left to itself, the compiler moves activations about,
        # which are many times larger.
        everywhere = sharding.replicated(mesh)
        given = jax.lax.with_sharding_constraint(
            (state.params, state.variables, state.average), everywhere
        )
        if num_micro == 1:
            return gradient(*given, clips, keys)
        # Part i takes every num_micro-th row, so that each device splits up what it holds.
        parts = clips.reshape(-1, num_micro, *clips.shape[1:]).swapaxes(0, 1)

        def add(total, part):
            i, rows = part
            part_keys = {name: jax.random.fold_in(key, i) for name, key in keys.items()}
            return jax.tree.map(jnp.add, total, gradient(*given, rows, part_keys)), None

        shapes = jax.eval_shape(gradient, *given, parts[0], keys)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, (jnp.arange(num_micro), parts))
        return jax.tree.map(lambda x: x / num_micro, total)

    places = jax.tree.map(lambda x: x.sharding, abstract_state(method, optimizer, config, mesh))

    def step(state: TrainState, clips, lengths):
        keys = stream_keys(config.seed, state.step, (AUGMENT, *method.streams))
        clips = views(keys.pop(AUGMENT), clips, lengths)
        (value, (metrics, variables)), grads = accumulated(state, clips, keys)
        grads = jax.lax.with_sharding_constraint(grads, places.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if keeps_average(method, config):
            keep = config.optim.ema_decay
            if method.momentum_encoder:
                keep = method.momentum((state.step + 1) / total_steps)
            average = optax.incremental_update(params["encoder"], average, 1 - keep)
        metrics = {
            "loss": value,
            "grad_norm": optax.tree.norm(grads),
            # Of what comes out: a step can spoil parameters though its own loss was finite.
            "param_norm": optax.tree.norm(params),
            **metrics,
        }
        state = TrainState(state.step + 1, params, opt_state, average, variables)
        # Said at every step, or the compiler may carry whole parameters from one to the next.
        return jax.lax.with_sharding_constraint(state, places), metrics

    def dispatch(state, arrays, batches):
        return jax.lax.scan(lambda s, batch: step(s, *batch_clips(arrays, batch)), state, batches)

    return jax.jit(dispatch, donate_argnums=0, out_shardings=(places, sharding.replicated(mesh)))
