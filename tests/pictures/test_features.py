"""Neighbours and maps of features."""

import dataclasses
import sys

import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.pictures import features
from amr_jax.skeleton import layouts
from tests import tiny_models
from tests.pictures.clips import standing


def clips(values, labels, shown=None) -> features.Clips:
    shown = np.arange(len(labels)) if shown is None else np.array(shown)
    names = tuple(f"class {chr(97 + k)}" for k in range(26))
    arrays = np.array(values, float), np.array(labels), names, shown
    return features.Clips(*arrays, lambda i: standing(), layouts.KINECT_20, "xyz")


BANK = clips([[1, 0], [0.9, 0.1], [0, 2], [-3, 0]], [0, 1, 1, 2])


def test_neighbours_are_by_cosine_and_not_of_the_querys_performance():
    query = clips([[5, 0.2]], [0], shown=[9])
    order, similarity = features.nearest(BANK, query, 3)
    np.testing.assert_array_equal(order, [[0, 1, 2]])
    assert similarity[0, 0] == pytest.approx(5 / np.hypot(5, 0.2))
    twin = dataclasses.replace(query, shown=np.array([0]))
    np.testing.assert_array_equal(features.nearest(BANK, twin, 2)[0], [[1, 2]])


def test_marks_tell_right_from_wrong_by_sign_and_colour():
    query = clips([[5, 0.2]], [0], shown=[9])
    figure = features.neighbours_of(BANK, query, np.array([0]), count=2)
    texts = {text.get_text(): text.get_color() for text in figure.texts}
    assert texts["✓ 1.00 class a"] == features.GOOD
    assert texts["✗ 1.00 class b"] == features.BAD
    assert "class a" in texts
    assert len(figure.axes) == 3


def test_queries_are_of_as_many_classes_as_possible():
    labels = np.array([0] * 50 + [1, 2])
    assert set(labels[features.chosen(labels, 3, seed=0)]) == {0, 1, 2}
    assert len(set(features.chosen(labels, 20, seed=0))) == 20
    assert len(features.chosen(labels, 99, seed=0)) == 52


def test_a_map_has_every_clip_and_names_every_class():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 6)
    many = clips(rng.normal(size=(120, 4)), labels)
    places = rng.normal(size=(120, 2))
    figure = features.class_map(many, places, width=3.4)
    drawn = list(figure.axes[0].collections)
    assert sum(len(c.get_offsets()) for c in drawn) == 120
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in drawn}
    assert len(looks) == 20  # a colour and a marker of its own
    named = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert named == [f"{k} class {chr(97 + k)}" for k in range(20)]
    for text in figure.axes[0].texts:  # a number stands on a clip of its class
        assert (places[labels == int(text.get_text())] == text.get_position()).all(1).any()


def test_near_features_are_near_on_the_map():
    pytest.importorskip("sklearn")
    import threadpoolctl

    rng = np.random.default_rng(0)
    far = np.repeat(10 * np.eye(3), 10, axis=0) + rng.normal(0, 0.1, (30, 3))
    with threadpoolctl.threadpool_limits(1):  # threads of few points wait for each other
        places = features.embedded(far, "tsne", seed=0).reshape(3, 10, 2)
    spread = np.linalg.norm(places - places.mean(1, keepdims=True), axis=-1).max()
    middles = places.mean(1)
    assert np.linalg.norm(middles - np.roll(middles, 1, axis=0), axis=1).min() > spread


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"umap is not installed; pip install 'amr_jax\[show\]'"):
        features.embedded(np.eye(9), "umap", seed=0)
    with pytest.raises(UserError, match="found 3 clips; expected five or more"):
        features.embedded(np.eye(3), "tsne", seed=0)


def test_features_of_a_run(tiny_ucla, tmp_path):
    tiny_models.save_run(tmp_path, "amr", masking="random")
    bank, queries = features.of_run(tmp_path, data_dir=str(tiny_ucla))
    assert (bank.features.shape, queries.features.shape) == ((40, 8), (20, 8))
    assert np.isfinite(bank.features).all()
    assert queries.clip(3).shape[1:] == (1, 20, 3)
    # Each test clip shows a performance that another camera recorded for the training split.
    assert np.isin(queries.shown, bank.shown).all()
    order, _ = features.nearest(bank, queries, 5)
    assert (bank.shown[order] != queries.shown[:, None]).all()
