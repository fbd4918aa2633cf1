"""Training a classifier: the loss, the update and the epochs of every protocol that trains one."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from amr_jax.errors import UserError
from amr_jax.evaluation.accuracy import accuracies, summary
from amr_jax.evaluation.task import Classifier, Log, Outcome
from amr_jax.run import console


@flax.struct.dataclass
class State:
    """Everything that a step changes.

    Attributes:
      step: number of updates done, int32.
      params: the trained parameters.
      batch_stats: running statistics of the head.
      opt_state: state of the optimiser.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any


def start(params: Any, batch_stats: Any, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step."""
    return State(jnp.int32(0), params, batch_stats, optimizer.init(params))


def head_loss(
    head: nn.Module,
    variables: dict[str, Any],
    x: jax.Array,
    labels: jax.Array,
    real: jax.Array,
    label_smoothing: float,
) -> tuple[jax.Array, tuple[Any, jax.Array]]:
    """Mean cross-entropy of the real rows of a batch.

    Args:
      head: of `models.heads`. variables: its params and batch_stats.
      x: (n, F) features. labels: (n,) int32.
      real: (n,) bool, False for padding rows.
      label_smoothing: share of a label that is spread over all classes.

    Returns:
      The mean; the new batch_stats and the sum of the losses.
    """
    logits, changed = head.apply(variables, x, real, train=True, mutable=["batch_stats"])
    target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1]), label_smoothing)
    losses = jnp.where(real, optax.softmax_cross_entropy(logits, target), 0)
    return losses.sum() / real.sum(), (changed["batch_stats"], losses.sum())


def update(
    state: State, loss: Callable, optimizer: optax.GradientTransformation
) -> tuple[State, jax.Array]:
    """One step of the optimiser.

    Args:
      state: before the step.
      loss: params → as `head_loss` returns.
      optimizer: whose state `state` holds.

    Returns:
      The state after the step, and the sum of the losses of its batch.
    """
    gradient, (batch_stats, total) = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return State(state.step + 1, params, batch_stats, opt_state), total


def fit(
    state: State,
    train: Callable[[State, int], tuple[State, jax.Array]],
    test: Callable[[State], jax.Array],
    classifier: Callable[[State], Classifier],
    *,
    test_labels: jax.Array,
    epochs: int,
    test_every: int,
    log: Log,
    remedy: str,
) -> Outcome:
    """Trains for a number of epochs, and tests on the way and after the last one.

    Args:
      state: before the first epoch.
      train: (state, number of the epoch from 1) → state after it, mean loss of the epoch.
      test: state → logits (S, K) of the test split.
      classifier: state → the trained classifier.
      test_labels: (S,) int32.
      epochs, test_every: the test runs every `test_every` epochs and after the last one.
      log: called after each epoch.
      remedy: advice for a training that diverges.

    Raises:
      UserError: the loss or the logits are not finite.
    """
    history = {}
    with console.progress_bar("classifier, epoch", epochs) as advance:
        for epoch in range(1, epochs + 1):
            state, loss = train(state, epoch)
            scalars = {"train_loss": float(loss)}
            tested = epoch % test_every == 0 or epoch == epochs
            logits = test(state) if tested else None
            if not np.isfinite(loss) or (tested and not jnp.isfinite(logits).all()):
                raise UserError(
                    f"the training diverged in epoch {epoch} of {epochs} (loss {float(loss)}); "
                    f"{remedy}"
                )
            if tested:
                history[epoch] = scalars = scalars | accuracies(logits, test_labels)
            log(epoch, scalars)
            advance(text="  ".join(f"{name} {value:.4f}" for name, value in scalars.items()))
    return Outcome(
        predictions=np.asarray(jnp.argmax(logits, axis=1), np.int32),
        metrics=summary(history),
        scores=np.asarray(logits),
        classifier=classifier(state),
    )
