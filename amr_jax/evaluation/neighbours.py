"""Cosine similarities between frozen features of test and of training sequences, in blocks."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from amr_jax.evaluation import features, packing
from amr_jax.evaluation.task import Task
from amr_jax.run import sharding

# Similarities in the memory of a device at once: 256 MiB of float32.
BLOCK_ELEMENTS = 2**26

# (similarities (n, B), labels (B,) of the bank, labels (n,) of the queries, *options) → arrays
# (n, …), one row a query.
Compare = Callable[..., Any]


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
            bodies=packing.counted(config),
        )
        for split in (task.train, task.test)
    )


def compared(
    compare: Compare,
    queries: tuple[jax.Array, jax.Array],
    bank: tuple[jax.Array, jax.Array],
    *options: Any,
    mesh: Mesh,
    block_elements: int = BLOCK_ELEMENTS,
) -> Any:
    """Compares every query with the whole bank by cosine similarity.

    Args:
      compare: see `Compare`; a function of a module, as compiled programs are kept by it.
      queries: features (Q, D), labels (Q,). They are split over the mesh and processed in blocks of
        `block_elements // B`, which bounds the memory.
      bank: features (B, D), labels (B,).
      options: further arguments of `compare`, which hash.

    Returns:
      What `compare` returns, for all Q queries, on the host.
    """
    num_queries, bank_size = len(queries[0]), len(bank[0])
    rows = max(1, min(block_elements // bank_size, -(-num_queries // mesh.size)))
    shortfall = -num_queries % (rows * mesh.size)
    x = jnp.pad(queries[0], ((0, shortfall), (0, 0)))
    labels = jnp.pad(queries[1], (0, shortfall), constant_values=-1)
    found = _compared(compare, x, labels, *bank, rows, mesh, options)
    return jax.tree.map(lambda values: np.asarray(values)[:num_queries], found)


@functools.partial(jax.jit, static_argnames=("compare", "rows", "mesh", "options"))
def _compared(
    compare: Compare,
    queries: jax.Array,
    query_labels: jax.Array,
    bank: jax.Array,
    bank_labels: jax.Array,
    rows: int,
    mesh: Mesh,
    options: tuple,
) -> Any:
    bank = _unit(bank)

    # Under shard_map each device ranks its own queries; sorting a sharded array would gather it.
    def local(queries, query_labels, bank, bank_labels):
        def block(part):
            queries, own = part
            # In the lower precision that GPUs and TPUs use by default, near neighbours would swap.
            similarity = jnp.dot(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
            return compare(similarity, bank_labels, own, *options)

        blocks = _unit(queries).reshape(-1, rows, queries.shape[-1]), query_labels.reshape(-1, rows)
        found = jax.lax.map(block, blocks)
        return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), found)

    split = P(sharding.BATCH)
    of_all = jax.shard_map(
        local, mesh=mesh, in_specs=(split, split, P(), P()), out_specs=split, check_vma=False
    )
    found = of_all(queries, query_labels, bank, bank_labels)
    return jax.lax.with_sharding_constraint(found, sharding.replicated(mesh))


def _unit(x: jax.Array) -> jax.Array:
    """Rows of unit length; a row of zeros remains, and is equally far from all others."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
