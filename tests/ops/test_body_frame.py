"""The body frame: what a turn undoes, and sequences without a direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from amr_jax.config import base
from amr_jax.ops import body_frame, normalise
from amr_jax.ops.body_frame import BodyFrame
from amr_jax.skeleton import layouts

KINDS = base.BODY_FRAMES
LAYOUT = layouts.KINECT_20
RNG = np.random.default_rng(0)


def how(kind):
    return BodyFrame.of(kind, LAYOUT.joints)


def standing(num_frames=8):
    """(T, 1, 20, 3): upright, facing a camera that looks along z; limbs move, the trunk stays."""
    joints = RNG.normal(0, 0.3, (num_frames, 1, 20, 3))
    places = {
        "left shoulder": (-0.2, 0.5, 0),
        "right shoulder": (0.2, 0.5, 0),
        "left hip": (-0.1, 0, 0),
        "right hip": (0.1, 0, 0),
    }
    for joint, place in places.items():
        joints[:, 0, LAYOUT.joints.index(joint)] = place
    return joints


@pytest.mark.parametrize("kind", KINDS)
def test_an_upright_actor_who_faces_the_camera_stays(kind):
    joints = standing()
    np.testing.assert_allclose(body_frame.turn(joints, how(kind)), joints, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_of_the_camera_does_not_matter(kind):
    joints = standing()
    # `yaw` undoes turns about the vertical only.
    angles = (0, 1.1, 0) if kind == "yaw" else (0.4, 1.1, -0.7)
    camera = Rotation.from_euler("xyz", angles).as_matrix()
    seen = joints @ camera.T
    np.testing.assert_allclose(body_frame.turn(seen, how(kind)), joints, atol=1e-12)


def test_yaw_keeps_a_tilt():
    joints = standing()
    tilted = joints @ Rotation.from_euler("x", 0.3).as_matrix().T
    np.testing.assert_allclose(body_frame.turn(tilted, how("yaw")), tilted, atol=1e-12)


def test_first_is_the_median_of_three_frames_and_mean_of_all():
    joints = standing(5)
    right = LAYOUT.joints.index("right shoulder")
    joints[1, 0, right] = (9, 9, 9)  # one wrong frame among the first three
    joints[4, 0, right] = (0.2, 0.5, 5)  # a later one
    np.testing.assert_allclose(body_frame.rotation(joints, how("first")), np.eye(3), atol=1e-12)
    assert not np.allclose(body_frame.rotation(joints, how("mean")), np.eye(3), atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_bodies_and_frames(kind):
    """The first actor is in slot 1 and comes in frame 2; whoever is absent stays zero."""
    camera = Rotation.from_euler("y", 0.8).as_matrix()
    joints = np.zeros((6, 2, 20, 3))
    joints[2:, 1] = (standing(4) @ camera.T)[:, 0]
    turned = body_frame.turn(joints, how(kind))
    np.testing.assert_allclose(turned[2:, 1], joints[2:, 1] @ camera, atol=1e-12)
    assert not turned[:2].any()
    assert not turned[:, 0].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joints", [np.zeros((4, 1, 20, 3)), np.ones((4, 1, 20, 3))])
def test_without_a_direction_nothing_turns(kind, joints):
    np.testing.assert_array_equal(body_frame.turn(joints, how(kind)), joints)


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame(kind):
    joints = standing(1) @ Rotation.from_euler("y", 2.5).as_matrix().T
    x, _, z = body_frame.turn(joints, how(kind))[0, 0, LAYOUT.joints.index("right hip")]
    np.testing.assert_allclose((x, z), (0.1, 0), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_jax_agrees_with_numpy(kind):
    joints = np.float32(standing() @ Rotation.random(random_state=1).as_matrix().T)
    joints[:3] = 0
    expected = normalise.normalise(joints, LAYOUT.centre, "xyz", how(kind))
    traced = jax.jit(lambda x: normalise.normalise(x, LAYOUT.centre, "xyz", how(kind)))
    np.testing.assert_allclose(traced(jnp.asarray(joints)), expected, atol=1e-5)
    assert expected.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_no_matrix_product_that_accelerators_would_round(kind):
    joints = jax.ShapeDtypeStruct((8, 1, 20, 3), jnp.float32)
    lowered = jax.jit(lambda x: body_frame.turn(x, how(kind))).lower(joints)
    assert "dot_general" not in lowered.as_text()


def test_layouts():
    named = {n: BodyFrame.of("first", x.joints) is not None for n, x in layouts.LAYOUTS.items()}
    assert all(named.values())
    assert BodyFrame.of("first", ("head", "left hip")) is None
