"""S-JEPA: its loss by hand and against its definition; the centre; what no gradient may reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax import methods
from amr_jax.methods.method import half_cosine
from amr_jax.methods.sjepa import distribution_loss
from tests.methods import small
from tests.models import reference
from tests.models.params import noisy

CLIPS = small.clips()
ALL = small.everywhere(CLIPS)
PLAIN = {"view_angles": (0.0, 0.0, 0.0), "view_shift": 0.0, "view_mirror": ()}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_distribution_loss_by_hand_eagerly_compiled_and_mapped():
    log = np.log
    prediction = jnp.array([[[log(2.0), 0.0], [5.0, 1.0]]]) / 2  # temperature 1/2: odds of 2
    target = jnp.array([[[log(3.0) + 1, 2.0], [0.0, 0.0]]])  # centre (1, 2): odds of 3
    arguments = (prediction, target, jnp.array([1.0, 2.0]), jnp.array([[True, False]]), 1.0, 0.5)
    expected = -(3 / 4 * log(2 / 3) + 1 / 4 * log(1 / 3))
    for f in (distribution_loss, jax.jit(distribution_loss)):
        np.testing.assert_allclose(f(*arguments), expected, rtol=1e-6)
    mapped = jax.vmap(distribution_loss, in_axes=(0, 0, None, 0, None, None))
    twice = [jnp.stack([x, x]) if i in (0, 1, 3) else x for i, x in enumerate(arguments)]
    np.testing.assert_allclose(mapped(*twice), [expected, expected], rtol=1e-6)
    half = [x.astype(jnp.bfloat16) for x in arguments[:2]]
    assert distribution_loss(*half, *arguments[2:]).dtype == jnp.float32


def test_the_loss_follows_the_definition():
    method = methods.build(small.config("sjepa", **PLAIN))
    params, average = noisy(method, CLIPS), small.average(method)
    kept, keys = small.variables(method, CLIPS), small.keys(method)
    ids = jax.jit(
        lambda: method.apply({"params": params}, CLIPS, ALL, rngs=keys, method="draw_mask")
    )()
    centre = np.asarray(kept["state"]["centre"], np.float64)
    losses, targets = [], []
    for clip, visible in zip(np.asarray(CLIPS), np.asarray(ids), strict=True):
        tokens = reference.encoder(clip, visible, params["encoder"], 3, 2)
        prediction = reference.self_attention_decoder(tokens, visible, params["decoder"], 3)
        targets.append(reference.encoder(clip, None, average, 3, 2))
        p = softmax((targets[-1] - centre) / 0.06)
        entropy = -(p * np.log(softmax(prediction / 0.1) + 1e-300)).sum(-1)
        losses.append(np.delete(entropy, visible))
    (loss, (metrics, changed)), _ = small.loss_and_gradient(method)(
        params, kept, average, CLIPS, keys
    )
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-4)
    targets = np.concatenate(targets)
    np.testing.assert_allclose(metrics["target_std"], targets.std(0).mean(), rtol=1e-4)
    moved = 0.9 * centre + 0.1 * targets.mean(0)
    np.testing.assert_allclose(changed["state"]["centre"], moved, atol=1e-5)


def test_the_target_encoder_sees_the_untransformed_clip_unless_the_view_is_shared():
    def target_std(**model):
        method = methods.build(small.config("sjepa", **model))
        params, average = noisy(method, CLIPS), small.average(method)
        kept, keys = small.variables(method, CLIPS), small.keys(method)
        compute = small.loss_and_gradient(method)
        (loss, (metrics, _)), _ = compute(params, kept, average, CLIPS, keys)
        return float(loss), float(metrics["target_std"])

    plain, viewed, shared = target_std(**PLAIN), target_std(), target_std(shared_view=True)
    # Two programs: on some processors they round apart.
    assert viewed[1] == pytest.approx(plain[1], rel=1e-6) != shared[1]
    assert viewed[0] != plain[0]


def test_an_absent_body_stays_zero_in_every_view():
    method = methods.build(small.config("sjepa"))
    rngs = {"view": jax.random.key(0)}
    for here in (ALL, ~ALL):  # counted, ignored
        view, _ = method.apply({}, jnp.zeros_like(CLIPS), here, rngs=rngs, method="view")
        assert not view.any()


def test_a_view_is_rotated_shifted_and_sometimes_mirrored():
    method = methods.build(small.config("sjepa", view_shift=0.5))
    clips = jnp.broadcast_to(CLIPS[:1], (64, *CLIPS.shape[1:]))
    rngs = {"view": jax.random.key(0)}
    here = small.everywhere(clips)
    views, _ = jax.jit(lambda: method.apply({}, clips, here, rngs=rngs, method="view"))()

    def distances(clips, a, b):
        return jnp.linalg.norm(clips[:, :, a] - clips[:, :, b], axis=-1)

    # Lengths stay: those of joints 0–1, or of their opposites 0–2 where mirrored.
    straight = jnp.abs(distances(views, 0, 1) - distances(clips, 0, 1)).max(1) < 1e-5
    mirrored = jnp.abs(distances(views, 0, 1) - distances(clips, 0, 2)).max(1) < 1e-5
    assert (straight ^ mirrored).all()
    assert 15 < mirrored.sum() < 49
    assert len(np.unique(np.asarray(views[:, 0, 0, 0]))) == 64


@pytest.mark.parametrize("stream", ["joint", "bone", "motion"])
def test_only_joints_are_shifted(stream):
    method = methods.build(small.config("sjepa", input_stream=stream, view_shift=0.5))
    clips = CLIPS.at[:, :, 0].set(0)  # the root's bone; joint 0 mirrors itself
    rngs = small.keys(method)
    view, _ = jax.jit(lambda: method.apply({}, clips, ALL, rngs=rngs, method="view"))()
    assert view[:, :, 0].any() == (stream == "joint")
    assert not np.allclose(view, clips)  # rotated and mirrored all the same


def test_the_centre_starts_at_zero_and_changes_in_training_alone():
    method = methods.build(small.config("sjepa"))
    keys = small.keys(method)
    variables = jax.jit(method.init)({"params": jax.random.key(0), **keys}, CLIPS, ALL)
    assert set(variables) == {"params", "state"}
    assert (variables["state"]["centre"] == 0).all()
    given = {**variables, "average": {"encoder": small.average(method)}}
    # Flax refuses to change a collection that is not mutable.
    loss, _ = jax.eval_shape(lambda: method.apply(given, CLIPS, ALL, rngs=keys))
    assert loss.shape == ()


def test_momentum_rises_along_half_a_cosine():
    method = methods.build(small.config("sjepa"))
    shares = [float(method.momentum(jnp.float32(p))) for p in (0, 0.5, 1)]
    np.testing.assert_allclose(shares, [0.9999, 0.99995, 1.0], rtol=1e-7)
    assert half_cosine(0.5, 0.9, jnp.float32(1 / 3)) == pytest.approx(0.6)
