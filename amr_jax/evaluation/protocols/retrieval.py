"""Retrieval: training sequences, ranked by the similarity of their features to a test sequence."""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.evaluation import neighbours
from amr_jax.evaluation.protocols import knn
from amr_jax.evaluation.task import Column, Log, Outcome, Task
from amr_jax.run import sharding

MEAN_AVERAGE_PRECISION = Column(
    "mean_average_precision",
    "mAP %",
    lambda fraction: f"{100 * fraction:.2f}",
    "mAP: mean average precision of ranking the training sequences for each test sequence.",
)
WITHOUT_TWINS = Column(
    "mean_average_precision_without_twins",
    "mAP without twins %",
    MEAN_AVERAGE_PRECISION.text,
    "mAP without twins: training sequences that show the performance of the test sequence, seen by "
    "another camera, are left out of its ranking.",
    optional=True,
)


def rank(similarity: jax.Array, labels: jax.Array, own: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The label of the nearest of each query, and the average precision of its ranking.

    The whole gallery is ranked by similarity; equals keep their order. If the R members of the
    class of the query have the ranks r_1 < … < r_R (from 1), the average precision is
    (1/R) Σ_i i / r_i, the mean of the precisions down to each of them. It is 0 if the gallery lacks
    the class. Members with a similarity of -inf are not in the ranking.

    Args:
      similarity: (n, G). labels: (G,) of the gallery. own: (n,) of the queries.

    Returns:
      Labels (n,) int32 and average precisions (n,) float32.
    """
    labels = jnp.broadcast_to(labels, similarity.shape)
    distance, labels = jax.lax.sort((-similarity, labels), num_keys=1, is_stable=True)
    relevant = (labels == own[:, None]) & (distance != jnp.inf)
    found = jnp.cumsum(relevant, axis=1)
    places = jnp.arange(1, labels.shape[1] + 1)
    precisions = jnp.sum(relevant * (found / places), axis=1)
    return labels[:, 0], precisions / jnp.maximum(found[:, -1], 1)


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: each test sequence is a query to the gallery of all training sequences.

    Features are those of the centre crop. Metrics: `top1`, as 1-NN of `knn`, and
    `mean_average_precision`, the mean over all queries of the average precision of `rank`; where
    there are twins, also both without them.
    """
    gallery, queries = neighbours.frozen(task, config)
    if config.whiten:
        gallery, queries = neighbours.whitened(gallery, queries)
    train_labels, test_labels = task.train.host.label, task.test.host.label
    mesh = task.train.mesh
    labels, own = sharding.put((train_labels, test_labels), sharding.replicated(mesh))
    pairs = (queries, own), (gallery, labels)
    predictions, precision = neighbours.compared(rank, *pairs, mesh=mesh)
    metrics = {
        "top1": float((predictions == test_labels).mean()),
        MEAN_AVERAGE_PRECISION.key: float(precision.mean()),
    }
    if task.twins is not None:
        others, precision = neighbours.compared(rank, *pairs, mesh=mesh, twins=task.twins)
        metrics[knn.WITHOUT_TWINS.key] = float((others == test_labels).mean())
        metrics[WITHOUT_TWINS.key] = float(precision.mean())
    log(1, metrics)
    return Outcome(
        predictions=predictions.astype(np.int32),
        metrics=metrics,
        nearest=neighbours.examples(queries, gallery, predictions == test_labels),
    )
