"""Linear evaluation: how much of the label a linear classifier reads off the frozen features.

BatchNorm without affine parameters, then one Dense layer; SGD with momentum 0.9, no weight decay,
learning rate on a cosine to 0 (methods.md, "Downstream"). The encoder is frozen, so the published
on-line probe (encode a batch, step the classifier) and this one (encode an epoch's augmented clips,
then step through them in one scan) compute the same thing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from amr_jax.errors import UserError
from amr_jax.evaluation.protocols import features
from amr_jax.evaluation.protocols.packing import epoch_order
from amr_jax.evaluation.protocols.scores import accuracies, summary
from amr_jax.evaluation.protocols.task import Classifier, Log, Outcome, Task
from amr_jax.run import sharding

# torch's BatchNorm1d as the peers set it up: epsilon from them, momentum torch's default.
_EPSILON = 1e-6
_STATISTICS_MOMENTUM = 0.1
_MOMENTUM = 0.9
_KERNEL_STD = 0.01
# The head is small: full float32 products cost nothing (GPUs and TPUs would use fewer bits).
_PRECISION = jax.lax.Precision.HIGHEST


class Head(NamedTuple):
    """The classifier and its optimiser.

    Attributes:
      dense: {'kernel': (D, K), 'bias': (K,)}.
      mean, var: (D,) running statistics of the BatchNorm, what the test normalises with.
      optimiser: optax's state.
    """

    dense: dict[str, jax.Array]
    mean: jax.Array
    var: jax.Array
    optimiser: optax.OptState


def init(key: jax.Array, width: int, num_classes: int) -> Head:
    """A fresh head: normal(0, 0.01) kernel, zero bias, running statistics 0 and 1."""
    kernel = _KERNEL_STD * jax.random.normal(key, (width, num_classes), jnp.float32)
    dense = {"kernel": kernel, "bias": jnp.zeros(num_classes, jnp.float32)}
    # The state of SGD with momentum does not depend on the learning rate.
    state = _optimiser(learning_rate=0.0, num_steps=1).init(dense)
    return Head(dense, jnp.zeros(width, jnp.float32), jnp.ones(width, jnp.float32), state)


def _optimiser(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    # One cosine step per update, not per epoch, as the peers do.
    schedule = optax.cosine_decay_schedule(learning_rate, num_steps)
    return optax.sgd(schedule, momentum=_MOMENTUM)


def _normalise(x: jax.Array, mean: jax.Array, var: jax.Array) -> jax.Array:
    return (x - mean) * jax.lax.rsqrt(var + _EPSILON)


def _logits(dense: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return jnp.dot(x, dense["kernel"], precision=_PRECISION) + dense["bias"]


@functools.partial(jax.jit, static_argnames=("learning_rate", "num_steps"))
def train_epoch(
    head: Head,
    x: jax.Array,
    labels: jax.Array,
    order: jax.Array,
    *,
    learning_rate: float,
    num_steps: int,
) -> tuple[Head, jax.Array]:
    """Steps the head through one epoch's batches.

    Args:
      head: where to start from.
      x: (S, D) features.
      labels: (S,) int32.
      order: (number of batches, size) indices into S; S itself stands for "nobody".
      learning_rate: at step 0.
      num_steps: of the whole training, after which the cosine has reached 0.

    Returns:
      The head after it, and the mean loss over the epoch's sequences.
    """
    optimiser = _optimiser(learning_rate, num_steps)

    def step(head: Head, index: jax.Array) -> tuple[Head, jax.Array]:
        real = (index < x.shape[0]).astype(jnp.float32)
        n = real.sum()
        batch = jnp.take(x, index, axis=0, mode="clip")
        target = jnp.take(labels, index, mode="clip")
        mean = (real @ batch) / n
        var = (real @ jnp.square(batch - mean)) / n
        normalised = _normalise(batch, mean, var)

        def loss_fn(dense):
            losses = optax.softmax_cross_entropy_with_integer_labels(
                _logits(dense, normalised), target
            )
            return jnp.sum(real * losses) / n

        loss, gradient = jax.value_and_grad(loss_fn)(head.dense)
        updates, optimiser_state = optimiser.update(gradient, head.optimiser, head.dense)
        # torch normalises with the biased variance but remembers the unbiased one.
        unbiased = var * n / jnp.maximum(n - 1, 1)
        head = Head(
            optax.apply_updates(head.dense, updates),
            head.mean + _STATISTICS_MOMENTUM * (mean - head.mean),
            head.var + _STATISTICS_MOMENTUM * (unbiased - head.var),
            optimiser_state,
        )
        return head, loss * n

    head, losses = jax.lax.scan(step, head, order)
    return head, losses.sum() / x.shape[0]


@jax.jit
def predict(head: Head, x: jax.Array) -> jax.Array:
    """(S, D) features -> (S, K) logits, normalised with the running statistics."""
    return _logits(head.dense, _normalise(x, head.mean, head.var))


def _training_features(task: Task, config, key: jax.Array) -> Callable[[int], jax.Array]:
    """Epoch (0-based) -> (S, D) features of the training split to use in it."""
    options = {"batch_size": config.encode_batch_size, "bodies": config.bodies}
    encode = functools.partial(features.extract, task.encoder, task.params, task.train, **options)
    if config.features == "augmented":
        return lambda epoch: encode(task.train_view, jax.random.fold_in(key, epoch))
    cache = [
        encode(task.train_view, jax.random.fold_in(key, view))
        for view in range(config.cached_views)
    ] or [encode(task.test_view, key)]
    return lambda epoch: cache[epoch % len(cache)]


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: trains the head on `task.train`, tests it on `task.test` after every epoch.

    Reads from the config: `epochs`, `batch_size`, `learning_rate`, `seed`, and
      features: 'augmented' (every epoch encodes freshly augmented clips, as published) or 'cached'
        (encodes `cached_views` augmented views once and goes round them; 0: the centre crop);
      encode_batch_size, bodies: see `features.extract`.

    Returns:
      Predictions after the last epoch; top-1 and top-5 then, and the epoch that tested best.

    Raises:
      UserError: a head that diverged (in which epoch).
    """
    view_key, init_key = jax.random.split(jax.random.key(config.seed))
    train_x = _training_features(task, config, view_key)
    test_x = features.extract(
        task.encoder,
        task.params,
        task.test,
        task.test_view,
        view_key,  # the test's view draws nothing
        batch_size=config.encode_batch_size,
        bodies=config.bodies,
    )
    where = sharding.replicated(task.train.mesh)
    train_y, test_y = sharding.put((task.train.host.label, task.test.host.label), where)
    head = sharding.put(init(init_key, test_x.shape[1], task.num_classes), where)

    history = []
    for epoch in range(config.epochs):
        order = epoch_order(config.seed, epoch, len(train_y), config.batch_size)
        head, loss = train_epoch(
            head,
            train_x(epoch),
            train_y,
            order,
            learning_rate=config.learning_rate,
            num_steps=config.epochs * len(order),
        )
        logits = predict(head, test_x)
        if not (jnp.isfinite(loss) and jnp.isfinite(logits).all()):
            raise UserError(
                f"the linear probe diverged in epoch {epoch + 1} of {config.epochs} (loss "
                f"{float(loss)}); lower config.learning_rate, which is {config.learning_rate}."
            )
        history.append({"train_loss": float(loss), **accuracies(logits, test_y)})
        log(epoch + 1, history[-1])

    return Outcome(
        predictions=np.asarray(jnp.argmax(logits, axis=1), np.int32),
        metrics=summary(dict(enumerate(history, start=1))),
        scores=np.asarray(logits),
        classifier=classifier(head, task, config.bodies),
    )


def classifier(head: Head, task: Task, bodies: str) -> Classifier:
    """The head as `models.heads.LinearHead` has it, on the encoder that it was trained on."""
    params, batch_stats = head_variables(head)
    return Classifier(
        head="linear",
        head_settings={"num_classes": task.num_classes},
        params={"encoder": jax.device_get(task.params), "head": params},
        batch_stats={"head": batch_stats},
        bodies=bodies,
    )


def head_variables(head: Head) -> tuple[dict, dict]:
    """Parameters and running statistics by the names of `models.heads.LinearHead`, on the host."""
    statistics = {"norm": {"mean": head.mean, "var": head.var}}
    return jax.device_get(({"dense": head.dense}, statistics))
