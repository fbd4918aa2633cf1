"""Checksums of arrays, 32 bits each, independent of the layout on devices and processes.

The bits of each element are mixed with its position by a bijection of 32-bit words, and the words
are summed modulo 2³². The order of a sum does not matter: each device sums its own elements and an
all-reduce adds these sums, so no process holds a whole array, and any sharding gives the same
number. It detects

- any change within one element: the mixing is one-to-one, so exactly one term changes;
- any other damage (zeroed or swapped blocks, several flipped bits) except in one case in 2³²,
  because the terms are pseudo-random. In a plain weighted sum, pairs of flipped sign bits could
  cancel.

It guards against faults, not against forgery.
"""

import jax
import jax.numpy as jnp
import numpy as np


def of_tree(tree) -> dict[str, str]:
    """The checksum of each array of a tree, 8 hexadecimal digits, by the array's name.

    Args:
      tree: arrays on the host, or global ones; then every process calls this.
    """
    # One at a time: processes may start the all-reduces of concurrent programs in different orders
    # and wait for each other forever (seen on simulated devices).
    return {name_of(path): f"{int(jax.device_get(_sum(leaf))):08x}" for path, leaf in _leaves(tree)}


def described(tree) -> dict[str, str]:
    """Shape and dtype of each array or abstract array of a tree, by its name."""
    return {
        name_of(path): f"{tuple(leaf.shape)} {np.dtype(leaf.dtype).name}"
        for path, leaf in _leaves(tree)
    }


def name_of(path) -> str:
    """'params/encoder/…' of a key path."""
    return "/".join(str(getattr(key, "key", key)) for key in path)


def _leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


@jax.jit
def _sum(array: jax.Array) -> jax.Array:
    """uint32: the checksum of one array."""
    words = _words(array)
    position, stride = jnp.zeros(words.shape, jnp.uint32), 1
    for axis in reversed(range(words.ndim)):
        along = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        position += along * jnp.uint32(stride % 2**32)
        stride *= words.shape[axis]
    return jnp.sum(_mixed(words ^ _mixed(position + jnp.uint32(1))), dtype=jnp.uint32)


def _words(array: jax.Array) -> jax.Array:
    """The bits of each element as uint32; an element of 64 bits becomes two, on a new last axis."""
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    bits = 8 * array.dtype.itemsize
    unsigned = jnp.dtype(f"uint{min(bits, 32)}")
    return jax.lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _mixed(words: jax.Array) -> jax.Array:
    """A bijection of 32-bit words in which each bit depends on all: MurmurHash3's finaliser."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
