"""Pre-training on several data sets at once: loading, order, resuming, devices, evaluation."""

import sys

import jax
import numpy as np
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.data import batches, datasets, mixture, order, records, split
from amr_jax.errors import UserError
from amr_jax.inference import load
from amr_jax.run import checkpoint, sharding
from configs import amr, knn
from tests import custom_sets
from tests.test_pretrain import assert_same, assert_same_course, before_batch, tiny_config


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder of records of 12 + 6 sequences of up to two bodies of 15 joints, in metres."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for i in range(18):
        joints = rng.normal(size=(10 + i, 1 + i % 2, 15, 3)).cumsum(0) / 10
        kept = {"split": "train" if i < 12 else "test", "label": ["a", "b"][i % 2]}
        custom_sets.write_npz(folder / "raw", f"s{i:02d}", joints=joints, **kept)
    made = [f"--manual_dir={folder / 'raw'}", f"--data_dir={folder}", "--name=mine"]
    how = ["--layout=openni_15", "--channels=xyz", "--num_workers=1"]
    amr_jax_command(["prepare", "--dataset=custom", *made, *how])
    return str(folder / "custom" / "mine")


def mixed(tiny_ucla, own, **changes):
    config = tiny_config(tiny_ucla, **changes)
    config.dataset = amr.get_config(f"nwucla+{own},runlocal").dataset
    return config


