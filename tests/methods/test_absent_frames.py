"""Frames and bodies that are absent count in no loss, metric or gradient of any method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from amr_jax import methods
from amr_jax.methods.nat import info_nce
from amr_jax.ops import decorrelation
from tests.methods import small
from tests.models import reference
from tests.models.params import noisy
from tests.ops.test_motion_energy import reference_weights

# Every method, and NAT with its contrastive term, on three bodies: one always there, one away for
# a while, one that comes late and goes early.
EVERY = [*((name, {}) for name in methods.METHODS), ("nat", {"contrast": 0.3})]
PRESENT = np.ones((3, 12, 5), bool)
PRESENT[1, 4:8] = PRESENT[2, :5] = PRESENT[2, 10:] = False
CLIPS = jnp.where(PRESENT[..., None], small.clips(), 0)
PRESENT = jnp.asarray(PRESENT)


def compute(name, model, clips, present):
    """The loss, metrics, variables and gradient of a method."""
    method = methods.build(small.config(name, **model))
    (loss, (metrics, changed)), gradient = small.loss_and_gradient(method)(
        noisy(method, CLIPS),
        small.variables(method, CLIPS),
        small.average(method),
        clips,
        small.keys(method),
        present,
    )
    return {"loss": loss, "metrics": metrics, "changed": changed, "gradient": gradient}


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_absent_bodies_contribute_nothing(name, model):
    alone = compute(name, model, CLIPS, PRESENT)
    nobody = jnp.zeros((2, 12, 5, 3))
    among = compute(
        name,
        model,
        jnp.concatenate([CLIPS, nobody]),
        jnp.concatenate([PRESENT, small.everywhere(nobody) & False]),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), among, alone)


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_a_batch_of_nobody_has_no_loss_and_no_gradient(name, model):
    nobody = jnp.zeros_like(CLIPS)
    found = compute(name, model, nobody, PRESENT & False)
    assert found["loss"] == 0
    assert all(np.isfinite(value) for value in found["metrics"].values())
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(found["gradient"]))
    kept = small.variables(methods.build(small.config(name, **model)), CLIPS)
    kept.pop("average", None)  # that is the loop's
    jax.tree.map(np.testing.assert_array_equal, found["changed"], kept)


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_to_ignore_absent_frames_is_not_to_count_them(name, model):
    ignored, counted = (
        compute(name, model, CLIPS, here)["loss"] for here in (PRESENT, small.everywhere(CLIPS))
    )
    assert np.isfinite(ignored)
    assert abs(ignored - counted) > 1e-3 * abs(counted)


@pytest.mark.parametrize("loss_on", ["all", "masked"])
@pytest.mark.parametrize("target", ["joint", "motion"])
def test_the_loss_of_amr_is_the_mean_over_known_elements(loss_on, target):
    method = methods.build(
        small.config(loss_on=loss_on, target=target, normalisation="none", k=0.1)
    )
    params, keys = noisy(method, CLIPS), {"mask": jax.random.key(5)}
    given = {"params": params}, CLIPS, PRESENT
    ids = jax.jit(lambda: method.apply(*given, rngs=keys, method="draw_mask"))()
    errors, weights = [], []
    for clip, present, kept in zip(*map(np.asarray, (CLIPS, PRESENT, ids)), strict=True):
        h_v = reference.encoder(clip, kept, params["encoder"], 3, 2)
        x_p = reference.query_decoder(h_v, params["decoder"], 3)
        gaps = np.where(present[..., None], np.float64(clip), np.nan)
        w = reference_weights(gaps, method.windows, "ratio", 0.1, method.epsilon, True)
        if target == "motion":
            gaps = np.append(np.diff(gaps, axis=0), 0 * gaps[-1:], 0)
        x_t, w = reference.patches(gaps, 6), reference.patches(np.repeat(w[..., None], 3, -1), 6)
        error = w * (x_p - x_t) ** 2
        weights.append(np.where(np.isnan(x_t), np.nan, w))
        if loss_on == "masked":
            for i in kept:
                gaps[i // 5 * 3 : i // 5 * 3 + 3, i % 5] = np.nan
            error[np.isnan(reference.patches(gaps, 6))] = np.nan
        errors.append(error)
    (loss, (metrics, _)), _ = small.loss_and_gradient(method)(params, {}, {}, CLIPS, keys, PRESENT)
    np.testing.assert_allclose(loss, np.nanmean(errors), rtol=1e-5)
    np.testing.assert_allclose(metrics["weight"], np.nanmean(weights), rtol=1e-5)


def test_eight_devices_divide_by_the_number_of_all_present_elements():
    method = methods.build(small.config())
    clips = small.clips(bodies=16)
    # Some devices have nobody, others two whole bodies.
    present = jax.random.bernoulli(jax.random.key(1), 0.5, (16, 12, 1)) & jnp.ones(5, bool)
    present = present.at[:4].set(False).at[8:12].set(True)
    clips, params = jnp.where(present[..., None], clips, 0), noisy(method, clips)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere, spread = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def loss(params, clips, present):
        return method.apply({"params": params}, clips, present, rngs={"mask": jax.random.key(0)})[0]

    on_eight = jax.jit(jax.value_and_grad(loss), in_shardings=(everywhere, spread, spread))
    compiled = on_eight.lower(params, clips, present).compile()
    eight = compiled(*jax.device_put((params, clips, present), (everywhere, spread, spread)))
    one = jax.jit(jax.value_and_grad(loss))(params, clips, present)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), eight, one)
    assert "all-gather" not in compiled.as_text()


def test_a_view_of_sjepa_moves_what_is_present_and_mirrors_its_presence():
    model = {"view_angles": (0.0, 0.0, 0.0), "view_shift": 0.5}
    method = methods.build(small.config("sjepa", **model))
    present = jnp.ones((64, 12, 5), bool).at[:, 4:8, 1].set(False)  # joint 1 mirrors joint 2
    clips = jnp.where(present[..., None], jnp.broadcast_to(CLIPS[:1], (64, 12, 5, 3)), 0)
    rngs = {"view": jax.random.key(0)}
    view, here = method.apply({}, clips, present, rngs=rngs, method="view")
    mirrored = (here == present[:, :, jnp.array(method.view_mirror)]).all((1, 2))
    assert ((here == present).all((1, 2)) ^ mirrored).all()
    assert 15 < mirrored.sum() < 49
    np.testing.assert_array_equal(view.any(-1), here)


def test_uncounted_rows_by_hand():
    nobody = jnp.array([[7.0, 5.0]])
    rows = jnp.array([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
    more, counted = jnp.concatenate([rows, nobody]), jnp.array([1, 1, 1, 0], bool)
    all_three = jnp.ones(3, bool)
    for loss in (decorrelation.variance_hinge, decorrelation.covariance):
        np.testing.assert_allclose(loss(more, counted), loss(rows, all_three), rtol=1e-6)
    np.testing.assert_allclose(
        info_nce(more, more[:, ::-1], counted, 0.5),
        info_nce(rows, rows[:, ::-1], all_three, 0.5),
        rtol=1e-6,
    )
