"""The mesh over all devices, and the layout of arrays on it.

The mesh has two axes. A batch is split over both, so every device has its own part. Parameters and
optimiser state are replicated along `data` and split along `fsdp` (fully sharded data parallel),
which has length 1 unless the config asks for more.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from amr_jax.errors import UserError

# The axes that a batch is split over.
BATCH = ("data", "fsdp")

# Smaller arrays are replicated: gathering them would cost more than the memory is worth.
SMALLEST_SPLIT = 2**12


def make_mesh(devices: Sequence[jax.Device] | None = None, fsdp: int = 1) -> Mesh:
    """A mesh (data, fsdp) over `devices` (default: all devices of all processes).

    The axes are Auto: Explicit axes, JAX's default, refuse the reshapes and scatters of masked
    models.

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


def tracing(mesh: Mesh) -> AbstractContextManager:
    """Within it, traced programs know the mesh: kernels that no compiler splits need it."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def replicated(mesh: Mesh) -> NamedSharding:
    """Layout: the whole array on every device."""
    return NamedSharding(mesh, P())


def over_data(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Layout: axis `axis` split over all devices, the others whole."""
    return NamedSharding(mesh, P(*[None] * axis, BATCH))


def of_state(state, mesh: Mesh):
    """Layout of each array of a training state: split over `fsdp` if it is large, else whole.

    It depends on an array's shape only, so that a parameter and its moments have the same layout.
    The longest axis that `fsdp` divides is split; of equally long ones, the last.

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
