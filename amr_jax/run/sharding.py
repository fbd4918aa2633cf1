"""The mesh over all devices, and how arrays lie on it.

Two axes: every device has its own part of a batch, along both; parameters and what the optimiser
keeps of them are whole on every device along `data`, and split along `fsdp` (fully sharded data
parallel), which is 1 long unless the config asks for more.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from amr_jax.errors import UserError

# The axes that a batch is split over: all.
BATCH = ("data", "fsdp")

# Smaller arrays stay whole: collecting them would cost more than the memory is worth.
SMALLEST_SPLIT = 2**12


def make_mesh(devices: Sequence[jax.Device] | None = None, fsdp: int = 1) -> Mesh:
    """A mesh (data, fsdp) over `devices` (default: all devices of all processes).

    The axes are Auto: under Explicit axes, JAX's default, the reshapes and scatters of masked
    models are refused.

    Raises:
      UserError: the devices do not split into groups of `fsdp`.
    """
    devices = jax.devices() if devices is None else list(devices)
    if fsdp < 1 or len(devices) % fsdp:
        raise UserError(
            f"config.fsdp={fsdp}: expected a divisor of the number of devices, {len(devices)}."
        )
    shape = (len(devices) // fsdp, fsdp)
    return jax.make_mesh(shape, BATCH, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def over_data(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Array axis `axis` split over all devices, the others whole."""
    return NamedSharding(mesh, P(*[None] * axis, BATCH))


def of_state(state, mesh: Mesh):
    """Where each array of a training state lies: split over `fsdp` if it is large, else whole.

    A function of an array's shape alone, so that a parameter and its moments lie alike. Split is
    the longest axis that `fsdp` divides, of equals the last.

    Args:
      state: a tree of arrays, or of their shapes.

    Returns:
      The same tree of `NamedSharding`s.
    """
    parts = mesh.shape["fsdp"]

    def place(leaf):
        axes = [axis for axis, length in enumerate(leaf.shape) if length % parts == 0]
        if parts == 1 or leaf.size < SMALLEST_SPLIT or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: (leaf.shape[axis], axis))
        return NamedSharding(mesh, P(*[None] * longest, "fsdp"))

    return jax.tree.map(place, state)


def check_batch(mesh: Mesh, batch_size: int, key: str) -> None:
    """Refuses a batch that does not split evenly over the mesh, naming the config key."""
    if batch_size <= 0 or batch_size % mesh.size:
        raise UserError(
            f"config.{key}={batch_size}: expected a positive multiple of the {mesh.size} devices; "
            f"e.g. --config.{key}={max(1, round(batch_size / mesh.size)) * mesh.size}."
        )


def put(tree, sharding: NamedSharding):
    """Host arrays, equal on every process, as global arrays with `sharding`."""

    def place(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(place, tree)


def abstract(tree, shardings):
    """Shapes and dtypes of `tree` as arrays with `shardings`; nothing is allocated.

    Args:
      tree: arrays, or their shapes.
      shardings: one for all, or a tree of them.
    """
    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)

    def place(leaf, sharding):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree, shardings)