@pytest.fixture(scope="module")
def undisturbed(tiny_ucla, own, tmp_path_factory):
    """The folder and the final state of a run on two sets, on one device."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, pretrain.run(mixed(tiny_ucla, own), folder, jax.devices()[:1])


def opened(config):
    return pretrain.open_records(pretrain.resolve(config))


def test_the_sets_follow_each_other_on_the_joints_of_all(tiny_ucla, own):
    both, section = opened(mixed(tiny_ucla, own)), amr.get_config("nwucla").input
    section.max_frames = 20
    alone = [
        datasets.get(name).open_split(str(tiny_ucla), "train", section) for name in ("nwucla", own)
    ]
    assert (len(both), both.sizes, both.num_slots, both.num_joints) == (52, (40, 12), 2, 20)
    assert both.class_names[-2:] == (f"{own}/a", f"{own}/b")
    np.testing.assert_array_equal(both.has_joints.sum(1), [20] * 40 + [15] * 12)
    names = datasets.get(f"nwucla+{own}").layout.joints
    at = [
        names.index(joint.replace("spine middle", "spine"))
        for joint in datasets.get(own).layout.joints
    ]
    config = mixed(tiny_ucla, own, **{"input.max_frames": 20})
    for number, source, joints in ((3, 0, range(20)), (44, 1, at), (51, 1, at)):
        one = next(opened(config).examples(np.array([number])))
        expected = next(alone[source].examples(np.array([number - 40 * source])))
        slots = expected["joints"].shape[1]
        np.testing.assert_array_equal(one["joints"][:, :slots, list(joints)], expected["joints"])
        rest = np.delete(one["joints"], list(joints), axis=2)
        assert not rest.any()
        assert not one["joints"][:, slots:].any()
        np.testing.assert_array_equal(one["present"][:slots], expected["present"])
        np.testing.assert_array_equal(opened(config).joints(number), one["joints"])
        assert both.class_names[one["label"]].endswith(alone[source].class_names[expected["label"]])
        assert one["name"] == f"{('nwucla', own)[source]}/{expected['name']}"


def test_one_set_as_a_mix_is_that_set(tiny_ucla):
    mesh = sharding.make_mesh(jax.devices()[:2])
    source = records.Records(str(tiny_ucla), "nw_ucla/xview", "train", 1, 300)
    alone = mixture.Mixture({"nwucla": source}, {"nwucla": range(20)}, 20)
    assert alone.has_joints is None
    how = {"mode": "resident", "storage": "int16", "bodies": "packed", "second_body": "zeros"}
    found = []
    for one, kind in ((source, "proportional"), (alone, "proportional"), (alone, "balanced")):
        data = batches.load(one, mesh, **how, mixture=kind, batch_size=8, seed=0)
        found.append((data.resident, list(data.batches(0, 11, 3))))
    assert_same(found[0][0].frames, found[1][0].frames)
    jax.tree.map(np.testing.assert_array_equal, *found[:2])
    jax.tree.map(np.testing.assert_array_equal, found[0], found[2])


@pytest.mark.parametrize("bodies", ["packed", "all"])
def test_streamed_batches_of_several_sets_are_the_resident_ones(tiny_ucla, own, bodies):
    mesh, source = sharding.make_mesh(jax.devices()[:2]), opened(mixed(tiny_ucla, own))
    how = {"storage": "int16", "bodies": bodies, "second_body": "zeros", "mixture": "balanced"}
    clips = []
    for mode in ("resident", "stream"):
        data = batches.load(source, mesh, mode=mode, batch_size=8, seed=0, **how)
        assert data.num_units == (58 if bodies == "packed" else 52)
        batch = jax.tree.map(lambda x: x[1], next(data.batches(2, 6, 2)))
        clips.append(jax.device_get(jax.jit(data.clips)(data.resident, batch)))
    jax.tree.map(np.testing.assert_array_equal, *clips)
    np.testing.assert_array_equal(clips[0][2].sum(1), [20, 15] * 4)
    here = clips[0][0].any(axis=(1, 2, 4))
    assert not (here & ~clips[0][2]).any()


def test_balanced_sets_take_turns_through_whole_permutations():
    drawn = order.Order([7, 3], batch_size=4, seed=5)
    stream = np.concatenate([drawn.batch(step) for step in range(21)])
    assert (stream[::2] < 7).all()
    for first, count, own in ((0, 7, stream[::2]), (7, 3, stream[1::2])):
        rounds = own[: len(own) // count * count].reshape(-1, count)
        np.testing.assert_array_equal(
            np.sort(rounds), np.tile(first + np.arange(count), (len(rounds), 1))
        )
        assert len(np.unique(rounds, axis=0)) > 2
    assert [drawn.unit(i) for i in range(84)] == stream.tolist()


def test_turns_count_the_units_of_each_set(tiny_ucla, own):
    mesh = sharding.make_mesh(jax.devices()[:1])
    host = split.read(opened(mixed(tiny_ucla, own)), mesh, frames=False)
    for bodies, counts in (("packed", (40, 18)), ("all", (40, 12))):
        units = order.units(host, bodies, "zeros")
        assert order.take_turns(host, units, "balanced") == counts
        assert order.take_turns(host, units, "proportional") == (sum(counts),)


def test_a_resumed_run_on_several_sets_has_the_same_bits(
    tiny_ucla, own, undisturbed, tmp_path, monkeypatch
):
    _, expected = undisturbed
    config = mixed(tiny_ucla, own)
    with monkeypatch.context() as patch:
        before_batch(4, sys.exit, patch)
        with pytest.raises(SystemExit):
            pretrain.run(config, tmp_path, jax.devices()[:1])
    assert_same(pretrain.run(config, tmp_path, jax.devices()[:1]), expected)


def test_two_devices_and_streaming_train_on_several_sets_as_one(
    tiny_ucla, own, undisturbed, tmp_path
):
    config = mixed(tiny_ucla, own, **{"input.mode": "stream"})
    pretrain.run(config, tmp_path, jax.devices()[:2])
    assert_same_course(tmp_path, undisturbed[0])


def test_evaluation_selects_the_joints_of_a_set_by_name(tiny_ucla, own, undisturbed, tmp_path):
    found = {}
    for name in ("nwucla", own):
        config = knn.get_config(name)
        config.data_dir, config.pretrained = str(tiny_ucla), str(undisturbed[0])
        found[name] = evaluate.run(config, tmp_path / name.strip("/"))
    assert "adaptation" not in found["nwucla"] or not found["nwucla"]["adaptation"]
    assert found[own]["adaptation"]["new"] == []
    assert found[own]["adaptation"]["joints"]["spine middle"] == "spine"


def test_an_encoder_of_several_sets_is_told_whose_joints_the_files_have(own, undisturbed):
    folder, _ = undisturbed
    with pytest.raises(UserError, match=r"expected --dataset=NAME, one of nwucla, .*kinect_20"):
        load.load_model(folder)
    model = load.load_model(folder, dataset=own)
    assert model.input.layout == "openni_15"
    assert (model.input.max_frames, model.encoder.num_joints) == (27, 15)
    learned, _, _ = checkpoint.load_encoder(folder)
    rows = model.variables["params"]["encoder"]["position"]["joint"]
    np.testing.assert_array_equal(rows[2], learned["position"]["joint"][1])  # the spine
    assert load.load_model(folder, dataset="nwucla").input.layout == "kinect_20"
    with pytest.raises(UserError, match="lacks joints of ntu_25"):
        load.load_model(folder, dataset="ntu60_xsub")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nwucla+utdd", "unknown data set 'utdd'.* Did you mean utd?"),
        ("nwucla+nwucla_xsub", "nwucla and nwucla_xsub are one data set"),
        ("utd+utd", "utd and utd are one data set"),
        ("utd+kard,published", "nothing is published on several sets"),
        ("utd+", "unknown data set ''"),
    ],
)
def test_sets_that_cannot_be_one_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        amr.get_config(text)


def test_an_evaluation_is_of_one_set():
    with pytest.raises(UserError, match="expected one of them: utd, kard"):
        knn.get_config("utd+kard")


def test_a_split_that_one_of_the_sets_lacks_names_it(tiny_ucla, own):
    config = mixed(tiny_ucla, own, **{"input.split": "train[subject!=77]"})
    with pytest.raises(UserError, match=r"nwucla, one of nwucla\+.*no sequence has subject 77"):
        opened(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.mask_ratio": 0.2}, "bodies of kard have 180"),
        ({"input.stream": "bone"}, "'left hip' of kard is not the end of the same bone"),
    ],
)
def test_settings_that_not_all_sets_allow(changes, message, tmp_path):
    config = amr.get_config("utd+kard")
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        pretrain.run(config, tmp_path)


def test_small_sets_share_the_small_model():
    one, several = amr.get_config("utd"), amr.get_config("kard+utd+florence")
    assert several.input.max_frames == 310
    several.dataset, several.input.max_frames = one.dataset, one.input.max_frames
    assert several == one
    assert amr.get_config("utd+ntu60_xsub").encoder.width == 256
