"""Accuracies of logits, their noise, and the summary of the epochs of a training."""

import math

import jax
import jax.numpy as jnp
import numpy as np


@jax.jit
def ranks(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The rank of the label of each sequence among its logits, from 0.

    Of equal logits the lower class comes first: rank 0 is `argmax`, and constant logits do not
    count as correct for every class.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    earlier = jnp.arange(logits.shape[1]) < labels[:, None]
    return jnp.sum((logits > own) | ((logits == own) & earlier), axis=1)


def accuracies(logits: jax.Array, labels: jax.Array) -> dict[str, float]:
    """`top1` and `top5` of logits (S, K) and labels (S,), as fractions."""
    place = np.asarray(ranks(logits, labels))
    return {f"top{k}": float((place < k).mean()) for k in (1, 5)}


def summary(history: dict[int, dict[str, float]]) -> dict[str, float]:
    """The metrics of a training: those of the last epoch, and of the best epoch by that name.

    Args:
      history: tested epoch (from 1) -> its metrics, `top1` and `top5` among them.
    """
    last = max(history)
    best = max(sorted(history), key=lambda epoch: history[epoch]["top1"])  # the first of equals
    return {
        **history[last],
        "epochs": last,
        "best_epoch": best,
        "best_epoch_top1": history[best]["top1"],
        "best_epoch_top5": history[best]["top5"],
    }


def standard_error(accuracy: float, num_test: int) -> float:
    """Standard error of an accuracy on `num_test` sequences: √(p(1 − p)/n)."""
    return math.sqrt(accuracy * (1 - accuracy) / num_test)
