"""Linear evaluation: how well a linear classifier predicts the label from frozen features.

`LinearHead` (BatchNorm without affine parameters, one Dense layer) trained by SGD with momentum
0.9, no weight decay, learning rate on a cosine to 0. The encoder is frozen, so the published
on-line probe (encode a batch, step the classifier) and this one (encode the augmented clips of an
epoch, then step through them in one scan) compute the same.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from amr_jax.evaluation import fitting, packing
from amr_jax.evaluation.task import Classifier, Log, Outcome, Task
from amr_jax.models import heads
from amr_jax.run import sharding


def init(key: jax.Array, head: heads.LinearHead, width: int) -> fitting.State:
    """A fresh head on features of `width`."""
    variables = head.init(key, jnp.zeros((1, width)))
    # Drawn from the key itself, not from one that Flax derives from it, as in version 0.1.
    kernel = nn.initializers.normal(heads.KERNEL_STD)(key, (width, head.num_classes))
    variables["params"]["dense"]["kernel"] = kernel
    # The state of SGD with momentum does not depend on the learning rate.
    optimizer = _optimizer(learning_rate=0.0, num_steps=1)
    return fitting.start(variables["params"], variables["batch_stats"], optimizer)


def _optimizer(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    # The cosine advances with every step, as in published code, not with every epoch.
    schedule = optax.cosine_decay_schedule(learning_rate, num_steps)
    return optax.sgd(schedule, momentum=0.9)


@functools.partial(jax.jit, static_argnames=("head", "learning_rate", "num_steps"))
def train_epoch(
    state: fitting.State,
    x: jax.Array,
    labels: jax.Array,
    order: jax.Array,
    *,
    head: heads.LinearHead,
    learning_rate: float,
    num_steps: int,
) -> tuple[fitting.State, jax.Array]:
    """Trains the head on the batches of one epoch.

    Args:
      state: before the epoch.
      x: (S, F) features. labels: (S,) int32.
      order: (number of batches, size) indices into S; S itself marks padding.
      head: the classifier.
      learning_rate: at step 0.
      num_steps: of the whole training, after which the cosine has reached 0.

    Returns:
      The state after the epoch, and its mean loss.
    """
    optimizer = _optimizer(learning_rate, num_steps)

    def step(state: fitting.State, index: jax.Array) -> tuple[fitting.State, jax.Array]:
        batch = jnp.take(x, index, axis=0, mode="clip")
        own = jnp.take(labels, index, mode="clip")

        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            return fitting.head_loss(head, variables, batch, own, index < len(x), 0.0)

        return fitting.update(state, loss, optimizer)

    state, losses = jax.lax.scan(step, state, order)
    return state, losses.sum() / len(x)


@functools.partial(jax.jit, static_argnames="head")
def predict(state: fitting.State, x: jax.Array, *, head: heads.LinearHead) -> jax.Array:
    """(S, F) features -> (S, K) logits, normalised with the running statistics."""
    return head.apply({"params": state.params, "batch_stats": state.batch_stats}, x)


def _training_features(task: Task, config, key: jax.Array) -> Callable[[int], jax.Array]:
    """Epoch (from 0) -> features (S, F) of the training split."""

    def augmented(number: int) -> jax.Array:
        fold = jax.random.fold_in(key, number)
        return task.features(task.train, task.train_view, fold, config)

    if config.features == "augmented":
        return augmented
    cache = [augmented(view) for view in range(config.cached_views)] or [
        task.features(task.train, task.test_view, key, config)
    ]
    return lambda epoch: cache[epoch % len(cache)]


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: trains the head on `task.train`, tests it on `task.test` after every epoch.

    Reads from the config: `epochs`, `batch_size`, `learning_rate`, `seed`, and
      features: 'augmented' (every epoch encodes freshly augmented clips, as published) or 'cached'
        (encodes `cached_views` augmented views once and cycles through them; 0: the centre crop);
      encode_batch_size, bodies, second_body: see `features.extract`. The read-out is the task's.

    Returns:
      Predictions after the last epoch; top-1 and top-5 then, and those of the best epoch.

    Raises:
      UserError: the training diverged.
    """
    view_key, init_key = jax.random.split(jax.random.key(config.seed))
    train_x = _training_features(task, config, view_key)
    # The view of the test draws nothing.
    test_x = task.features(task.test, task.test_view, view_key, config)
    where = sharding.replicated(task.train.mesh)
    train_y, test_y = sharding.put((task.train.host.label, task.test.host.label), where)
    settings = heads.linear_settings(task.num_classes, task.readout, task.encoder)
    head = heads.build("linear", settings)
    state = sharding.put(init(init_key, head, test_x.shape[1]), where)

    def train(state, epoch):
        order = packing.epoch_order(config.seed, epoch - 1, len(train_y), config.batch_size)
        return train_epoch(
            state,
            train_x(epoch - 1),
            train_y,
            order,
            head=head,
            learning_rate=config.learning_rate,
            num_steps=config.epochs * len(order),
        )

    def classifier(state):
        params = {"encoder": task.params, "head": state.params}
        return Classifier(
            head="linear",
            head_settings=settings,
            params=jax.device_get(params),
            batch_stats={"head": jax.device_get(state.batch_stats)},
            bodies=packing.counted(config),
        )

    return fitting.fit(
        state,
        train,
        lambda state: predict(state, test_x, head=head),
        classifier,
        test_labels=test_y,
        epochs=config.epochs,
        test_every=1,
        log=log,
        remedy=f"lower config.learning_rate, which is {config.learning_rate}.",
    )
