"""Cosine nearest neighbours on frozen features: nothing is trained."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from amr_jax.config.settings import refuse
from amr_jax.evaluation.protocols import features
from amr_jax.evaluation.protocols.task import Column, Log, Outcome, Task
from amr_jax.run import sharding

FEATURE_STD = Column(
    "feature_std",
    "feature std",
    "{:.3f}".format,
    "feature std: standard deviation of each feature over the test sequences, averaged over the "
    "features; near 0, the encoder has collapsed.",
)

# Similarities in the memory of a device at once: 256 MiB of float32.
BLOCK_ELEMENTS = 2**26


def unit(x: jax.Array) -> jax.Array:
    """Rows of unit length; a row of zeros remains, and is equally far from all others."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def block_rows(num_queries: int, bank_size: int, mesh: Mesh, block_elements: int) -> int:
    """Number of queries that a device compares with the whole bank at once."""
    return max(1, min(block_elements // bank_size, -(-num_queries // mesh.size)))


def vote(labels: jax.Array) -> jax.Array:
    """The most frequent of the labels (..., k) of neighbours, which are ordered nearest first.

    Of labels with equally many votes, the one of the nearest neighbour.
    """
    votes = (labels[..., :, None] == labels[..., None, :]).sum(axis=-1)
    winner = jnp.argmax(votes, axis=-1)  # the first of equals
    return jnp.take_along_axis(labels, winner[..., None], axis=-1)[..., 0]


def classify(
    queries: jax.Array,
    bank: jax.Array,
    bank_labels: jax.Array,
    *,
    k: int,
    mesh: Mesh,
    block_elements: int = BLOCK_ELEMENTS,
) -> np.ndarray:
    """Labels (Q,) of `queries` (Q, D) by their k nearest of `bank` (B, D), by cosine similarity.

    Of equally near neighbours, the first in the bank counts as nearer. Queries are split over the
    mesh and processed in blocks of `block_elements // B`, which bounds the memory.
    """
    rows = block_rows(queries.shape[0], bank.shape[0], mesh, block_elements)
    shortfall = -queries.shape[0] % (rows * mesh.size)
    padded = jnp.pad(queries, ((0, shortfall), (0, 0)))
    return np.asarray(_classify(padded, bank, bank_labels, k, rows, mesh))[: queries.shape[0]]


@functools.partial(jax.jit, static_argnames=("k", "rows", "mesh"))
def _classify(
    queries: jax.Array, bank: jax.Array, bank_labels: jax.Array, k: int, rows: int, mesh: Mesh
) -> jax.Array:
    bank = unit(bank)

    # Under shard_map each device ranks its own queries; top_k of a sharded array would gather it.
    def local(queries, bank, bank_labels):
        def block(queries):
            # With the fewer bits that GPUs and TPUs use by default, near neighbours swap places.
            similarity = jnp.dot(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
            return vote(bank_labels[jax.lax.top_k(similarity, k)[1]])

        blocks = unit(queries).reshape(-1, rows, queries.shape[-1])
        return jax.lax.map(block, blocks).reshape(-1)

    split = P(sharding.BATCH)
    classify_local = jax.shard_map(
        local, mesh=mesh, in_specs=(split, P(), P()), out_specs=split, check_vma=False
    )
    labels = classify_local(queries, bank, bank_labels)
    return jax.lax.with_sharding_constraint(labels, sharding.replicated(mesh))


def frozen(task: Task, config) -> tuple[jax.Array, jax.Array]:
    """Features (S, D) of the training and of the test split, of the centre crop."""
    return tuple(
        features.extract(
            task.encoder,
            task.params,
            split,
            task.test_view,
            jax.random.key(config.seed),  # the view of the test draws nothing
            batch_size=config.encode_batch_size,
            bodies=config.bodies,
        )
        for split in (task.train, task.test)
    )


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: each test sequence gets the label of its `config.k` nearest training sequences.

    Features are those of the centre crop. Metrics: `top1`, and `feature_std` (see `FEATURE_STD`).

    Raises:
      UserError: k exceeds the number of training sequences.
    """
    num_train = len(task.train.host.label)
    if config.k > num_train:
        refuse("config.k", config.k, f"at most {num_train}, the training sequences")
    bank, queries = frozen(task, config)
    labels = sharding.put(task.train.host.label, sharding.replicated(task.train.mesh))
    predictions = classify(queries, bank, labels, k=config.k, mesh=task.train.mesh)
    metrics = {
        "top1": float((predictions == task.test.host.label).mean()),
        "feature_std": float(jnp.std(queries, axis=0).mean()),
    }
    log(1, metrics)
    return Outcome(predictions=predictions.astype(np.int32), metrics=metrics)
