"""Cosine similarities between frozen features of test and of training sequences, in blocks.

The few directions in which features vary most decide a cosine. Whitening gives every principal
direction of the training features a say. With the singular value decomposition
X − m = U diag(s) Vᵀ of the n training features around their mean m, and λ = s² / (n − 1),

    x  ↦  Vᵀ (x − m) / √(λ + SHRINKAGE · mean(λ)).

The means are over the directions in which the training features vary; others are left out. With the
second term those in which they hardly vary stay small: they are mostly noise. With more features
than sequences, all training sequences would even be equally far from each other without it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from amr_jax.evaluation.task import Nearest, Task
from amr_jax.evaluation.twins import Twins
from amr_jax.run import console, sharding

# The variance that is added, over the mean of all directions; chosen on validation parts of three
# small sets, for all read-outs: docs/protocols.md.
SHRINKAGE = 0.1

# Similarities in the memory of a device at once: 256 MiB of float32.
BLOCK_ELEMENTS = 2**26

# (similarities (n, B), labels (B,) of the bank, labels (n,) of the queries, *options) → arrays
# (n, …), one row a query. A similarity of -inf is that of a sequence which does not count.
Compare = Callable[..., Any]


def whitened(
    bank: jax.Array, queries: jax.Array, shrinkage: float = SHRINKAGE
) -> tuple[jax.Array, jax.Array]:
    """Features (B, F) and (Q, F), whitened by the statistics of the bank: see the module.

    Computed in float64 on the host.

    Returns:
      (B, R) and (Q, R) float32, where R is the rank of the centred bank.
    """
    where, (bank, queries) = bank.sharding, (np.asarray(x, np.float64) for x in (bank, queries))
    mean = bank.mean(axis=0)
    _, s, directions = np.linalg.svd(bank - mean, full_matrices=False)
    varies = s > np.finfo(np.float32).eps * max(bank.shape) * s.max()  # features are float32
    variance = s[varies] ** 2 / max(len(bank) - 1, 1)
    scale = np.sqrt(variance + shrinkage * (variance.sum() / max(len(variance), 1)))
    axes = directions[varies].T / scale
    white = ((x - mean) @ axes for x in (bank, queries))
    return sharding.put(tuple(x.astype(np.float32) for x in white), where)


def frozen(task: Task, config) -> tuple[jax.Array, jax.Array]:
    """Features (S, F) of the training and of the test split, of the centre crop."""
    key = jax.random.key(config.seed)  # the view of the test draws nothing
    return tuple(
        task.features(split, task.test_view, key, config) for split in (task.train, task.test)
    )


def examples(
    queries: jax.Array, bank: jax.Array, right: np.ndarray, count: int = 2, k: int = 3
) -> Nearest:
    """The nearest of a bank to a few queries, for a reader; equals keep their order.

    Args:
      queries, bank: features (Q, F) and (B, F).
      right: (Q,) bool, whether the prediction of a query is right: `count` of the right ones and
        `count` of the wrong ones are taken, evenly spaced in their order.
      k: neighbours of each.
    """
    groups = [group for group in (np.flatnonzero(~right), np.flatnonzero(right)) if len(group)]
    spaced = (np.linspace(0, len(group) - 1, count).round().astype(int) for group in groups)
    chosen = np.unique([group[at] for group, at in zip(groups, spaced, strict=True)])
    x, y = np.asarray(queries)[chosen], np.asarray(bank)
    # Not by normalised copies: features of a large set take gigabytes.
    own, others = (np.sqrt(np.einsum("ij,ij->i", z, z)) for z in (x, y))
    similarity = x @ y.T / np.maximum(own[:, None] * others, 1e-12)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return Nearest(chosen, order, np.take_along_axis(similarity, order, axis=1))


def compared(
    compare: Compare,
    queries: tuple[jax.Array, jax.Array],
    bank: tuple[jax.Array, jax.Array],
    *options: Any,
    mesh: Mesh,
    twins: Twins | None = None,
    block_elements: int = BLOCK_ELEMENTS,
) -> Any:
    """Compares every query with the whole bank by cosine similarity.

    Args:
      compare: see `Compare`; a function of a module, as compiled programs are kept by it.
      queries: features (Q, D), labels (Q,). They are split over the mesh and processed in blocks of
        `block_elements // B`, which bounds the memory.
      bank: features (B, D), labels (B,).
      options: further arguments of `compare`, which hash.
      twins: if given, the bank is that of the training sequences, and the similarity of a query to
        those of its own performance is -inf.

    Returns:
      What `compare` returns, for all Q queries, on the host.
    """
    num_queries, bank_size = len(queries[0]), len(bank[0])
    rows = max(1, min(block_elements // bank_size, -(-num_queries // mesh.size)))
    shortfall = -num_queries % (rows * mesh.size)
    x = jnp.pad(queries[0], ((0, shortfall), (0, 0)))
    labels = jnp.pad(queries[1], (0, shortfall), constant_values=-1)
    shown, in_bank = np.full(num_queries, -1), np.full(bank_size, -2)  # nothing in common
    if twins is not None:
        shown, in_bank = twins.test, twins.train
    shown = np.pad(shown, (0, shortfall), constant_values=-1)
    shown, in_bank = sharding.put((shown, in_bank), sharding.replicated(mesh))
    with console.progress_bar("comparing features"):
        found = _compared(compare, (x, labels, shown), (*bank, in_bank), rows, mesh, options)
        return jax.tree.map(lambda values: np.asarray(values)[:num_queries], found)


@functools.partial(jax.jit, static_argnames=("compare", "rows", "mesh", "options"))
def _compared(
    compare: Compare,
    queries: tuple[jax.Array, jax.Array, jax.Array],
    bank: tuple[jax.Array, jax.Array, jax.Array],
    rows: int,
    mesh: Mesh,
    options: tuple,
) -> Any:
    """Features, labels and performances of the queries and of the bank, compared."""

    # Under shard_map each device ranks its own queries; sorting a sharded array would gather it.
    def local(queries, bank):
        bank, bank_labels, in_bank = bank

        def block(part):
            queries, own, shown = part
            # In the lower precision that GPUs and TPUs use by default, near neighbours would swap.
            similarity = jnp.dot(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
            similarity = jnp.where(shown[:, None] == in_bank, -jnp.inf, similarity)
            return compare(similarity, bank_labels, own, *options)

        blocks = jax.tree.map(lambda x: x.reshape(-1, rows, *x.shape[1:]), queries)
        found = jax.lax.map(block, blocks)
        return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), found)

    queries, bank = ((_unit(x), *rest) for x, *rest in (queries, bank))
    split = P(sharding.BATCH)
    of_all = jax.shard_map(
        local, mesh=mesh, in_specs=(split, P()), out_specs=split, check_vma=False
    )
    return jax.lax.with_sharding_constraint(of_all(queries, bank), sharding.replicated(mesh))


def _unit(x: jax.Array) -> jax.Array:
    """Rows of unit length; a row of zeros remains, and is equally far from all others."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
