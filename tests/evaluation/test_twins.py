"""Twins: which sequences show one performance, and neighbours without them."""

import dataclasses
import re
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax.data import datasets
from amr_jax.evaluation import neighbours, report
from amr_jax.evaluation.protocols import PROTOCOLS, knn, retrieval
from amr_jax.evaluation.twins import Twins
from tests.evaluation import tiny


def split(names, labels):
    bodies = tiny.make_bodies([(True, False)] * len(names), label=labels)
    return dataclasses.replace(bodies, names=np.array(names))


@pytest.mark.parametrize(
    ("dataset", "same", "other"),
    [
        (
            "nwucla",
            ["a01_s02_e03_v01", "a01_s02_e03_v03"],
            ["a01_s02_e04_v01", "a01_s03_e03_v01", "a02_s02_e03_v01"],
        ),
        (
            "ntu60_xview",
            ["S001C001P002R001A003", "S001C003P002R001A003"],
            ["S002C001P002R001A003", "S001C001P003R001A003", "S001C001P002R002A003"],
        ),
        ("pku1_xview", ["0002-L_000", "0002-M_001"], ["0003-L_000"]),  # numbers may differ
        ("pku2_xview", ["A01N02-L_000", "A01N02-R_000"], ["A01N03-L_000", "A02N02-L_000"]),
    ],
)
def test_performances(dataset, same, other):
    of = datasets.get(dataset).performance
    assert len({of(name) for name in same}) == 1
    assert len({of(name) for name in [same[0], *other]}) == 1 + len(other)


def test_splits_by_hand():
    train = split(["a01_s01_e00_v01", "a01_s01_e00_v02", "a02_s01_e00_v01"], [0, 0, 1])
    test = split(["a01_s01_e00_v03", "a02_s01_e01_v03"], [0, 1])
    twins = Twins.of(datasets.get("nwucla"), train, test)
    assert (twins.train.tolist(), twins.test.tolist()) == ([0, 0, 1], [0, 2])
    assert twins.count == 1
    assert "1 of 2 test sequences" in twins.describe()
    # One camera; names of another performance; and two actions of one recording of PKU-MMD.
    assert Twins.of(datasets.get("utd"), train, test) is None
    alone = split(["a01_s02_e00_v03"], [0])
    assert Twins.of(datasets.get("nwucla"), train, alone) is None
    recording = split(["0002-L_000", "0002-L_001"], [0, 1])
    seen = split(["0002-R_000"], [1])
    assert Twins.of(datasets.get("pku1_xview"), recording, seen).count == 1


def test_only_sets_of_several_cameras_have_them():
    """In no protocol by subject can there be any."""
    several = {name for name, row in datasets.DATASETS.items() if row.camera}
    assert several == {
        name
        for name in datasets.DATASETS
        if name.startswith(("ntu", "pku", "nwucla")) or name == "synthetic"
    }


@pytest.mark.parametrize("devices", [1, 8])
def test_left_out_of_the_bank(devices):
    """Query i is nearest to sequence i, its twin; then to i + 1, and so on."""
    angles = np.arange(6) * 0.1
    bank = jnp.float32(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    queries = bank[:5] + jnp.array([0.0, 1e-3])  # a little nearer to the next than to the last
    twins = Twins(np.arange(6, dtype=np.int32), np.array([0, 1, 2, 3, 9], np.int32))
    labels = jnp.arange(6, dtype=jnp.int32)

    def compared(compare, *options, without):
        return neighbours.compared(
            compare,
            (queries, labels[:5]),
            (bank, labels),
            *options,
            mesh=tiny.mesh(devices),
            twins=twins if without else None,
            block_elements=12,
        )

    assert compared(knn.nearest, 1, without=False).tolist() == [0, 1, 2, 3, 4]
    assert compared(knn.nearest, 1, without=True).tolist() == [1, 2, 3, 4, 4]
    nearest, precision = compared(retrieval.rank, without=True)
    assert nearest.tolist() == [1, 2, 3, 4, 4]
    # The one sequence of a query's class is its twin, except that of the last query.
    assert precision.tolist() == [0, 0, 0, 0, 1]


def test_what_is_left_out_has_no_vote():
    similarity, labels = jnp.array([[-jnp.inf, 0.1, -jnp.inf]]), jnp.array([2, 1, 2])
    assert knn.nearest(similarity, labels, labels[:1], 3).tolist() == [1]


@pytest.mark.parametrize("devices", [1, 8])
def test_protocols_give_both(devices):
    """Test sequences are training sequences, called by another camera: each is its own nearest."""
    labels = np.arange(8) % 3
    train = split([f"a01_s01_e{i:02}_v01" for i in range(8)], labels)
    test = dataclasses.replace(train, names=np.char.replace(train.names, "v01", "v03"))
    task = tiny.make_task(train, test, devices=devices)
    task = dataclasses.replace(task, twins=Twins.of(datasets.get("nwucla"), train, test))
    config = tiny.neighbours_config()
    features = tiny.first_frames(train).mean(axis=1).astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cosine = features @ features.T
    np.fill_diagonal(cosine, -2)
    expected = (labels[cosine.argmax(axis=1)] == labels).mean()

    found = knn.run(task, config, lambda *_: None).metrics
    assert found["top1"] == 1
    assert found["top1_without_twins"] == pytest.approx(expected)
    found = retrieval.run(task, config, lambda *_: None).metrics
    assert found["top1"] == 1
    assert found["top1_without_twins"] == pytest.approx(expected)
    ranks = np.argsort(-cosine, axis=1)[:, :-1]
    precisions = []
    for label, ranked in zip(labels, labels[ranks], strict=True):
        places = np.flatnonzero(ranked == label) + 1
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
    assert found["mean_average_precision_without_twins"] == pytest.approx(np.mean(precisions))
    assert found["mean_average_precision"] > np.mean(precisions)


def test_tables_have_the_column_only_where_there_are_twins():
    plain = {"random": {"top1": 0.5, "feature_std": 0.1}}
    columns = PROTOCOLS["knn"].columns
    assert "twins" not in report.table(plain, columns)
    both = {"random": {**plain["random"], "top1_without_twins": 0.25}}
    assert re.search(r"random .*50\.00 .* 25\.0 ", report.table(both, columns))


def test_north_western_ucla(shared_data):
    """458 of the 464 sequences of camera 3 were seen by camera 1 or 2."""
    archive = shared_data / "nw_ucla_all_sqe.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    members = zipfile.ZipFile(archive).namelist()
    names = sorted(
        match[0] for name in members if (match := re.search(r"a\d+_s\d+_e\d+_v\d+", name))
    )
    assert len(names) == 1484

    def part(cameras=(1, 2, 3), subjects=range(1, 11)):
        of = [n for n in names if int(n[-2:]) in cameras and int(n[5:7]) in subjects]
        return split(of, [int(name[1:3]) for name in of])

    row = datasets.get("nwucla")
    assert Twins.of(row, part((1, 2)), part((3,))).count == 458
    assert Twins.of(row, part(subjects=(1, 3, 5, 7, 9)), part(subjects=(2, 4, 6, 8, 10))) is None
    # By the definition: action, subject and repetition are the same.
    seen = {name[:-4] for name in names if not name.endswith("v03")}
    assert sum(name[:-4] in seen for name in names if name.endswith("v03")) == 458
