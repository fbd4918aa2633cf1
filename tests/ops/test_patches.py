"""Patches against loops."""

import jax.numpy as jnp
import numpy as np

from amr_jax.ops.patches import flatten, patchify

CLIP = np.random.default_rng(0).normal(size=(24, 3, 2)).astype(np.float32)


def test_a_patch_holds_its_frames_of_its_joint():
    patches = patchify(jnp.asarray(CLIP), 6)
    assert patches.shape == (4, 3, 6, 2)
    for time in range(4):
        for joint in range(3):
            np.testing.assert_array_equal(
                patches[time, joint], CLIP[6 * time : 6 * time + 6, joint]
            )


def test_rows_go_by_time_and_joint_their_values_by_frame_and_channel():
    rows = flatten(patchify(jnp.stack([CLIP, -CLIP]), 6))
    assert rows.shape == (2, 12, 12)
    np.testing.assert_array_equal(rows[1, 2 * 3 + 1], -CLIP[12:18, 1].reshape(-1))


def test_a_large_patch_is_r_patches_one_after_the_other():
    small, large = patchify(CLIP, 4), patchify(CLIP, 12)  # l = 4, r = 3
    np.testing.assert_array_equal(large[1, 2], np.concatenate(small[3:6, 2]))
