"""Several data sets as one: NW-UCLA (20 joints, one body) and NTU RGB+D (25 joints, two bodies)."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.config import base
from amr_jax.data import batches, datasets, order, split
from amr_jax.errors import UserError
from amr_jax.run import sharding
from amr_jax.skeleton import layouts

SETS = ("nwucla", "ntu60_xsub")
BOTH = "+".join(SETS)
# Where names differ: a joint of NW-UCLA, and NTU's name of it.
ALSO = {
    "hip centre": "spine base",
    "spine": "spine middle",
    "shoulder centre": "spine shoulder",
}
OWN = [layouts.NTU_25.joints.index(ALSO.get(j, j)) for j in layouts.KINECT_20.joints]


@pytest.fixture(scope="module")
def data_dir(tiny_ucla, tiny_ntu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    (folder / "nw_ucla").symlink_to(tiny_ucla / "nw_ucla")
    (folder / "ntu_rgbd60").symlink_to(tiny_ntu / "ntu_rgbd60")
    return str(folder)


def opened(data_dir, name=BOTH, part="train", **changes):
    section = base.pretraining("amr", name).input
    section.update(changes)
    return datasets.get(name).open_split(data_dir, part, section)


def test_sequences_are_those_of_each_set_on_the_joints_of_both(data_dir):
    mixed, (ucla, ntu) = opened(data_dir), (opened(data_dir, name) for name in SETS)
    assert mixed.sizes == (len(ucla), len(ntu))
    assert len(mixed) == len(ucla) + len(ntu)
    assert (mixed.num_slots, mixed.num_joints, mixed.num_channels) == (2, 25, 3)
    # Any order, so that sets take turns.
    wanted = [len(ucla), 0, 1, len(ucla) + 1, len(ucla) - 1]
    found = list(mixed.examples(np.array(wanted)))
    own = [*ucla.examples(np.array([0, 1, len(ucla) - 1]))]
    expected = [*ntu.examples(np.array([0, 1]))]
    for at, example in ((1, own[0]), (2, own[1]), (4, own[2])):
        joints = found[at]["joints"]
        np.testing.assert_array_equal(joints[:, 0, OWN], example["joints"][:, 0])
        assert not np.delete(joints, OWN, axis=2).any()
        assert not joints[:, 1].any()
        assert found[at]["present"].tolist() == [True, False]
        assert found[at]["name"] == f"nwucla/{example['name']}"
        name = mixed.class_names[found[at]["label"]]
        assert name == f"nwucla/{ucla.class_names[example['label']]}"
        np.testing.assert_array_equal(mixed.joints(wanted[at]), joints)
    for at, example in ((0, expected[0]), (3, expected[1])):
        np.testing.assert_array_equal(found[at]["joints"], example["joints"])
        np.testing.assert_array_equal(found[at]["present"], example["present"])
        name = mixed.class_names[found[at]["label"]]
        assert name == f"ntu60_xsub/{ntu.class_names[example['label']]}"
    has = np.array(mixed.has_joints)
    assert has[: len(ucla)].sum(axis=1).tolist() == [20] * len(ucla)
    assert has[0, OWN].all()
    assert has[len(ucla) :].all()


def test_each_set_is_cut_at_its_own_frames_and_at_most_at_the_settings(data_dir):
    longest = {}
    for frames in (300, 9):
        mixed = opened(data_dir, max_frames=frames)
        lengths = [len(example["joints"]) for example in mixed.examples(np.arange(len(mixed)))]
        longest[frames] = max(lengths)
    assert longest[9] == 9 < longest[300]
    row = datasets.get(BOTH)
    section = base.pretraining("amr", BOTH).input
    assert row.members["nwucla"].cut(section).max_frames == 201
    assert section.max_frames == 300


def test_an_error_names_the_set(data_dir):
    with pytest.raises(UserError, match=r"^nwucla, one of nwucla\+ntu60_xsub: .*no field 'setup'"):
        opened(data_dir, part="train[setup=1]")


def test_a_field_selects_in_every_set(data_dir):
    whole, one, rest = (opened(data_dir, part=p) for p in ("train", *PARTS))
    assert np.add(one.sizes, rest.sizes).tolist() == list(whole.sizes)
    assert min(one.sizes) > 0


PARTS = ("train[camera=1]", "train[camera!=1]")


@pytest.mark.parametrize("storage", ["float32", "int16"])
@pytest.mark.parametrize(
    ("bodies", "mixture"), [("packed", "proportional"), ("packed", "balanced"), ("all", "balanced")]
)
def test_streamed_resident_and_devices_agree(data_dir, storage, bodies, mixture):
    found = {}
    for mode, count in (("resident", 1), ("resident", 4), ("stream", 2)):
        mesh = sharding.make_mesh(jax.devices()[:count])
        data = batches.load(
            opened(data_dir),
            mesh,
            mode=mode,
            storage=storage,
            bodies=bodies,
            second_body="zeros",
            mixture=mixture,
            batch_size=8,
            seed=0,
        )
        batch = jax.tree.map(lambda x: x[1], next(data.batches(2, 6, 2)))
        found[mode, count] = jax.device_get(jax.jit(data.clips)(data.resident, batch))
    first = found["resident", 1]
    for other in found.values():
        jax.tree.map(np.testing.assert_array_equal, first, other)
    clips, _, joints, sequences = first
    assert joints.shape == (8, 25)
    assert set(joints.sum(axis=1).tolist()) <= {20, 25}
    assert not np.where(joints[:, None, None, :, None], 0, clips).any()
    assert sequences.shape == (8,)
    assert (sequences >= 0).all()
    if mixture == "balanced":
        assert joints.sum(axis=1).tolist() == [20, 25] * 4


def test_one_set_alone_tells_no_joints(data_dir):
    host = split.read(opened(data_dir, "nwucla"), sharding.make_mesh(jax.devices()[:1]))
    assert host.joints is None
    same = opened(data_dir, "nwucla").has_joints
    assert same is None
    assert order.take_turns(host, order.units(host, "packed", "zeros"), "balanced") == (40,)


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    batch=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_groups_take_turns_each_in_permutations_of_its_own(counts, batch, seed):
    drawn = order.Order(counts, batch, seed)
    rounds = 2 * max(counts) * len(counts)
    stream = np.concatenate([drawn.batch(step) for step in range(rounds // batch + 1)])
    assert [drawn.unit(i) for i in range(len(stream))] == stream.tolist()
    first = np.cumsum([0, *counts])
    for group, count in enumerate(counts):
        own = stream[group :: len(counts)] - first[group]
        for start in range(0, len(own) - count + 1, count):
            assert sorted(own[start : start + count].tolist()) == list(range(count))
