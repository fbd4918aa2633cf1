"""Fine-tuning: encoder and head trained together on the labels.

With a random encoder, this is supervised training from scratch: all layers then learn at one rate.
The clips, crops and dropout masks of a step depend on the key, the epoch, the sequence and the
step, not on the devices.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from amr_jax.data.split import DeviceSplit
from amr_jax.evaluation import fitting, packing
from amr_jax.evaluation.features import View
from amr_jax.evaluation.packing import Batch
from amr_jax.evaluation.task import Classifier, Log, Outcome, Task
from amr_jax.models import heads
from amr_jax.run import sharding
from amr_jax.train import optim


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: fine-tunes on the whole training split.

    Reads from the config, in addition to the keys of `Trainer`: `seed`.

    Returns:
      Scores and the trained classifier after the last epoch; top-1 and top-5 then, and those of the
      best of the tested epochs.

    Raises:
      UserError: the training diverged.
    """
    everything = np.arange(len(task.train.host.label), dtype=np.int32)
    return Trainer(task, config, [everything]).fit(everything, jax.random.key(config.seed), log)


@dataclasses.dataclass(frozen=True)
class Model:
    """What is compiled into a step; models that are equal share compiled programs.

    Attributes:
      encoder: with its stochastic depth.
      head: of `models.heads`.
      optim: the section `optim` of the config.
      layer_decay: a layer's learning rate over the next one's.
      warmup_steps, total_steps: of the schedule of the learning rate.
      label_smoothing: share of a label that is spread over all classes.
    """

    encoder: nn.Module
    head: nn.Module
    optim: ml_collections.FrozenConfigDict
    layer_decay: float
    warmup_steps: int
    total_steps: int
    label_smoothing: float

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW with layer-wise learning rates: see `amr_jax.train.optim`."""
        o = self.optim
        schedule = optim.schedule(o.lr, o.min_lr, self.warmup_steps, self.total_steps)
        return optax.chain(
            optim.adamw(schedule, o),
            optim.scale_by_layer(self.encoder.depth, self.layer_decay),
        )


@functools.partial(jax.jit, static_argnames=("model", "mesh"))
def init(encoder_params: Any, key: jax.Array, *, model: Model, mesh: Mesh) -> fitting.State:
    """A fresh head on a copy of the encoder's parameters, replicated over the mesh."""
    tokens = jnp.zeros((1, model.encoder.num_patches, model.encoder.width))
    head = model.head.init(key, model.head.of_body(tokens))
    params = {"encoder": jax.tree.map(jnp.copy, encoder_params), "head": head["params"]}
    state = fitting.start(params, head["batch_stats"], model.optimizer())
    return jax.lax.with_sharding_constraint(state, sharding.replicated(mesh))


def sequence_features(
    model: Model,
    params: Any,
    split: DeviceSplit,
    batch: Batch,
    key: jax.Array,
    view: View,
    rngs: dict[str, jax.Array] | None,
) -> jax.Array:
    """Features (size, F) float32 of the sequences of a batch.

    Args:
      key: of the views; folded with the number of each sequence.
      rngs: the streams `drop_path` and `dropout`; None: nothing is dropped.
    """
    clips, length = split.clips(batch.body)
    # The bodies of a sequence share its key: one crop and one rotation.
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch.sequence[batch.row])
    clips = jax.vmap(view)(keys, clips, length)
    encoder_params = {"params": params["encoder"]}
    tokens = model.encoder.apply(encoder_params, clips, train=rngs is not None, rngs=rngs)
    of_body = model.head.of_body(tokens, None if rngs is None else rngs["dropout"])
    x = heads.mean_over_bodies(of_body, batch.row, len(batch.sequence))
    # The head is small: every device computes all of it, and BatchNorm sees the whole batch.
    return jax.lax.with_sharding_constraint(x, sharding.replicated(split.mesh))


@functools.partial(jax.jit, static_argnames=("model", "view"), donate_argnames=("state",))
def train_epoch(
    state: fitting.State,
    split: DeviceSplit,
    labels: jax.Array,
    batches: Batch,
    view_key: jax.Array,
    drop_key: jax.Array,
    *,
    model: Model,
    view: View,
) -> tuple[fitting.State, jax.Array]:
    """Runs one step for each leading element of `batches`.

    Args:
      state: before the epoch; donated.
      split: the training split. labels: (S,) int32, its labels.
      batches: of `packing.pack`.
      view_key: of the epoch; folded with the number of each sequence.
      drop_key: of the training; folded with the number of each step.
      model: see `Model`. view: the training view.

    Returns:
      The state after the epoch, and the mean loss over its sequences.
    """
    optimizer, num_sequences = model.optimizer(), labels.shape[0]

    def step(state: fitting.State, batch: Batch) -> tuple[fitting.State, jax.Array]:
        path_key, dropout_key = jax.random.split(jax.random.fold_in(drop_key, state.step))
        rngs = {"drop_path": path_key, "dropout": dropout_key}

        def loss(params):
            x = sequence_features(model, params, split, batch, view_key, view, rngs)
            return fitting.head_loss(
                model.head,
                {"params": params["head"], "batch_stats": state.batch_stats},
                x,
                labels[batch.sequence],
                batch.sequence < num_sequences,
                model.label_smoothing,
            )

        return fitting.update(state, loss, optimizer)

    state, losses = jax.lax.scan(step, state, batches)
    mean_loss = losses.sum() / jnp.sum(batches.sequence < num_sequences)
    return jax.lax.with_sharding_constraint((state, mean_loss), sharding.replicated(split.mesh))


