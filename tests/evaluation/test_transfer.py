"""Adaptation to other joints and lengths: embeddings by hand, refusals, settings."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.evaluation import adapt as transfer
from amr_jax.ops import resample
from amr_jax.skeleton import layouts, union
from configs import amr, knn
from tests.models.params import encoder as build
from tests.models.params import noisy

NTU, KINECT = layouts.NTU_25, layouts.KINECT_20


def made(layout, frames=24, seed=0):
    """A layout, and parameters of an encoder of it of which no two are equal."""
    encoder = build(num_frames=frames, num_joints=layout.num_joints, width=8, depth=1, num_heads=2)
    clips = jnp.zeros((1, frames, layout.num_joints, encoder.channels))
    return layout, jax.tree.map(lambda x: np.asarray(x) * (1 + seed), noisy(encoder, clips))


def adapt(source, target, time_embeddings="linear"):
    return transfer.adapt(source[1], target[1], source[0], target[0], time_embeddings, "RUN")


def test_joints_go_by_name_and_by_what_is_the_same():
    matched = union.match_joints(NTU, KINECT)
    assert list(matched) == list(KINECT.joints)
    other = {target: source for target, source in matched.items() if target != source}
    assert other == {
        "hip centre": "spine base",
        "spine": "spine middle",
        "shoulder centre": "spine shoulder",
    }
    back = union.match_joints(KINECT, NTU)
    without = {joint for joint, source in back.items() if source is None}
    assert without == {
        "neck",
        *(f"{side} {part}" for side in ("left", "right") for part in ("hand tip", "thumb")),
    }
    assert all(back[source] == target for target, source in matched.items())


def test_every_other_name_is_a_joint_of_some_layout():
    joints = {joint for layout in layouts.LAYOUTS.values() for joint in layout.joints}
    names = [name for same in layouts.SAME_JOINT for name in same]
    assert len(set(names)) == len(names)
    assert joints.issuperset(names)


def test_from_25_joints_to_20_each_takes_its_own_embedding():
    source, target = made(NTU), made(KINECT, seed=1)
    params, adaptation = adapt(source, target)
    # 1-based numbers of the data sets' documents: Kinect v1's joint k is NTU's number …
    numbers = [1, 2, 21, 4, *range(5, 13), *range(13, 21)]
    expected = source[1]["position"]["joint"][np.array(numbers) - 1]
    np.testing.assert_array_equal(params["position"]["joint"], expected)
    assert adaptation.new == []
    assert adaptation.unused == [NTU.joints[i - 1] for i in (3, 22, 23, 24, 25)]
    # All else, the time embeddings too, is as it was, bit for bit.
    params["position"]["joint"] = source[1]["position"]["joint"]
    jax.tree.map(np.testing.assert_array_equal, params, source[1])


def test_joints_without_counterpart_take_the_random_embedding():
    source, target = made(KINECT), made(NTU, seed=1)
    params, adaptation = adapt(source, target)
    random, joint = target[1]["position"]["joint"], params["position"]["joint"]
    new = [NTU.joints.index(name) for name in adaptation.new]
    assert len(new) == 5
    for i in range(25):
        assert np.array_equal(joint[i], random[i]) == (i in new)
    assert adaptation.unused == []


def test_layouts_without_a_joint_in_common_are_refused():
    other = dataclasses.replace(
        KINECT, name="own", joints=tuple(f"j{i}" for i in range(KINECT.num_joints))
    )
    with pytest.raises(UserError, match=r"none of the 20 joints of own \(j0, .* has a counterpart"):
        adapt(made(NTU), made(other, seed=1))


def test_an_encoder_for_the_same_data_is_unchanged():
    source = made(NTU)
    params, adaptation = adapt(source, made(NTU, seed=1))
    jax.tree.map(np.testing.assert_array_equal, params, source[1])
    assert adaptation.joints == {joint: joint for joint in NTU.joints}
    assert adaptation.num_times == [6, 6]


@pytest.mark.parametrize(("before", "after"), [(24, 12), (24, 36), (8, 120), (4, 8)])
def test_times_are_interpolated_at_half_pixel_centres(before, after):
    source, target = made(KINECT, before), made(KINECT, after, seed=1)
    params, adaptation = adapt(source, target)
    n, m = adaptation.num_times
    assert (n, m) == (before // 4, after // 4)
    table = np.float64(source[1]["position"]["time"])
    at = ((np.arange(m) + 0.5) * n / m - 0.5).clip(0, n - 1)
    expected = np.stack([np.interp(at, np.arange(n), column) for column in table.T], axis=1)
    np.testing.assert_allclose(params["position"]["time"], expected, atol=1e-6)
    np.testing.assert_array_equal(params["position"]["joint"], source[1]["position"]["joint"])


def test_parameters_of_another_number_of_joints_than_the_layout_has_are_refused():
    with pytest.raises(UserError, match=r"RUN: an encoder of 20 joints: expected 25, .*ntu_25"):
        transfer.adapt(made(KINECT)[1], made(KINECT)[1], NTU, KINECT, "linear", "RUN")


def test_the_adaptation_is_described_and_is_json():
    _, adaptation = adapt(made(KINECT), made(NTU, 48))
    lines = adaptation.lines()
    assert lines["adapted"] == "20 of 25 joints matched; 6 times interpolated to 12"
    assert lines["  other name"].startswith("3: spine base ← hip centre, spine middle ← spine,")
    assert lines["  new, random"].startswith("5: neck, left hand tip, ")
    assert "  not used" not in lines
    found = dataclasses.asdict(adaptation)
    assert json.loads(json.dumps(found)) == found
    assert adapt(made(KINECT), made(KINECT))[1].lines()["adapted"].endswith("6 times kept")


def asked(dataset, num_frames, adapt=True):
    """The config of an evaluation of the run RUN."""
    config = knn.get_config(dataset)
    config.pretrained, config.num_frames, config.adapt = "RUN", num_frames, adapt
    return config


def test_with_adapt_data_are_loaded_and_augmented_as_their_own_set_is():
    pretraining = amr.get_config("synthetic")
    pretraining.input.stream = "bone"
    pretraining.encoder.width = 32
    seen, own = transfer.settings(asked("nwucla", 96), pretraining), amr.get_config("nwucla")
    assert seen.augment == own.augment != pretraining.augment
    assert (seen.input.max_frames, seen.input.stream) == (own.input.max_frames, "bone")
    encoder = seen.encoder
    assert (encoder.num_frames, encoder.num_joints, encoder.width) == (96, 20, 32)
    assert pretraining.encoder.num_joints == 25  # the run's own config stays as it is


def test_without_adapt_another_set_of_the_layout_is_treated_as_in_pretraining():
    pretraining = amr.get_config("ntu60_xsub")
    assert transfer.settings(asked("pku2_xsub", 120, adapt=False), pretraining) is pretraining
    assert transfer.settings(asked("pku2_xsub", 120), pretraining).input.centre is False
    with pytest.raises(
        UserError, match=r"with 25 joints .*, not 20 .*RUN was trained on ntu60_xsub"
    ):
        transfer.settings(asked("nwucla", 120, adapt=False), pretraining)


def test_from_scratch_there_is_nothing_to_adapt():
    config, scratch = asked("nwucla", 48), amr.get_config("nwucla")
    config.pretrained = ""
    assert transfer.settings(config, scratch) is scratch
    config.num_frames = 24
    with pytest.raises(UserError, match=r"config\.scratch\.encoder\.num_frames"):
        transfer.settings(config, scratch)


def test_time_embeddings_are_interpolated_as_published():
    source, target = made(NTU, frames=24), made(NTU, frames=36, seed=1)
    before = source[1]["position"]["time"]
    params, _ = adapt(source, target, "bicubic")
    np.testing.assert_array_equal(params["position"]["time"], resample.bicubic(before, 9))
    linear, _ = adapt(source, target)
    assert np.abs(linear["position"]["time"] - params["position"]["time"]).max() > 1e-3
