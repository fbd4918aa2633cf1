"""The program without loops computes what `apply` computes, for every kind of model."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from amr_jax.inference import apply, batched
from tests import tiny_models


def sequences(model):
    """Five sequences: gaps, the first body late or missing, one frame, nobody at all."""
    shape, rng = model.sequence_shape, np.random.default_rng(3)
    joints = rng.normal(size=(5, *shape)).astype(np.float32)
    if model.input.channels == "xyc":
        joints[..., 2] = rng.random(joints.shape[:-1]) > 0.3
    if model.input.channels != "xyz":  # joints that were not found
        joints[rng.random(joints.shape[:-1]) > 0.8] = 0
    joints[0, 3] = joints[1, 0] = 0
    joints[0, :5, 0] = joints[1, :, 0] = joints[2, :, 1] = joints[4] = 0
    return joints, np.array([shape[0], shape[0] - 1, 5, 1, 0], np.int32)


@pytest.mark.parametrize(
    ("head", "bodies", "changes"),
    [
        (None, "packed", {"body_frame": "mean", "stream": "motion"}),
        ("finetune", "repeat", {"body_frame": "first", "centre": (1, 2)}),
        ("linear", "all", {"body_frame": "yaw", "stream": "bone"}),
        ("linear", "packed", {"channels": "xyc", "centre": (12, 16), "stream": "bone"}),
        (None, "repeat", {"channels": "xyc", "centre": None}),
    ],
)
def test_it_is_apply(head, bodies, changes):
    model = tiny_models.make(head, bodies)
    encoder = model.encoder.clone(confidence=changes.get("channels") == "xyc")
    size = dataclasses.replace(model.input, **changes)
    model = dataclasses.replace(model, encoder=encoder, input=size)
    joints, length = sequences(model)
    readout = "joint_deviation" if head is None else "mean"
    function = apply.logits if head else functools.partial(apply.features, readout=readout)
    expected = jax.jit(function, static_argnums=0)(model, model.variables, joints, length)
    found = jax.jit(functools.partial(batched.outputs, model, readout=readout))(joints, length)
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