@functools.partial(jax.jit, static_argnames=("model", "view"))
def predict(
    state: fitting.State, split: DeviceSplit, batches: Batch, *, model: Model, view: View
) -> jax.Array:
    """Logits (n · size, K) of all rows of `batches` (n, …), padding rows among them."""
    variables = {"params": state.params["head"], "batch_stats": state.batch_stats}
    nothing_drawn = jax.random.key(0)

    def one(batch):
        x = sequence_features(model, state.params, split, batch, nothing_drawn, view, rngs=None)
        return model.head.apply(variables, x)

    logits = jax.lax.map(one, batches)
    return jax.lax.with_sharding_constraint(
        logits.reshape(-1, logits.shape[-1]), sharding.replicated(split.mesh)
    )


class Trainer:
    """Fine-tunes on subsets of the training split, all by one compiled step.

    Args:
      task: the encoder and the data; its parameters stay as they are.
      config: these keys are read here:
        epochs, min_steps: passes over the subset; more, if those are fewer than `min_steps` steps.
        test_epochs: the test runs every `test_epochs` of `epochs`, and after the last one.
        batch_size: sequences at most; the batches of an epoch differ by one at most.
        bodies, second_body: see `packing.bodies_of`. seed: of the order of the sequences.
        drop_path: stochastic depth of the encoder. label_smoothing: see `Model`.
        head.hidden, head.dropout: of `FinetuneHead`.
        optim: see `Model.optimizer`; `warmup_epochs` of `epochs`; `layer_decay` of a pre-trained
          encoder, `scratch_layer_decay` of a random one.
      subsets: the sequences of each training that `fit` will be called for; equally many in each.
    """

    def __init__(self, task: Task, config, subsets: list[np.ndarray]):
        self._task, self._config = task, config
        mesh = task.train.mesh
        per_epoch = len(self._order(subsets[0], 0))
        self._epochs = max(config.epochs, -(-config.min_steps // per_epoch))
        stretch = self._epochs / config.epochs
        self._test_every = max(1, round(config.test_epochs * stretch))

        self._model = Model(
            encoder=task.encoder.clone(drop_path=config.drop_path),
            head=heads.build("finetune", self._head_settings()),
            optim=ml_collections.FrozenConfigDict(config.optim),
            layer_decay=config.optim["layer_decay" if task.pretrained else "scratch_layer_decay"],
            warmup_steps=round(config.optim.warmup_epochs * stretch * per_epoch),
            total_steps=self._epochs * per_epoch,
            label_smoothing=config.label_smoothing,
        )
        self._train_bodies = packing.bodies_of(task.train.host, packing.counted(config))
        # One capacity for all subsets: one shape, compiled once.
        self._capacity = packing.capacity(
            (self._order(subset, epoch) for subset in subsets for epoch in range(self._epochs)),
            self._train_bodies,
            mesh.size,
        )
        test_bodies = packing.bodies_of(task.test.host, packing.counted(config))
        order = packing.in_turn(len(task.test.host.label), config.batch_size)
        size = packing.capacity([order], test_bodies, mesh.size)
        self._test_batches = self._put(packing.pack(order, test_bodies, size))

    def fit(self, subset: np.ndarray, key: jax.Array, log: Log) -> Outcome:
        """Trains on the sequences `subset` (n,) of the training split, tests on the test split.

        Args:
          subset: one of those that the trainer was made for.
          key: of the initial head, of views and dropout.
          log: see `task.Log`.
        """
        task = self._task
        init_key, view_key, drop_key = jax.random.split(key, 3)
        labels, test_labels = self._put((task.train.host.label, task.test.host.label))

        def train(state, epoch):
            order = self._order(subset, epoch - 1)
            return train_epoch(
                state,
                task.train,
                labels,
                self._put(packing.pack(order, self._train_bodies, self._capacity)),
                jax.random.fold_in(view_key, epoch),
                drop_key,
                model=self._model,
                view=task.train_view,
            )

        def test(state):
            batches, how = self._test_batches, {"model": self._model, "view": task.test_view}
            return predict(state, task.test, batches, **how)[: len(test_labels)]

        return fitting.fit(
            init(task.params, init_key, model=self._model, mesh=task.train.mesh),
            train,
            test,
            self._classifier,
            test_labels=test_labels,
            epochs=self._epochs,
            test_every=self._test_every,
            log=log,
            remedy=f"lower config.optim.lr, which is {self._config.optim.lr}, or set "
            "config.optim.clip_norm=1.0.",
        )

    def _head_settings(self) -> dict[str, Any]:
        return {
            "num_classes": self._task.num_classes,
            "num_joints": self._task.encoder.num_joints,
            **self._config.head,
        }

    def _order(self, subset: np.ndarray, epoch: int) -> np.ndarray:
        """The batches of an epoch: indices of sequences of the training split."""
        config = self._config
        order = packing.epoch_order(config.seed, epoch, len(subset), config.batch_size)
        return np.append(subset, np.int32(len(self._task.train.host.label)))[order]

    def _put(self, tree):
        return sharding.put(tree, sharding.replicated(self._task.train.mesh))

    def _classifier(self, state: fitting.State) -> Classifier:
        return Classifier(
            head="finetune",
            head_settings=self._head_settings(),
            params=jax.device_get(state.params),
            batch_stats={"head": jax.device_get(state.batch_stats)},
            bodies=packing.counted(self._config),
        )
