"""GFP: its constraints by hand, its targets against their definition, and against collapse."""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax import methods
from tests.methods import small
from tests.models import reference
from tests.models.params import noisy

CLIPS = small.clips()
ALL = small.everywhere(CLIPS)


def test_the_loss_follows_the_definition():
    method = methods.build(small.config("gfp"))
    params, keys = noisy(method, CLIPS), small.keys(method)
    ids = jax.jit(
        lambda: method.apply({"params": params}, CLIPS, ALL, rngs=keys, method="draw_mask")
    )()
    levels = [[], [], []]
    errors = [[], [], []]
    for clip, visible in zip(np.asarray(CLIPS, np.float64), np.asarray(ids), strict=True):
        tokens = reference.encoder(clip, visible, params["encoder"], 3, 2)
        predicted = reference.pooling_decoder(tokens, visible, params["decoder"], 3, (2, 4), 1)
        motion = np.append(np.diff(clip, axis=0), np.zeros_like(clip[:1]), 0)
        motion /= np.sqrt((motion**2).mean() + 1e-8)
        cells = [reference.patches(motion, 6), reference.patches(motion, 12), motion.reshape(1, -1)]
        for i, cell in enumerate(cells):
            p = params[f"target_{i}"]
            x = reference.gelu(reference.linear(cell, p["fc1"]))
            x = reference.linear(reference.gelu(reference.linear(x, p["fc2"])), p["fc3"])
            levels[i].append(x)
            errors[i].append((predicted[i] - x) ** 2)
    features = [np.concatenate(level) for level in levels]
    covariance = []
    for z in features:
        c = np.cov(z.T)
        covariance.append(((c - np.diag(np.diag(c))) ** 2).sum() / 6)
    terms = {
        "prediction": np.mean([np.concatenate(e).mean() for e in errors]),
        "covariance": np.mean(covariance),
        "variance": np.mean([np.maximum(0, 1 - np.sqrt(z.var(0) + 1e-4)).mean() for z in features]),
        "target_std": np.mean([z.std(0).mean() for z in features]),
    }
    (loss, (metrics, _)), _ = small.loss_and_gradient(method)(params, {}, {}, CLIPS, keys)
    for name, value in terms.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    expected = 5 * terms["prediction"] + 5 * terms["covariance"] + terms["variance"]
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_bodies_that_do_not_move_are_finite():
    method = methods.build(small.config("gfp"))
    params = noisy(method, CLIPS)
    still = jnp.zeros_like(CLIPS)
    (loss, _), gradient = small.loss_and_gradient(method)(params, {}, {}, still, small.keys(method))
    assert jnp.isfinite(loss)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_number_of_predictions_at_full_size():
    assert methods.build(small.full_size("gfp")).num_predicted == 251
