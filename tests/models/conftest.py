"""Parameters away from their initial values, so that every one of them shows in the output."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="package")
def noisy_params():
    """A function (module, *inputs) -> parameters of its shapes: biases not zero, scales not one."""

    def make(module, *inputs):
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
        rng = np.random.default_rng(7)

        def draw(path, leaf):
            noise = rng.normal(size=leaf.shape).astype(np.float32)
            return 0.3 * noise + (path[-1].key == "scale")

        return jax.tree_util.tree_map_with_path(draw, shapes)

    return make
