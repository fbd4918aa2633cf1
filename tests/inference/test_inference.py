"""One pure function from captured sequences to logits: against loops, and alone or in company."""

import dataclasses
import functools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.data import records
from amr_jax.inference import apply
from amr_jax.models import heads
from amr_jax.ops import augment
from amr_jax.skeleton import layouts
from tests import tiny_models
from tests.tiny_models import padded

JOINT = {"stream": "joint", "parents": ()}


def one_by_one(model, sequences, of_body):
    """(b, F): centred as records are, seen as evaluation sees them, bodies in a loop."""

    @jax.jit
    def encode(clip, length):
        view = augment.test_view(clip, length, num_frames=tiny_models.FRAMES, fraction=0.8, **JOINT)
        params = {"params": model.variables["params"]["encoder"]}
        return of_body(model.encoder.apply(params, view[None]))[0]

    def body(frames):
        clip = np.zeros((tiny_models.MAX_FRAMES, *frames.shape[1:]), np.float32)
        clip[: len(frames)] = frames
        return encode(clip, len(frames))

    rows = []
    for joints in sequences:
        if model.input.centre is not None:
            joints = records.centre(joints, model.input.centre)
        each = [body(joints[:, m]) for m in range(joints.shape[1]) if joints[:, m].any()]
        if model.bodies == "all":
            each += [body(np.zeros_like(joints[:, 0]))] * (model.input.num_bodies - len(each))
        rows.append(np.mean(each, axis=0))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("head", "bodies", "centred"),
    [("linear", "packed", True), ("finetune", "all", True), ("finetune", "packed", False)],
)
def test_against_one_body_after_the_other(head, bodies, centred):
    model = tiny_models.make(head, bodies, centred=centred)
    one, two = tiny_models.joints(0, 9), tiny_models.joints(1, 12, bodies=2)
    second_alone = tiny_models.joints(2, 5, bodies=2) * np.float32([0, 1])[:, None, None]
    sequences = [one, two, second_alone, tiny_models.joints(3, 1)]
    batch = padded(model, sequences)

    features = jax.jit(functools.partial(apply.features, model))(model.variables, *batch)
    expected = one_by_one(model, sequences, heads.LinearHead.of_body)
    np.testing.assert_allclose(features, expected, atol=1e-5)

    logits = jax.jit(functools.partial(apply.logits, model))(model.variables, *batch)
    variables = {kind: trees["head"] for kind, trees in model.variables.items()}
    expected = model.head.apply(variables, one_by_one(model, sequences, model.head.of_body))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert np.ptp(logits, axis=0).min() > 1e-3  # the sequences do differ


@pytest.mark.parametrize("bodies", heads.POOLINGS)
def test_company_order_and_padding_change_no_bit(bodies):
    model = tiny_models.make("finetune", bodies)
    sequences = [tiny_models.joints(i, 1 + 2 * i, bodies=1 + i % 2) for i in range(5)]
    run = jax.jit(functools.partial(apply.logits, model))
    joints, length = padded(model, sequences)
    together = np.asarray(run(model.variables, joints, length))

    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(
        run(model.variables, joints[order], length[order]), together[order]
    )
    for i in range(5):
        place = (i + 2) % 5
        alone, lengths = np.zeros_like(joints), np.zeros_like(length)
        alone[place], lengths[place] = joints[i], length[i]
        found = run(model.variables, alone, lengths)
        np.testing.assert_array_equal(found[place], together[i])
    rubbish = joints.copy()
    for row, frames in zip(rubbish, length, strict=True):
        row[frames:] = 7
    np.testing.assert_array_equal(run(model.variables, rubbish, length), together)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    joints=hnp.arrays(np.float32, (4, 2, 3, 3), elements=st.sampled_from([-1.5, 0, 0, 2])),
    absent=hnp.arrays(bool, (4, 2)),
    centre=st.sampled_from([None, 0, 2, (0, 2), (0, 1, 2)]),
    channels=st.sampled_from(layouts.CHANNELS),
)
def test_sequences_are_loaded_as_from_the_records(joints, absent, centre, channels):
    joints[absent] = 0
    joints = joints[..., : len(channels)]
    size = dataclasses.replace(tiny_models.make().input, centre=centre, channels=channels)
    unit = 1.0 if channels == "xyz" else records.body_size(joints, channels)
    expected = joints if centre is None else records.centre(joints, centre, channels)
    expected = records.in_body_sizes(expected, unit, channels)
    found = apply.loaded(jnp.asarray(joints), size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    if channels == "xyz" and not isinstance(centre, tuple):
        np.testing.assert_array_equal(found, expected)
