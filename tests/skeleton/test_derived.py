"""Joints that are means of others."""

import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.skeleton import derived
from amr_jax.skeleton.layouts import COCO_17, KINECT_20, MEDIAPIPE_33, NTU_25, OPENNI_15


def at(layout, weights, joint):
    return {
        MEDIAPIPE_33.joints[i]: w for i, w in enumerate(weights[layout.joints.index(joint)]) if w
    }


@pytest.mark.parametrize("layout", [NTU_25, KINECT_20, OPENNI_15, COCO_17, MEDIAPIPE_33])
def test_mediapipe_has_the_joints_of_models(layout):
    weights = derived.weights(MEDIAPIPE_33, layout.joints)
    assert weights.shape == (layout.num_joints, 33)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for joint in set(layout.joints) & set(MEDIAPIPE_33.joints):
        assert at(layout, weights, joint) == {joint: 1}


def test_means_of_a_kinect():
    weights = derived.weights(MEDIAPIPE_33, KINECT_20.joints)
    hips = {"left hip": 0.5, "right hip": 0.5}
    assert at(KINECT_20, weights, "hip centre") == hips
    shoulders = {"left shoulder": 0.25, "right shoulder": 0.25}
    assert at(KINECT_20, weights, "spine") == {
        **shoulders,
        **dict.fromkeys(hips, 0.25),
    }
    assert at(KINECT_20, weights, "head") == {"left ear": 0.5, "right ear": 0.5}
    v2 = derived.weights(MEDIAPIPE_33, NTU_25.joints)
    assert at(NTU_25, v2, "spine base") == hips  # the same joint by another name
    assert at(NTU_25, v2, "left hand tip") == {"left index finger": 1}


def test_a_joint_that_cannot_be_had_is_named():
    with pytest.raises(UserError, match="coco_17 has no left hand, left foot; expected"):
        derived.weights(COCO_17, ["head", "left hand", "left foot"])
