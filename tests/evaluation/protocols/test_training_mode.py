"""Loss, gradients and statistics of a training step against numpy, everything random held fixed."""

import jax
import numpy as np
import optax
import pytest

from tests.evaluation import tiny
from tests.evaluation.protocols import training_mode as fixed
from tests.models import reference

LABELS = (0, 2, 1)
BODIES = tiny.make_bodies([(True, True), (True, False), (True, True)], label=LABELS)


@pytest.fixture(scope="module")
def step():
    """One step on three sequences of five bodies, and padding: the state after it, and its loss."""
    with pytest.MonkeyPatch.context() as patch:
        return fixed.train(patch, BODIES, [[0, 1, 2, 3]])


def hidden_features(params):
    """What BatchNorm is given, (3, hidden): one body at a time, as the publication defines it."""
    encoder, bodies = fixed.ENCODER, []
    for body, frame in enumerate(tiny.first_frames(BODIES)):
        clip = np.repeat(frame[None], tiny.FRAMES, axis=0)
        kept = [[fixed.branch(i, which, body) for which in (0, 1)] for i in range(fixed.DEPTH)]
        tokens = reference.encoder(
            clip, None, params["encoder"], encoder.patch_len, encoder.num_heads, kept
        )
        tokens = tokens * fixed.token_factors(body)
        bodies.append(tokens.reshape(-1, tiny.JOINTS * encoder.width).mean(axis=0))
    sequences = [np.mean([bodies[0], bodies[1]], axis=0), bodies[2], np.mean(bodies[3:], axis=0)]
    return np.array(sequences) @ params["head"]["fc1"]["kernel"]


def loss_of(params):
    head, x = params["head"], hidden_features(params)
    x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    x = np.maximum(x * head["norm"]["scale"] + head["norm"]["bias"], 0)
    logits = reference.linear(x, head["fc2"])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    # Smoothing 0.2 over 4 classes: 0.85 for the label, 0.05 for each other.
    target = np.full((3, fixed.CLASSES), 0.05) + 0.8 * np.eye(fixed.CLASSES)[list(LABELS)]
    return -(target * log_p).sum(axis=1).mean()


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(np.float64, fixed.start().params)


def test_loss_drops_tokens_before_the_means_and_branches_of_bodies(step, params):
    assert step[1] == pytest.approx(loss_of(params), rel=1e-5)


def test_batch_norm_remembers_the_dropped_features(step, params):
    x = hidden_features(params)
    norm = step[0].batch_stats["norm"]
    np.testing.assert_allclose(norm["mean"], 0.1 * x.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm["var"], 0.9 + 0.1 * x.var(axis=0, ddof=1), rtol=1e-5)


def test_gradients_are_slopes_of_the_loss(step, params):
    # After its first step, Adam's first moment is 0.1 of the gradient.
    moments = optax.tree_utils.tree_get(step[0].opt_state, "mu")
    gradients, structure = jax.tree.flatten(jax.tree.map(lambda x: x / 0.1, moments))
    leaves, rng = jax.tree.leaves(params), np.random.default_rng(0)
    for i, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)

        def at(step, i=i, direction=direction):
            moved = [x + step * direction if i == j else x for j, x in enumerate(leaves)]
            return loss_of(jax.tree.unflatten(structure, moved))

        slope = (at(1e-5) - at(-1e-5)) / 2e-5
        assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-3, abs=1e-5)
