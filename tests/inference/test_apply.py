"""Features and logits of sequences agree with a plain loop, and do not depend on the batch."""

import functools

import jax
import numpy as np
import pytest

from amr_jax.inference import apply
from amr_jax.models import heads
from amr_jax.ops import augment, normalise
from tests import tiny_models
from tests.methods import small
from tests.models import reference
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
            joints = normalise.normalise(joints, model.input.centre, "xyz")
        each = [body(joints[:, m]) for m in range(joints.shape[1]) if joints[:, m].any()]
        absent = {"packed": [], "all": [body(np.zeros_like(joints[:, 0]))], "repeat": each[:1]}
        each += absent[model.bodies] * (model.input.num_bodies - len(each))
        rows.append(np.mean(each, axis=0))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("head", "bodies", "centred"),
    [("linear", "packed", True), ("finetune", "all", False), ("linear", "repeat", True)],
)
def test_outputs_agree_with_a_loop_over_bodies(head, bodies, centred):
    model = tiny_models.make(head, bodies, centred=centred)
    one, two = tiny_models.joints(0, 9), tiny_models.joints(1, 12, bodies=2)
    second_alone = tiny_models.joints(2, 5, bodies=2) * np.float32([0, 1])[:, None, None]
    sequences = [one, two, second_alone, tiny_models.joints(3, 1)]
    batch = padded(model, sequences)

    if head == "linear":
        features = jax.jit(functools.partial(apply.features, model))(model.variables, *batch)
        expected = one_by_one(model, sequences, heads.LinearHead(1).of_body)
        np.testing.assert_allclose(features, expected, atol=1e-5)

    logits = jax.jit(functools.partial(apply.logits, model))(model.variables, *batch)
    variables = {kind: trees["head"] for kind, trees in model.variables.items()}
    expected = model.head.apply(variables, one_by_one(model, sequences, model.head.of_body))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert np.ptp(logits, axis=0).min() > 1e-3  # the sequences do differ


def test_no_readout_counts_the_tokens_in_front_of_patches():
    model = tiny_models.make(None, form=small.FORM["slim"], num_bodies=1)
    sequence = tiny_models.joints(0, 10)
    clip = np.zeros((tiny_models.MAX_FRAMES, 20, 3), np.float32)
    clip[:10] = normalise.normalise(sequence, model.input.centre, "xyz")[:, 0]
    view = augment.test_view(clip, 10, num_frames=tiny_models.FRAMES, fraction=0.8, **JOINT)
    tokens = reference.rotary_encoder(view, model.variables["params"]["encoder"], 4, 2)
    patches = tokens[2:].reshape(2, 20, -1)  # beside the class token there is one register
    mean, deviation = patches.mean(0), patches.std(0)
    expected = {
        "mean": mean.mean(0),
        "joint": mean.ravel(),
        "joint_deviation": np.concatenate([mean.ravel(), deviation.ravel()]),
    }
    batch = padded(model, [sequence])
    for readout, values in expected.items():
        found = apply.features(model, model.variables, *batch, readout)[0]
        np.testing.assert_allclose(found, values, atol=2e-5, err_msg=readout)


def test_a_result_has_the_same_bits_in_any_batch():
    model = tiny_models.make("finetune", "all")  # test_predict.py does it for 'packed'
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
