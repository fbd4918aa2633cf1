"""Semantic tubes against the algorithm in plain loops, and what holds for each of them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.ops import tube_mask
from amr_jax.skeleton import layouts

NTU = layouts.NTU_25
PARTS = tuple(NTU.parts.values())
ALL = np.ones(25, bool)
SIZES = jnp.array([len(part) for part in PARTS])
TIMES = 8

of_times = jax.jit(  # T_e is traced; the array has room for three more
    functools.partial(tube_mask.semantic_tubes, parts=PARTS, most_times=TIMES + 3)
)
mask = functools.partial(of_times, num_times=TIMES)


def cells(draw, num_times):
    """The cells of a try, (time, joint), from the published arithmetic."""
    part = PARTS[int(draw.part)]
    width, area = int(draw.width), np.float32(draw.area)
    height = min(max(round(float(area / np.float32(width))), 1), num_times)
    start = int(np.float32(draw.start) * np.float32(num_times - height + 1))
    joints = part[int(draw.first) : int(draw.first) + width]
    assert len(joints) == width
    return set(itertools.product(range(start, start + height), joints))


def tubes(key, budget, joints=ALL):
    """Every accepted tube of a mask, as sets of cells; and the cells hidden by all."""
    hidden, accepted, failures = set(), [], 0
    has = jnp.array([joints[list(part)].any() for part in PARTS])
    while len(hidden) < budget and failures < 10:
        key, own = jax.random.split(key)
        left = budget - len(hidden)
        found = cells(tube_mask.draw_tube(own, jnp.int32(left), SIZES, has), TIMES)
        found = {(time, joint) for time, joint in found if joints[joint]}
        if 1 <= len(found - hidden) <= left:
            accepted.append(found)
            hidden, failures = hidden | found, 0
        else:
            failures += 1
    return accepted, hidden


@pytest.mark.parametrize("seed", range(6))
def test_masks_equal_the_algorithm_in_plain_loops(seed):
    budget = [1, 3, 20, 100, 180, 200][seed]
    found = np.asarray(mask(jax.random.key(seed), budget, joints=ALL))
    _, hidden = tubes(jax.random.key(seed), budget)
    assert set(zip(*map(list, np.nonzero(found)), strict=True)) == hidden


def test_tubes_are_runs_of_one_part_over_a_stretch_of_time():
    for seed in range(3):
        accepted, hidden = tubes(jax.random.key(seed), 120)
        assert len(accepted) >= 2
        for tube in accepted:
            times, joints = ({cell[i] for cell in tube} for i in (0, 1))
            assert len(tube) == len(times) * len(joints)
            assert max(times) - min(times) == len(times) - 1
            (part,) = (part for part in PARTS if joints & set(part))
            places = sorted(part.index(joint) for joint in joints)
            assert places == list(range(places[0], places[0] + len(joints)))
        assert len(hidden) <= 120


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(0, 260))
def test_no_mask_exceeds_its_budget(seed, budget):
    hidden = int(mask(jax.random.key(seed), budget, joints=ALL).sum())
    assert hidden <= min(budget, 200)
    # Ten tubes in a row may all be too large for a budget of a few patches.
    assert hidden >= (1 if budget >= 50 else 0)


def test_most_of_a_budget_is_spent():
    keys = jax.random.split(jax.random.key(0), 400)
    budget = jnp.arange(400) % 81 + 100  # half to nine tenths of 200
    hidden = jax.vmap(lambda key, budget: mask(key, budget, joints=ALL))(keys, budget)
    spent = hidden.sum((1, 2)) / budget
    assert spent.mean() > 0.95
    share = hidden[:, :TIMES].mean((0, 1))
    assert share.min() > 0.3  # every joint is hidden, and visible, often enough
    assert share.max() < 0.95


def test_mapped_over_bodies_each_mask_is_that_of_its_key():
    keys, budget = jax.random.split(jax.random.key(1), 5), jnp.array([0, 5, 50, 120, 190])
    together = jax.vmap(lambda key, budget: mask(key, budget, joints=ALL))(keys, budget)
    for i in range(5):
        np.testing.assert_array_equal(together[i], mask(keys[i], budget[i], joints=ALL))


def test_joints_that_a_set_lacks_are_never_hidden():
    has = ALL.copy()
    has[list(NTU.parts["left leg"])] = False
    has[[21, 22]] = False
    for seed in range(5):
        found = np.asarray(mask(jax.random.key(seed), 90, joints=has))
        assert not found[:, ~has].any()
        assert found.sum() > 60
        _, hidden = tubes(jax.random.key(seed), 90, has)
        assert set(zip(*map(list, np.nonzero(found)), strict=True)) == hidden
    assert not mask(jax.random.key(0), 90, joints=~ALL).any()
