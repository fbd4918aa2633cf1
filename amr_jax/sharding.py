"""The mesh over all devices, and how arrays lie on it."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from amr_jax.errors import UserError


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-axis mesh, `data`, over `devices` (default: all devices of all processes).

    The axis is Auto: under Explicit axes, JAX's default, the reshapes and scatters of masked models
    are refused.
    """
    devices = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def over_data(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Array axis `axis` split over the devices, the others whole."""
    return NamedSharding(mesh, P(*[None] * axis, "data"))


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


def abstract(tree, sharding: NamedSharding):
    """Shapes and dtypes of `tree` as arrays with `sharding`; nothing is allocated."""

    def place(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree)
