"""STARS: its loss written out, its queue, its views; one device, eight, and a stop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax import methods, pretrain
from amr_jax.config import files
from amr_jax.ops import augment, contrast
from amr_jax.run import metrics
from tests.methods import small, stopped
from tests.models.params import noisy, views

CLIPS = small.clips(bodies=4)
PRESENT = small.everywhere(CLIPS).at[2].set(False).at[1, 4:8].set(False)


def projected(x, params, counted, layers):
    """Linear layers with batch normalisation over the counted rows and ReLU between, float64."""
    for i in range(1, layers + 1):
        layer = params[f"fc{i}"]
        x = x @ np.float64(layer["kernel"]) + np.float64(layer.get("bias", 0))
        if i < layers:
            norm, rows = params[f"norm{i}"], x[counted]
            x = (x - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
            x = np.maximum(x * np.float64(norm["scale"]) + np.float64(norm["bias"]), 0)
    return x


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_the_loss_is_the_contrast_of_neighbours_with_predictions_of_the_other_view():
    method = methods.build(small.config("stars"))
    params, counted = noisy(method, CLIPS), np.array([True, True, False, True])
    rng = np.random.default_rng(1)
    queue = unit(rng.normal(size=(7, 6))).astype(np.float32)
    ids = np.array([10, 11, 11, 13, -1, -1, -1], np.int32)
    sequences = jnp.array([10, 11, 12, 13], jnp.int32)
    state = {"queue": jnp.array(queue), "ids": jnp.array(ids), "pointer": jnp.int32(6)}
    two = CLIPS, CLIPS[:, ::-1]
    (loss, found), changed = jax.jit(
        lambda: method.apply(
            {"params": params, "state": state},
            two,
            (PRESENT, PRESENT[:, ::-1]),
            sequences=sequences,
            rngs=small.keys(method),
            mutable=["state"],
        )
    )()
    z, p = [], []
    for view, here in ((CLIPS, PRESENT), (CLIPS[:, ::-1], PRESENT[:, ::-1])):
        tokens = method.encoder.apply({"params": params["encoder"]}, view)
        shown = np.asarray(here).reshape(4, 4, 3, 5).any(2).reshape(4, 20, 1)
        mean = (np.float64(tokens) * shown).sum(1) / np.maximum(shown.sum(1), 1)
        z.append(projected(mean, params["projector"], counted, 3))
        p.append(unit(projected(z[-1], params["predictor"], counted, 2)))
    z = [unit(x) for x in z]

    def contrasted(z, p):
        total = 0.0
        for i in np.flatnonzero(counted):
            others = [j for j in range(4) if ids[j] != sequences[i]]
            nearest = queue[max(others, key=lambda j: z[i] @ queue[j])].astype(np.float64)
            logits = p[counted] @ nearest / method.temperature
            total += np.log(np.exp(logits).sum()) - p[i] @ nearest / method.temperature
        return total / counted.sum()

    expected = (contrasted(z[0], p[1]) + contrasted(z[1], p[0])) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert found["neighbours"] == 1
    # The first view of the bodies that are there goes into the queue, over its end.
    state = jax.device_get(changed["state"])
    np.testing.assert_array_equal(state["ids"], [11, 13, 11, 13, -1, -1, 10])
    np.testing.assert_allclose(state["queue"][[6, 0, 1]], z[0][counted], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(state["queue"][2:4], queue[2:4])
    assert state["pointer"] == 2


def test_with_an_empty_queue_a_body_is_its_own_neighbour():
    method = methods.build(small.config("stars"))
    given = views(method, CLIPS, small.everywhere(CLIPS))
    rngs = {"params": jax.random.key(0), **small.keys(method)}
    fresh = jax.jit(method.init)(rngs, *given)
    assert (fresh["state"]["ids"] == contrast.EMPTY).all()
    (loss, found), changed = method.apply(fresh, *given, rngs=rngs, mutable=["state"])
    assert np.isfinite(loss)
    assert found["neighbours"] == 0
    np.testing.assert_array_equal(changed["state"]["ids"], [0, 1, 2, 3, -1, -1, -1])


def test_views_are_crops_of_their_own_and_half_of_them_mirrored():
    method = methods.build(small.config("stars"))
    clip = small.clips(bodies=1, frames=40)[0][:, None]
    view = {
        "num_frames": 12,
        "min_fraction": 1.0,
        "max_fraction": 1.0,
        "min_frames": 1,
        "max_angles": (0.0, 0.0, 0.0),
        "stream": "joint",
        "parents": (0, 0, 0, 0, 0),
    }
    keys = jax.random.split(jax.random.key(3), 64)
    (first, second), (here, _) = jax.vmap(lambda key: method.views(key, clip, 40, **view))(keys)
    plain = augment.centre_crop_resize(clip, 40, 12, 1.0)
    mirrored = augment.mirror(plain, method.view_mirror)
    kinds = []
    for seen in (first, second):
        same = np.isclose(seen, plain, atol=1e-6).all((1, 2, 3, 4))
        other = np.isclose(seen, mirrored, atol=1e-6).all((1, 2, 3, 4))
        assert (same ^ other).all()
        kinds.append(other)
    assert 15 < kinds[0].sum() < 49
    assert (kinds[0] != kinds[1]).any()
    assert here.shape == (64, 12, 1, 5)
    assert here.all()


def config_of(data_dir):
    config = files.get_config("stars:nwucla,runlocal")
    config.data_dir, config.input.split = str(data_dir), "train"
    config.encoder.num_frames, config.encoder.width, config.encoder.depth = 24, 8, 1
    config.model.update(projector_hidden=8, features=8, predictor_hidden=8, queue=20)
    config.epochs, config.checkpoint.epochs = 4, 100  # 10 steps
    return config


@pytest.fixture(scope="module")
def undisturbed(tiny_ucla, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stars") / "run"
    return folder, pretrain.run(config_of(tiny_ucla), folder, jax.devices()[:1])


def test_streamed_on_eight_devices_is_as_resident_on_one(undisturbed, tiny_ucla, tmp_path):
    config = config_of(tiny_ucla)
    config.input.mode = "stream"
    state = pretrain.run(config, tmp_path / "run", jax.devices()[:8])
    one, eight = (metrics.read_metrics(folder) for folder in (undisturbed[0], tmp_path / "run"))
    for a, b in zip(one, eight, strict=True):
        # Rounding grows: a temperature of 0.07 multiplies it by 14 at every step.
        np.testing.assert_allclose(b["loss"], a["loss"], rtol=1e-5 if a["step"] == 2 else 1e-2)
        np.testing.assert_allclose(b["neighbours"], a["neighbours"])
    kept, expected = state.variables["state"], undisturbed[1].variables["state"]
    np.testing.assert_array_equal(kept["ids"], expected["ids"])
    assert len(set(np.asarray(kept["ids"]).tolist())) > 8  # numbers of sequences of the split
    np.testing.assert_allclose(kept["queue"], expected["queue"], atol=2e-2)


def test_a_stopped_run_goes_on_to_the_same_bits(undisturbed, tiny_ucla, tmp_path, monkeypatch):
    state = stopped.and_resumed(config_of(tiny_ucla), tmp_path / "run", monkeypatch)
    stopped.check_same_bits(state, undisturbed[1])
    assert state.variables["state"]["ids"].max() >= 0  # the queue is not empty
