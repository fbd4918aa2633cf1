"""From logits to accuracies, and from the epochs' accuracies to what is reported."""

import jax
import jax.numpy as jnp
import numpy as np


@jax.jit
def ranks(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """At which place, 0 the first, each sequence's label comes.

    Of equal logits the lower class comes first, so that rank 0 is `argmax` and a head that says
    the same of every class is not right about all of them.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    earlier = jnp.arange(logits.shape[1]) < labels[:, None]
    return jnp.sum((logits > own) | ((logits == own) & earlier), axis=1)


def accuracies(logits: jax.Array, labels: jax.Array) -> dict[str, float]:
    """`top1` and `top5` of logits (S, K) and labels (S,), as fractions."""
    place = np.asarray(ranks(logits, labels))
    return {f"top{k}": float((place < k).mean()) for k in (1, 5)}


def summary(history: dict[int, dict[str, float]]) -> dict[str, float]:
    """The metrics of a training: the last epoch is the result, the best stands beside it, so named.

    Args:
      history: epoch (from 1) -> its metrics, `top1` and `top5` among them; those that were tested.
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
