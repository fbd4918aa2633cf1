"""Encoder and head trained together: the step, an epoch of them in one dispatch, and the test.

Which clips, crops and dropouts a step sees depends on the key, the epoch, the sequence and the
step; not on the devices that it runs on.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from amr_jax.data.split import DeviceSplit
from amr_jax.evaluation.protocols.features import View
from amr_jax.evaluation.protocols.packing import Batch
from amr_jax.models import heads
from amr_jax.run import sharding
from amr_jax.train import optim


@dataclasses.dataclass(frozen=True)
class Optim:
    """AdamW with layer-wise learning rates: see `amr_jax.train.optim`."""

    lr: float
    min_lr: float
    warmup_steps: int
    total_steps: int
    weight_decay: float
    b1: float
    b2: float
    clip_norm: float
    layer_decay: float

    def make(self, depth: int) -> optax.GradientTransformation:
        """The optimiser of an encoder of `depth` blocks and its head."""
        schedule = optim.schedule(self.lr, self.min_lr, self.warmup_steps, self.total_steps)
        return optax.chain(
            optim.adamw(schedule, self.weight_decay, self.b1, self.b2, self.clip_norm),
            optim.scale_by_layer(depth, self.layer_decay),
        )


@dataclasses.dataclass(frozen=True)
class Model:
    """What is compiled into a step.

    Attributes:
      encoder: with its stochastic depth. head: of `models.heads`.
      optim: as named. label_smoothing: share of a label that is spread over all classes.
    """

    encoder: nn.Module
    head: nn.Module
    optim: Optim
    label_smoothing: float


@flax.struct.dataclass
class State:
    """What a step changes.

    Attributes:
      step: updates done, int32.
      params: {'encoder': …, 'head': …}. batch_stats: of the head.
      opt_state: optax's.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any


@functools.partial(jax.jit, static_argnames=("model", "mesh"))
def init(encoder_params: Any, key: jax.Array, *, model: Model, mesh: Mesh) -> State:
    """A fresh head on a copy of the encoder's parameters, replicated over the mesh."""
    tokens = jnp.zeros((1, model.encoder.num_patches, model.encoder.width))
    head = model.head.init(key, model.head.of_body(tokens))
    params = {"encoder": jax.tree.map(jnp.copy, encoder_params), "head": head["params"]}
    opt_state = model.optim.make(model.encoder.depth).init(params)
    state = State(jnp.int32(0), params, head["batch_stats"], opt_state)
    return jax.lax.with_sharding_constraint(state, sharding.replicated(mesh))


def _features(
    model: Model, params: Any, split: DeviceSplit, batch: Batch, key, view: View, rngs
) -> jax.Array:
    """(size, F) float32 features of a batch's sequences; `rngs` None: nothing is dropped."""
    clips, length = split.clips(batch.body)
    # All bodies of a sequence have its key: one crop and one rotation.
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch.sequence[batch.row])
    clips = jax.vmap(view)(keys, clips, length)
    encoder_params = {"params": params["encoder"]}
    tokens = model.encoder.apply(encoder_params, clips, train=rngs is not None, rngs=rngs)
    x = heads.mean_over_bodies(model.head.of_body(tokens), batch.row, len(batch.sequence))
    # The head is small: every device computes all of it, and BatchNorm sees the whole batch.
    return jax.lax.with_sharding_constraint(x, sharding.replicated(split.mesh))


@functools.partial(jax.jit, static_argnames=("model", "view"), donate_argnames=("state",))
def train_epoch(
    state: State,
    split: DeviceSplit,
    labels: jax.Array,
    batches: Batch,
    view_key: jax.Array,
    drop_key: jax.Array,
    *,
    model: Model,
    view: View,
) -> tuple[State, jax.Array]:
    """One step for each leading element of `batches`.

    Args:
      state: where to start from; given away.
      split: the training split. labels: (S,) int32.
      batches: of `packing.pack`.
      view_key: this epoch's; folded with each sequence's number.
      drop_key: the training's; folded with each step's number.
      model, view: see there.

    Returns:
      The state after it, and the mean loss over the epoch's sequences.
    """
    optimiser = model.optim.make(model.encoder.depth)
    num_sequences = labels.shape[0]

    def loss_fn(params, batch_stats, batch, key):
        path_key, dropout_key = jax.random.split(key)
        x = _features(model, params, split, batch, view_key, view, {"drop_path": path_key})
        real = batch.sequence < num_sequences
        logits, changed = model.head.apply(
            {"params": params["head"], "batch_stats": batch_stats},
            x,
            real,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        own = jax.nn.one_hot(labels[batch.sequence], logits.shape[1])
        target = optax.smooth_labels(own, model.label_smoothing)
        losses = jnp.where(real, optax.softmax_cross_entropy(logits, target), 0)
        return losses.sum() / real.sum(), (changed["batch_stats"], losses.sum())

    def step(state: State, batch: Batch):
        key = jax.random.fold_in(drop_key, state.step)
        gradient, (batch_stats, loss) = jax.grad(loss_fn, has_aux=True)(
            state.params, state.batch_stats, batch, key
        )
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(state.step + 1, params, batch_stats, opt_state), loss

    state, losses = jax.lax.scan(step, state, batches)
    mean_loss = losses.sum() / jnp.sum(batches.sequence < num_sequences)
    return jax.lax.with_sharding_constraint((state, mean_loss), sharding.replicated(split.mesh))


@functools.partial(jax.jit, static_argnames=("model", "view"))
def logits(
    state: State,
    split: DeviceSplit,
    batches: Batch,
    *,
    model: Model,
    view: View,
) -> jax.Array:
    """Logits (n · size, K) of all rows of `batches` (n, …), nobody's among them; nothing drops."""
    variables = {"params": state.params["head"], "batch_stats": state.batch_stats}
    nothing_drawn = jax.random.key(0)

    def one(batch):
        x = _features(model, state.params, split, batch, nothing_drawn, view, rngs=None)
        return model.head.apply(variables, x)

    out = jax.lax.map(one, batches)
    return jax.lax.with_sharding_constraint(
        out.reshape(-1, out.shape[-1]), sharding.replicated(split.mesh)
    )
