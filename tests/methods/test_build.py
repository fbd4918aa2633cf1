"""From config to method: the contract of every method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax import methods
from amr_jax.config import files
from amr_jax.errors import UserError
from tests.methods import small
from tests.models.params import noisy

CLIPS = small.clips()


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_keeps_the_contract(name):
    method = methods.build(small.config(name))
    params = noisy(method, CLIPS)
    alone = jax.eval_shape(method.encoder.init, jax.random.key(0), CLIPS)["params"]
    assert jax.tree.map(jnp.shape, params["encoder"]) == jax.tree.map(jnp.shape, alone)

    kept = small.variables(method, CLIPS)
    (loss, (metrics, changed)), gradient = small.loss_and_gradient(method)(
        params, kept, small.average(method), CLIPS, small.keys(method, 2)
    )
    changing = {key: x for key, x in kept.items() if key != "average"}  # that is the loop's
    assert jax.tree.map(jnp.shape, changed) == jax.tree.map(jnp.shape, changing)
    masks = files.masks(name)
    assert 0 < method.num_kept <= method.encoder.num_patches - masks
    assert (method.num_predicted > 0) == (masks or name == "slim")
    assert loss.shape == ()
    assert loss.dtype == jnp.float32
    assert jnp.isfinite(loss)
    assert metrics["loss"] == loss
    assert all(metric.shape == () for metric in metrics.values())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.any(leaf), f"no gradient reaches {jax.tree_util.keystr(path)}"

    # The loss falls along the gradient, with the same patches hidden.
    gradient = jax.device_get(gradient)
    step = 1e-3 / np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
    params = jax.tree.map(lambda value, slope: value - step * slope, params, gradient)
    (lower, _), _ = small.loss_and_gradient(method)(
        params, kept, small.average(method), CLIPS, small.keys(method, 2)
    )
    assert lower < loss


def test_the_default_model_is_the_papers():
    method = methods.build(small.full_size("amr"))
    assert (method.encoder.num_patches, method.num_kept, method.num_predicted) == (750, 75, 125)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"config\.method = 'mampp': expected .* mean 'mamp'\?"):
        methods.build(small.config() | {"method": "mampp"})
