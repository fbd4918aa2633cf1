"""Clips of noise for tests of pictures."""

import numpy as np

from amr_jax.skeleton import layouts


def standing(layout=layouts.KINECT_20, frames=9, bodies=1) -> np.ndarray:
    """A clip with random joints around the origin, metres; every body at another place."""
    rng = np.random.default_rng(3)
    clip = rng.uniform(-0.5, 0.5, (frames, bodies, layout.num_joints, 3))
    up = [i for i, n in enumerate(layout.joints) if "shoulder" in n or "head" in n]
    clip[:, :, up, 1] += 1.5
    clip[..., 0] += 2.0 * np.arange(bodies)[:, None]
    return clip.astype(np.float32)
