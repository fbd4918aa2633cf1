"""Joints that a body's data set lacks: never visible, attended to or counted, in any method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax import methods
from amr_jax.methods.masked import MaskedMethod
from amr_jax.methods.slim import SLiM
from amr_jax.ops import masking
from amr_jax.train import step as train_step
from tests.methods import small
from tests.models.params import noisy, views

# Every method, and the settings in which it draws or attends otherwise.
EVERY = [
    *((name, {}) for name in methods.METHODS),
    ("nat", {"contrast": 0.3}),
    ("mamp", {"num_decoded": 3}),
    ("skeleton_mae", {"pool": 2}),
    ("amr", {"loss_on": "masked", "energy_threshold": "joint", "normalisation": "body"}),
]
CLIPS = small.clips(bodies=4)
# Two of the bodies have joints 0 to 2 of 5 only; 3 and 4 are each other's mirror image.
JOINTS = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
PRESENT = jnp.broadcast_to(JOINTS[:, None], CLIPS.shape[:-1]).at[1, 4:8].set(False)


def compute(name, model, clips, present=PRESENT, joints=JOINTS):
    """Loss, metrics, variables and gradient."""
    method = methods.build(small.config(name, **model))
    of = small.loss_and_gradient(method)
    given = noisy(method, clips), small.variables(method, clips), small.average(method)
    return of(*given, clips, small.keys(method), present, joints)


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_values_of_missing_joints_change_nothing(name, model):
    missing = ~JOINTS[:, None, :, None]
    one = compute(name, model, jnp.where(missing, 0, CLIPS))
    other = compute(name, model, jnp.where(missing, 1e3 * CLIPS[::-1], CLIPS))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    moved = compute(name, model, jnp.where(missing, 0, CLIPS).at[:, 3, 0].add(0.5))
    assert abs(moved[0][0] - one[0][0]) > 1e-4 * abs(one[0][0])


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_nothing_missing_is_as_in_one_data_set(name, model):
    everything = small.everywhere(CLIPS)
    plain = compute(name, model, CLIPS, everything, None)
    mixed = compute(name, model, CLIPS, everything, jnp.ones_like(JOINTS))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), mixed, plain)


@pytest.mark.parametrize("kind", ["random", "motion_aware"])
def test_with_all_joints_the_same_patches_are_drawn(kind):
    patches = CLIPS.reshape(4, 4, 3, 5, 3).swapaxes(2, 3)
    here = jnp.ones((4, 4, 5, 3, 1), bool)
    drawn = [
        masking.draw(jax.random.key(0), patches, here, 11, kind, 0.8, joints)
        for joints in (None, jnp.ones_like(JOINTS))
    ]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("kind", ["random", "motion_aware"])
def test_patches_of_missing_joints_are_never_drawn(kind):
    def draw(key):
        patches = CLIPS.reshape(4, 4, 3, 5, 3).swapaxes(2, 3)
        here = jnp.ones((4, 4, 5, 3, 1), bool)
        ids = masking.draw(key, patches, here, 11, kind, 0.8, JOINTS)
        return ids, masking.draw_hidden(key, ids, 20, 1, JOINTS)

    visible, hidden = jax.vmap(draw)(jax.random.split(jax.random.key(0), 300))
    for body in (1, 3):  # 12 patches, of which one is hidden: each as often as another
        assert visible[:, body].max() < 20
        assert (visible[:, body] % 5 < 3).all()
        together = jnp.concatenate([visible[:, body], hidden[:, body]], axis=1)
        np.testing.assert_array_equal(
            np.sort(together), np.tile([i for i in range(20) if i % 5 < 3], (300, 1))
        )
        if kind == "random":
            assert np.bincount(hidden[:, body, 0], minlength=20)[[0, 7, 17]].min() > 8
    assert (visible[:, 0] % 5 >= 3).any()


def of_three_joints(path, leaf):
    """A parameter of five joints, for three."""
    last = getattr(path[-1], "key", None)
    if last == "joint":
        return leaf[:3]
    if last == "queries":
        return leaf.reshape(-1, 5, leaf.shape[-1])[:, :3].reshape(-1, leaf.shape[-1])
    if "target_2" in str(path) and "fc1" in str(path) and last == "kernel":  # GFP: the whole body
        return leaf.reshape(12, 5, 3, -1)[:, :3].reshape(12 * 9, -1)
    return leaf


def every_second_patch(_, has, num_times):
    """Masks of SLiM, alike for five joints and for three."""

    def of_view(times):
        hidden = (jnp.arange(times)[:, None] + jnp.arange(has.shape[1])) % 2 == 0
        return (hidden & has[:, None]).reshape(len(has), -1)

    return [of_view(times) for times in num_times]


@pytest.mark.parametrize(
    ("name", "model"), [case for case in EVERY if "num_decoded" not in case[1]]
)
def test_the_loss_is_that_of_the_joints_that_are_there(name, model, monkeypatch):
    visible = jnp.array([[0, 2, 4, 7, 9, 10], [1, 3, 4, 6, 8, 11]])  # of 4 times · 3 joints
    clips, present = CLIPS[2:], small.everywhere(CLIPS[2:]).at[1, 4:8].set(False)
    clips, has = jnp.where(present[..., None], clips, 0), jnp.arange(5) < 3
    five = methods.build(small.config(name, **model))
    given = noisy(five, clips), small.variables(five, clips), small.average(five)
    results = []
    for joints in (5, 3):
        own = (
            {"view_mirror": (0, 2, 1, 4, 3)[:joints]}
            if "view_mirror" in small.OWN.get(name, {})
            else {}
        )
        method = methods.build(small.config(name, {"num_joints": joints}, **model, **own))
        ids = visible // 3 * joints + visible % 3
        monkeypatch.setattr(MaskedMethod, "draw_mask", lambda *_, ids=ids: ids)
        monkeypatch.setattr(SLiM, "draw_hidden", every_second_patch)
        seen = views(method, clips[:, :, :joints], (present & has)[:, :, :joints])
        if joints == 5:
            seen += (jnp.tile(has, (2, 1)),)
        else:
            given = jax.tree_util.tree_map_with_path(of_three_joints, given)
        loss = jax.value_and_grad(train_step.method_loss(method), has_aux=True)
        results.append(jax.jit(loss)(*given, *seen, small.keys(method)))
    results[0] = jax.tree_util.tree_map_with_path(of_three_joints, results[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), *results)
    assert results[0][0][0] > 0
