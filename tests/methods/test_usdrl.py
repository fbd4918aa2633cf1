"""USDRL: its loss against its definition in double precision, its features, its views."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from amr_jax import methods, pretrain
from amr_jax.config import base, files
from amr_jax.methods.method import view_shapes
from amr_jax.methods.usdrl import similarity_loss
from amr_jax.ops import augment, presence
from tests.methods import small, stopped
from tests.models import reference
from tests.models.params import noisy
from tests.models.params import views as views_of

BODIES = 4
CLIPS = small.clips(BODIES)
PRESENT = np.ones((BODIES, 12, 5), bool)
PRESENT[1, 3:9] = PRESENT[2, :6] = False
LEVELS = {"instance": 1.0, "temporal": 0.5, "spatial": 0.5}
VIEW = {
    "num_frames": 12,
    "min_fraction": 0.5,
    "max_fraction": 1.0,
    "min_frames": 4,
    "max_angles": (0.0, 0.0, 0.0),
    "stream": "joint",
    "parents": (0, 0, 1, 2, 3),
    "confidence": False,
}


def tenths_larger(method, clips, present):
    """Four different views of clips, and their presence."""
    clips, present = views_of(method, clips, present)
    return tuple((1 + 0.1 * i) * view for i, view in enumerate(clips)), present


def pooled(tokens, here):
    """The feature of each level of one body, by loops: tokens (4, 5, D), here (4, 5)."""
    times = [np.mean([tokens[t, v] for v in range(5) if here[t, v]], 0) for t in range(4)
             if here[t].any()]  # fmt: skip
    joints = [np.mean([tokens[t, v] for t in range(4) if here[t, v]], 0) for v in range(5)
              if here[:, v].any()]  # fmt: skip
    return {
        "instance": tokens[here].mean(0),
        "temporal": np.max(times, 0),
        "spatial": np.max(joints, 0),
    }


def projected(x, p):
    """A projector on rows (B, D) that all count."""
    for i in (1, 2):
        x = x @ np.float64(p[f"fc{i}"]["kernel"])
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        x = np.maximum(x * p[f"norm{i}"]["scale"] + p[f"norm{i}"]["bias"], 0)
    return x @ np.float64(p["fc3"]["kernel"])


def off_diagonal(matrix):
    return (matrix[~np.eye(len(matrix), dtype=bool)] ** 2).sum()


def terms(z):
    """The four terms of a level, from the formulas of the docs."""
    a, b, c, d = z
    mean = (a + b + c) / 3
    similarity = sum(((x - y) ** 2).mean() for x in (a, b, c) for y in (d, mean))
    variance = sum(np.maximum(1 - np.sqrt(x.var(0) + 1e-4), 0).mean() for x in z)
    covariance = sum(off_diagonal(np.cov(x, rowvar=False)) / x.shape[1] for x in z)
    standard = [(x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in z]
    correlation = 0
    for one, other in itertools.combinations(standard, 2):
        matrix = one.T @ other / len(one)
        correlation += ((np.diag(matrix) - 1) ** 2).sum() + 0.005 * off_diagonal(matrix)
    return {
        "similarity": similarity,
        "variance": variance,
        "covariance": covariance,
        "correlation": correlation,
    }


def test_the_loss_follows_the_definition():
    method = methods.build(small.config("usdrl"))
    params = noisy(method, CLIPS)
    clips, present = jnp.where(PRESENT[..., None], CLIPS, 0), jnp.asarray(PRESENT)
    views = tenths_larger(method, clips, present)
    features = {level: [] for level in LEVELS}
    here = PRESENT.reshape(BODIES, 4, 3, 5).any(2)
    for view in views[0]:
        found = [
            pooled(reference.encoder(x, None, params["encoder"], 3, 2).reshape(4, 5, -1), patches)
            for x, patches in zip(np.asarray(view), here, strict=True)
        ]
        for level, rows in features.items():
            rows.append(np.stack([one[level] for one in found]))
    expected = dict.fromkeys(terms(features["instance"]), 0.0)
    for level, weight in LEVELS.items():
        z = [projected(x, params[f"{level}_projector"]) for x in features[level]]
        assert z[0].shape[1] == (12 if level == "instance" else 6)
        for term, value in terms(z).items():
            expected[term] += weight * value
    loss, metrics = jax.jit(lambda *views: method.apply({"params": params}, *views))(*views)
    for term, value in expected.items():
        assert metrics[term] == pytest.approx(value, rel=1e-3), term
    total = (
        5 * expected["similarity"]
        + 5 * expected["variance"]
        + expected["covariance"]
        + 1e-3 * expected["correlation"]
    )
    assert loss == pytest.approx(total, rel=1e-3)
    std = features["instance"][0].std(0).mean()
    assert metrics["feature_std"] == pytest.approx(std, rel=1e-3)


def test_equal_views_are_similar_and_the_fourth_counts_as_the_mean_of_the_others_does():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32)
    real = jnp.array([True, True, False])
    assert similarity_loss([z] * 4, real) < 1e-9
    moved = z.at[2].add(9.0)  # not counted
    assert similarity_loss([z, moved, z, z], real) < 1e-9
    assert similarity_loss([z, z, z, z + 2], real) == pytest.approx(3 * 4)
    # One of three is 3 off: of the mean by 2, the others by 1; of the fourth, by 3.
    assert similarity_loss([z + 3, z, z, z], real) == pytest.approx(9 + 4 + 1 + 1, rel=1e-5)


def test_a_body_counts_if_all_of_its_views_show_it():
    method = methods.build(small.config("usdrl"))
    params = noisy(method, CLIPS)
    views, present = tenths_larger(method, CLIPS, small.everywhere(CLIPS))
    apply = jax.jit(lambda *given: method.apply({"params": params}, *given)[0])
    gone = (*present[:3], present[3].at[1].set(False))
    others = jnp.array([0, 2, 3])
    alone = apply(*jax.tree.map(lambda x: x[others], (views, present)))
    np.testing.assert_allclose(apply(views, gone), alone, rtol=1e-4)


@pytest.mark.parametrize("stream", base.STREAMS)
def test_views_are_four_crops_each_sheared_or_corrupted_before_the_stream(stream):
    clip = jnp.asarray(np.random.default_rng(1).normal(size=(30, 2, 5, 3)), jnp.float32)
    clip = clip.at[:, 1].set(0).at[10:14, 0].set(0)
    view = VIEW | {"stream": stream}
    whole = methods.build(small.config("usdrl", view_shear=0.0, view_corruption=0.0))
    views, present = jax.jit(lambda key: whole.views(key, clip, 26, **view))(jax.random.key(0))
    assert len(views) == len(present) == 4
    for i, (x, here) in enumerate(zip(views, present, strict=True)):
        assert x.shape == (12, 2, 5, 3)
        assert not x[:, 1].any()
        assert not here[:, 1].any()
        crop = jax.random.split(jax.random.split(jax.random.key(0), 4)[i])[0]
        plain, joints = augment.train_view(crop, clip, 26, **VIEW)
        plain = augment.to_stream(plain, stream, view["parents"])
        np.testing.assert_allclose(x, plain, atol=1e-5)
        expected = presence.of_stream(joints[:, 0], stream, view["parents"])
        np.testing.assert_array_equal(here[:, 0], expected)
    assert all(not np.allclose(a, b) for a, b in itertools.combinations(views, 2))


def test_the_settings_of_the_distortions_do_what_they_say():
    clip = jnp.asarray(np.random.default_rng(1).normal(size=(30, 1, 5, 3)), jnp.float32)

    def views(**model):
        method = methods.build(small.config("usdrl", **model))
        keys = jax.random.split(jax.random.key(0), 40)
        draw = jax.jit(jax.vmap(lambda key: method.views(key, clip, 30, **VIEW)[0]))
        return jnp.concatenate(draw(keys))[:, :, 0]

    plain = views(view_shear=0.0, view_corruption=0.0)
    moved = jnp.abs(views() - plain).max((1, 3)) > 1e-5  # by joint
    sheared = moved.all(1)
    assert 50 < sheared.sum() < 110
    assert (moved[~sheared].sum(1) == 3).all()  # three of five
    assert (jnp.abs(views(view_corruption=0.0) - plain).max((1, 2, 3)) > 1e-3).all()
    lost = (views(view_corruption=1.0, corrupted_joints=0.4) == 0).all((1, 3)).sum(1)
    assert set(np.unique(lost)) == {0, 2}


def test_eight_devices_have_the_statistics_of_the_whole_batch():
    method = methods.build(small.config("usdrl"))
    clips = small.clips(bodies=16)
    present = small.everywhere(clips).at[:4].set(False)  # two devices have nobody
    views = tenths_larger(method, jnp.where(present[..., None], clips, 0), present)
    params = noisy(method, clips)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere, spread = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def loss(params, views):
        return method.apply({"params": params}, *views)[0]

    one = jax.jit(jax.value_and_grad(loss))(params, views)
    on_eight = jax.jit(jax.value_and_grad(loss), in_shardings=(everywhere, spread))
    eight = on_eight(*jax.device_put((params, views), (everywhere, spread)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4), eight, one)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(tiny_ucla, tmp_path, monkeypatch):
    config = files.get_config("usdrl:nwucla,runlocal")
    config.data_dir, config.input.split = str(tiny_ucla), "train"
    config.encoder.num_frames, config.encoder.width, config.encoder.depth = 16, 8, 1
    config.model.projector_width, config.batch_size = 8, 8
    config.epochs, config.checkpoint.epochs = 1, 100  # 6 steps
    state = stopped.and_resumed(config, tmp_path / "stopped", monkeypatch)
    expected = pretrain.run(config, tmp_path / "undisturbed", jax.devices()[:1])
    stopped.check_same_bits(state, expected)


def test_parameters_at_full_size():
    method = methods.build(small.full_size("usdrl"))
    shapes = jax.eval_shape(
        method.init, {"params": jax.random.key(0)}, *view_shapes(method, bodies=1)
    )["params"]
    count = {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in shapes.items()}
    # Three products, and a scale and a bias of 512 after each of the first two.
    narrow = 256 * 512 + 512 * 512 + 512 * 512 + 4 * 512
    assert count["temporal_projector"] == count["spatial_projector"] == narrow
    assert count["instance_projector"] == narrow + 512 * 512
    assert count["encoder"] == 6_336_000  # as of every method
