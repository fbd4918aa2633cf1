"""Checksums of arrays: the same on any layout, and different for any damage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from amr_jax.run import checksums

RNG = np.random.default_rng(0)


def one(array) -> str:
    return checksums.of_tree({"array": array})["array"]


def by_hand(array: np.ndarray) -> str:
    """The definition, element by element, in Python integers."""

    def mixed(word):
        word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
        word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
        return word ^ word >> 16

    words = np.ascontiguousarray(array).view(f"uint{8 * array.itemsize}").ravel().tolist()
    return f"{sum(mixed(w ^ mixed(i + 1)) for i, w in enumerate(words)) % 2**32:08x}"


@pytest.mark.parametrize("dtype", ["float32", "int32", "bfloat16", "float16", "uint8", "bool"])
def test_the_definition(dtype):
    array = np.asarray(jnp.asarray(RNG.normal(size=(3, 5, 2)) * 50).astype(dtype))
    assert one(array) == by_hand(array.view(np.uint8) if dtype == "bool" else array)
    assert one(np.int32(7)) == by_hand(np.array([7], np.int32))


def test_any_layout_over_devices_gives_the_same_number():
    array = RNG.normal(size=(8, 6, 16)).astype(np.float32)
    expected = one(array)
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    for spec in (P(), P("data"), P(None, "fsdp"), P("fsdp", None, "data"), P(("data", "fsdp"))):
        assert one(jax.device_put(array, NamedSharding(mesh, spec))) == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 35), st.integers(0, 31))
def test_any_flipped_bit_changes_it(element, bit):
    array = np.linspace(-2, 2, 36, dtype=np.float32)
    flipped = array.copy()
    flipped.view(np.uint32)[element] ^= np.uint32(1 << bit)
    assert one(flipped) != one(array)


def test_positions_and_pairs_count():
    array = RNG.normal(size=(4, 9)).astype(np.float32)
    swapped, negated, zeroed = array.copy(), array.copy(), array.copy()
    swapped[[0, 1]] = array[[1, 0]]
    negated[0, :2] *= -1  # the sign bits of two elements: what a weighted sum does not see
    zeroed[2:] = 0
    reshaped = array.T.copy()
    assert len({one(a) for a in (array, swapped, negated, zeroed, reshaped)}) == 5


def test_names_and_descriptions():
    tree = {"params": {"kernel": np.zeros((2, 3), np.float32)}, "opt": {"0": np.int32(4)}}
    assert checksums.described(tree) == {"opt/0": "() int32", "params/kernel": "(2, 3) float32"}
    assert checksums.of_tree(tree).keys() == checksums.described(tree).keys()
