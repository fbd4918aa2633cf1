"""What pre-training sees, of tiny runs of noise: shapes, identities, and what is drawn of it."""

import dataclasses
import pickle

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from amr_jax.errors import UserError
from amr_jax.pictures import attention, look, seen
from amr_jax.pictures.look import Look
from amr_jax.skeleton import layouts
from tests import tiny_models
from tests.pictures.clips import standing


@pytest.fixture(scope="module")
def amr(tmp_path_factory):
    run = tmp_path_factory.mktemp("amr")
    tiny_models.save_run(run, "amr", masking="random")
    return run


@pytest.fixture(scope="module")
def one(amr) -> Look:
    return look.of_run(amr, look.Given("a clip", standing(frames=20)), masks=3)


def test_one_look_has_every_part(one):
    assert one.view.shape == (12, 20, 3)
    assert one.predicted.shape == (12, 20, 3)
    assert one.ids.shape == (3, 6)
    assert len({tuple(sorted(ids)) for ids in one.ids}) == 3  # every mask is another one
    assert one.visible.sum() == 6
    assert one.weights.shape == (12, 20)
    assert 0 <= one.weights.min() <= one.weights.max() <= 1
    np.testing.assert_allclose(one.attention.sum(-1), 1, rtol=1e-5)
    assert one.attention.shape == (3, 80 * one.patch_len // one.predicted_len, 6)


def test_the_same_seed_gives_the_same_look(amr, one):
    clip = look.Given("a clip", standing(frames=20))
    again = look.of_run(amr, clip, masks=3)
    np.testing.assert_array_equal(one.predicted, again.predicted)
    other = look.of_run(amr, clip, seed=1, masks=3)
    assert (one.ids[0] != other.ids[0]).any()


def test_predicted_motion_leads_from_true_places():
    true = np.random.default_rng(0).normal(size=(12, 2, 3)).cumsum(0)
    motion = np.concatenate([true[2:] - true[:-2], np.zeros((2, 2, 3))])
    np.testing.assert_allclose(look.positions(motion, true, "motion", 2, 6), true)
    ahead = look.positions(motion + 0.1, true, "motion", 2, 6)
    np.testing.assert_allclose((ahead - true)[:, 0, 0], [0, 0, 0.1, 0.1, 0.2, 0.2] * 2)
    assert look.positions(motion, true, "joint", 2, 6) is motion


def test_a_loss_on_hidden_patches_leaves_visible_ones_as_they_are(tmp_path):
    tiny_models.save_run(tmp_path, "skeleton_mae", masking="random")
    found = look.of_run(tmp_path, look.Given("a clip", standing(frames=20)))
    visible = np.repeat(found.visible, found.patch_len, axis=0)
    np.testing.assert_array_equal(found.predicted[visible], found.view[visible])
    assert (found.predicted[~visible] != found.view[~visible]).mean() > 0.9
    assert "Visible patches" in seen.caption(found)
    assert found.weights is None


def test_a_method_that_predicts_features_is_refused(tmp_path):
    tiny_models.save_run(tmp_path, "gfp")
    with pytest.raises(UserError, match="gfp on the joint stream predicts nothing that can be"):
        look.of_run(tmp_path, look.Given("a clip", standing()))


def test_the_picture_of_what_is_seen(one):
    figure = seen.seen(one, columns=12)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["truth", "visible", "weight W", "prediction"]
    mask, weights = (axes.images[0].get_array() for axes in figure.axes[:2])
    joints = seen.order(one.layout)
    assert sorted(joints) == list(range(20))
    np.testing.assert_array_equal(weights, one.weights.T[joints])
    np.testing.assert_array_equal(mask[:, :: one.patch_len], one.visible.T[joints])
    row = next(axes for axes in figure.axes if axes.get_ylabel() == "visible")
    marks = [c.get_offsets() for c in row.collections if isinstance(c, PathCollection)]
    assert sum(map(len, marks)) == one.visible.sum() * one.patch_len


def test_uniform_attention_is_one_everywhere_that_is_ever_visible(one):
    uniform = np.full_like(one.attention, 1 / one.attention.shape[2])
    by_joint, by_time = attention.relative(dataclasses.replace(one, attention=uniform))
    ever = np.isin(np.arange(20), one.ids % 20)
    np.testing.assert_allclose(by_joint[:, ever], 1, rtol=1e-6)
    assert np.isnan(by_joint[:, ~ever]).all()
    assert by_time.shape == (12 // one.predicted_len, 4)


def test_attention_goes_to_the_joint_that_it_is_on(one):
    on = np.zeros_like(one.attention)
    on[:, :, 2] = 1  # each query looks at the third visible patch of its mask
    by_joint, _ = attention.relative(dataclasses.replace(one, attention=on))
    looked = np.unique(one.ids[:, 2] % 20)
    assert set(np.flatnonzero(np.nan_to_num(by_joint[0]))) == set(looked)
    figure = attention.attention(one, width=3.4)
    assert figure.get_figwidth() == 3.4


def test_a_clip_of_records_or_of_a_file(tiny_ucla, amr, tmp_path):
    record = look.given(amr, data_dir=str(tiny_ucla), index=1)
    assert record.joints.shape[1:] == (1, 20, 3)
    centre = layouts.KINECT_20.centre
    np.testing.assert_array_equal(record.joints[0, 0, centre], 0)
    np.save(tmp_path / "a.npy", standing(frames=30))
    of_file = look.given(amr, str(tmp_path / "a.npy"))
    assert len(of_file.joints) == tiny_models.MAX_FRAMES
    np.testing.assert_array_equal(of_file.joints[0, 0, centre], 0)
    with pytest.raises(UserError, match="--index=99: test has 20 sequences"):
        look.given(amr, data_dir=str(tiny_ucla), index=99)
    with pytest.raises(UserError, match=r"ntu_25.*expected kinect_20, of nwucla"):
        look.given(amr, dataset="ntu60_xsub")
    np.save(tmp_path / "b.npy", np.ones((4, 7, 3)))
    with pytest.raises(UserError, match=r"expected .frames, bodies, 20 joints"):
        look.given(amr, str(tmp_path / "b.npy"))


def test_a_clip_of_a_file_with_several(amr, tmp_path):
    one = standing().transpose(1, 0, 2, 3)
    whole = [
        {"frame_dir": n, "label": 0, "keypoint": x} for n, x in (("a", one), ("b", one[:, :5]))
    ]
    bad = {"frame_dir": "c", "label": 0, "keypoint": one[:, :, :7]}
    path = tmp_path / "set.pkl"
    path.write_bytes(pickle.dumps([*whole, bad]))
    found = [look.given(amr, str(path), index=index) for index in (0, 1)]
    assert [(x.name, len(x.joints)) for x in found] == [("set.pkl[a]", 9), ("set.pkl[b]", 5)]
    with pytest.raises(UserError, match=r"set.pkl, c: .*20 joints"):
        look.given(amr, str(path), index=2)
    path.write_bytes(pickle.dumps(whole))
    with pytest.raises(UserError, match=r"set.pkl: found 2 sequences; expected --index= of one"):
        look.given(amr, str(path), index=2)
