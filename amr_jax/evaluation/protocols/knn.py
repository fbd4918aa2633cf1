"""Cosine nearest neighbours on frozen features: nothing is trained."""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.config.settings import refuse
from amr_jax.evaluation import neighbours
from amr_jax.evaluation.task import Column, Log, Outcome, Task
from amr_jax.run import sharding

FEATURE_STD = Column(
    "feature_std",
    "feature std",
    "{:.3f}".format,
    "feature std: standard deviation of each feature over the test sequences, averaged over the "
    "features; near 0, the encoder has collapsed.",
)
WITHOUT_TWINS = Column(
    "top1_without_twins",
    "1-NN without twins %",
    lambda fraction: f"{100 * fraction:.1f}",
    "Without twins: training sequences that show the performance of the test sequence, seen by "
    "another camera, are no neighbours of it.",
    optional=True,
)


def vote(labels: jax.Array) -> jax.Array:
    """The most frequent of the labels (..., k) of neighbours, which are ordered nearest first.

    Ties go to the label of the nearest neighbour among them. Labels below 0 have no vote.
    """
    votes = (labels[..., :, None] == labels[..., None, :]).sum(axis=-1) * (labels >= 0)
    winner = jnp.argmax(votes, axis=-1)  # the first of equals
    return jnp.take_along_axis(labels, winner[..., None], axis=-1)[..., 0]


def nearest(similarity: jax.Array, labels: jax.Array, own: jax.Array, k: int) -> jax.Array:
    """The vote (n,) of the `k` nearest of a bank; ties go to the first in its order.

    Args:
      similarity: (n, B). labels: (B,) of the bank. own: of the queries; not used.
    """
    del own
    similarity, places = jax.lax.top_k(similarity, k)
    return vote(jnp.where(similarity == -jnp.inf, -1, labels[places]))


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: each test sequence gets the label of its `config.k` nearest training sequences.

    Features are those of the centre crop. Metrics: `top1`, and `feature_std` (see `FEATURE_STD`);
    where there are twins, also the top-1 `WITHOUT_TWINS`. `config.whiten`: see `neighbours`.

    Raises:
      UserError: k exceeds the number of training sequences.
    """
    train_labels, test_labels = task.train.host.label, task.test.host.label
    if config.k > len(train_labels):
        refuse("config.k", config.k, f"at most {len(train_labels)}, the training sequences")
    bank, features = neighbours.frozen(task, config)
    queries = features
    if config.whiten:
        bank, queries = neighbours.whitened(bank, features)
    mesh = task.train.mesh
    labels, own = sharding.put((train_labels, test_labels), sharding.replicated(mesh))

    def predicted(twins=None):
        pairs = (queries, own), (bank, labels)
        return neighbours.compared(nearest, *pairs, config.k, mesh=mesh, twins=twins)

    predictions = predicted()
    metrics = {
        "top1": float((predictions == test_labels).mean()),
        "feature_std": float(jnp.std(features, axis=0).mean()),
    }
    if task.twins is not None:
        metrics[WITHOUT_TWINS.key] = float((predicted(task.twins) == test_labels).mean())
    log(1, metrics)
    return Outcome(
        predictions=predictions.astype(np.int32),
        metrics=metrics,
        nearest=neighbours.examples(queries, bank, predictions == test_labels),
    )
