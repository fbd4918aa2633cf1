"""The inverse of the normalisation of targets."""

import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.ops import patches, targets

CLIP = np.random.default_rng(0).normal(size=(24, 3, 2)).cumsum(0).astype(np.float32)


@pytest.mark.parametrize("kind", ["joint", "motion"])
@pytest.mark.parametrize(
    "normalisation", ["none", "patch", "timestamps", "patch_timestamps", "body"]
)
def test_a_perfect_prediction_gives_the_clip_in_metres(kind, normalisation):
    present = jnp.ones(CLIP.shape[:-1], bool).at[20:, 1].set(False)
    target, known = targets.reconstruction_target(CLIP, present, 6, kind, normalisation, 2)
    found = targets.denormalised(target, CLIP, present, kind, normalisation, 2)
    expected = targets.motion(CLIP, -3, 2) if kind == "motion" else CLIP
    known = np.broadcast_to(patches.joined(known), CLIP.shape)
    np.testing.assert_allclose(found[known], np.asarray(expected)[known], atol=1e-5)
    assert known.mean() > 0.9
