"""Retrieval: training sequences, ranked by the similarity of their features to a test sequence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from amr_jax.evaluation.protocols.knn import BLOCK_ELEMENTS, block_rows, frozen, unit
from amr_jax.evaluation.protocols.task import Column, Log, Outcome, Task
from amr_jax.run import sharding

MEAN_AVERAGE_PRECISION = Column(
    "mean_average_precision",
    "mAP %",
    lambda fraction: f"{100 * fraction:.2f}",
    "mAP: mean average precision of ranking the training sequences for each test sequence.",
)


def rank(
    queries: jax.Array,
    query_labels: jax.Array,
    gallery: jax.Array,
    gallery_labels: jax.Array,
    *,
    mesh: Mesh,
    block_elements: int = BLOCK_ELEMENTS,
) -> tuple[np.ndarray, np.ndarray]:
    """The label of the nearest of each query, and the average precision of its ranking.

    The whole gallery is ranked by cosine similarity; equals keep their order. If the R members of
    the class of the query have the ranks r_1 < … < r_R (from 1), the average precision is
    (1/R) Σ_i i / r_i, the mean of the precisions down to each of them. It is 0 if the gallery lacks
    the class.

    Args:
      queries: (Q, D) features; query_labels: (Q,).
      gallery: (G, D) features; gallery_labels: (G,).
      mesh: queries are split over it, and processed in blocks of `block_elements // G`.

    Returns:
      (Q,) int32 labels, and (Q,) float32 average precisions.
    """
    num_queries = queries.shape[0]
    rows = block_rows(num_queries, gallery.shape[0], mesh, block_elements)
    shortfall = -num_queries % (rows * mesh.size)
    queries = jnp.pad(queries, ((0, shortfall), (0, 0)))
    query_labels = jnp.pad(query_labels, (0, shortfall), constant_values=-1)
    ranked = _rank(queries, query_labels, gallery, gallery_labels, rows, mesh)
    return tuple(np.asarray(x)[:num_queries] for x in ranked)


@functools.partial(jax.jit, static_argnames=("rows", "mesh"))
def _rank(
    queries: jax.Array,
    query_labels: jax.Array,
    gallery: jax.Array,
    gallery_labels: jax.Array,
    rows: int,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array]:
    gallery = unit(gallery)
    places = jnp.arange(1, gallery.shape[0] + 1)

    def local(queries, query_labels, gallery, gallery_labels):
        def block(args):
            queries, own = args
            # See `knn`: with fewer bits, near neighbours swap places.
            similarity = jnp.dot(queries, gallery.T, precision=jax.lax.Precision.HIGHEST)
            labels = jnp.broadcast_to(gallery_labels, similarity.shape)
            _, labels = jax.lax.sort((-similarity, labels), num_keys=1, is_stable=True)
            relevant = labels == own[:, None]
            found = jnp.cumsum(relevant, axis=1)
            precisions = jnp.sum(relevant * (found / places), axis=1)
            return labels[:, 0], precisions / jnp.maximum(found[:, -1], 1)

        blocks = unit(queries).reshape(-1, rows, queries.shape[-1])
        nearest, precision = jax.lax.map(block, (blocks, query_labels.reshape(-1, rows)))
        return nearest.reshape(-1), precision.reshape(-1)

    split = P(sharding.BATCH)
    specs = (split, split, P(), P())
    ranked = jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=(split, split), check_vma=False
    )(queries, query_labels, gallery, gallery_labels)
    return jax.lax.with_sharding_constraint(ranked, sharding.replicated(mesh))


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: each test sequence is a query to the gallery of all training sequences.

    Features are those of the centre crop. Metrics: `top1`, as 1-NN of `knn`, and
    `mean_average_precision`, the mean over all queries of the average precision of `rank`.
    """
    gallery, queries = frozen(task, config)
    where = sharding.replicated(task.train.mesh)
    labels, query_labels = sharding.put((task.train.host.label, task.test.host.label), where)
    predictions, precision = rank(queries, query_labels, gallery, labels, mesh=task.train.mesh)
    metrics = {
        "top1": float((predictions == task.test.host.label).mean()),
        "mean_average_precision": float(precision.mean()),
    }
    log(1, metrics)
    return Outcome(predictions=predictions.astype(np.int32), metrics=metrics)
