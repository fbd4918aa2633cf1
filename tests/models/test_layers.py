"""Position embeddings; blocks are tested through encoder and decoder."""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.models import layers


def test_positions_are_looked_up_exactly():
    grid = layers.GridEmbedding(num_times=4, num_joints=5, width=8)
    params = grid.init(jax.random.key(0))
    everywhere = grid.apply(params)
    time, joint = params["params"]["time"], params["params"]["joint"]
    np.testing.assert_array_equal(everywhere[13], time[2] + joint[3])
    ids = jnp.array([[0, 19, 13], [5, 4, 4]])
    np.testing.assert_array_equal(grid.apply(params, ids), everywhere[ids])
