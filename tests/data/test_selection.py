"""Parts of a split by subject or camera."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401 - registers the builders
from amr_jax.config import base
from amr_jax.data import datasets, records, selection
from amr_jax.data.selection import Selection
from amr_jax.errors import UserError
from tfds_builders.nw_ucla import nw_ucla_dataset_builder

COLUMNS = {"subject": np.array(["1", "2", "ann", "1"]), "camera": np.array(["1", "1", "2", "2"])}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("train[subject=1]", [0, 3]),
        ("train[subject=1,ann]", [0, 2, 3]),
        ("train[subject != 1, ann]", [1]),
        ("train [subject=2]", [1]),
        ("test[camera!=2]", [0, 1]),
    ],
)
def test_places(text, places):
    assert Selection.parse(text).places(COLUMNS).tolist() == places


@pytest.mark.parametrize(
    "text", ["train", "train[:64]", "train[10%:]", "train[subject]", "x[=1]", "train[subject==1]"]
)
def test_other_forms_are_left_to_tfds(text):
    assert Selection.parse(text) is None


def test_values_with_blanks():
    columns = {"subject": np.array(["p 1", "p 2"])}
    assert Selection.parse("train[subject!=p 1]").places(columns).tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train[view=1]", "no field 'view'; the records have: subject, camera"),
        ("train[subject=1,9]", r"no sequence has subject 9; found 1, 2, ann"),
        ("train[subject!=1,2,ann]", "no sequence is left"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(ValueError, match=message):
        Selection.parse(text).places(COLUMNS)


def read(data_dir, split):
    return records.Records(data_dir, "nw_ucla/xview", split, None, 201)


def test_records(tiny_ucla):
    """The two parts make the whole; a sequence is the same by its place in the part."""
    whole = read(tiny_ucla, "train")
    names = [e["name"] for e in whole.examples(np.arange(len(whole)))]
    subjects = {int(name[5:7]) for name in names}
    (one, *_) = subjects
    parts = {}
    for sign in ("=", "!="):
        part = read(tiny_ucla, f"train[subject{sign}{one}]")
        parts[sign] = list(part.examples(np.arange(len(part))))
        part.verify(np.array([0]))
        np.testing.assert_array_equal(part.joints(0), parts[sign][0]["joints"])
        for example in parts[sign]:
            place = names.index(example["name"])
            np.testing.assert_array_equal(example["joints"], whole.joints(place))
    assert {int(e["name"][5:7]) for e in parts["="]} == {one}
    assert len(parts["="]) + len(parts["!="]) == len(whole)
    assert not {e["name"] for e in parts["="]} & {e["name"] for e in parts["!="]}


def test_an_error_names_records_and_split(tiny_ucla):
    with pytest.raises(UserError, match=r"xview.*split 'train\[subject=99\]': no sequence has"):
        read(tiny_ucla, "train[subject=99]")


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train[validation]", "train[subject=9,10]"),
        ("train [ !validation ]", "train[subject!=9,10]"),
        ("train", "train"),
        ("train[:80%]", "train[:80%]"),
        ("train[camera=1]", "train[camera=1]"),
    ],
)
def test_the_part_for_validation(split, expected):
    assert selection.of_validation(split, "subject=9,10", "nw_ucla/xview") == expected


def test_a_set_without_one(tiny_ucla):
    section = base.pretraining("amr", "ntu60_xsub").input
    with pytest.raises(UserError, match=r"ntu_rgbd60/xsub: split 'train\[validation\]': this data"):
        datasets.get("ntu60_xsub").open_split("data", "train[validation]", section)


@pytest.mark.parametrize("name", [n for n, row in datasets.DATASETS.items() if row.validation])
def test_validation_is_a_part_of_training(name):
    """At most two of the subjects that the protocol trains on, and at most a quarter of them."""
    row = datasets.get(name)
    dataset, protocol = row.records.split("/")
    is_ucla = dataset == "nw_ucla"
    of = nw_ucla_dataset_builder if is_ucla else tfds.builder_cls(dataset)
    train = [s for s in range(1, 11) if of.split(protocol, {"subject": s, "camera": 1}) == "train"]
    chosen = Selection.parse(selection.of_validation("train[validation]", row.validation, name))
    assert {int(value) for value in chosen.values} < set(train)
    assert len(chosen.values) <= max(1, len(train) // 4)


def test_validation_opens_two_parts_of_the_training_split(tiny_ucla):
    row = dataclasses.replace(datasets.get("nwucla"), validation="subject=2")
    section = base.pretraining("amr", "nwucla").input
    names = []
    for split in ("train[validation]", "train[!validation]", "train"):
        opened = row.open_split(str(tiny_ucla), split, section)
        names.append({e["name"] for e in opened.examples(np.arange(len(opened)))})
    assert {name[4:7] for name in names[0]} == {"s02"}
    assert {name[4:7] for name in names[1]} == {"s01"}
    assert names[0] | names[1] == names[2]
