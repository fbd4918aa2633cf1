"""Who and what was found: from files to loaded sequences, with every alteration told."""

import json
import pickle
import re

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_jax import prepare
from amr_jax.data import datasets, fixed_point, order, records
from amr_jax.data.readers import files, ntu, nw_ucla, pku
from amr_jax.data.split import Split
from amr_jax.errors import BadFile, UserError
from amr_jax.ops import presence
from tests import custom_sets, raw_sets
from tests.data.readers import ntu_files
from tests.data.readers.test_layout_file import PUPPET

FRAMES, CLIPS = 8, 4


def entry(number, bodies=1, scale=1.0):
    """A sequence of COCO-17 in an image of which everything was found."""
    rng = np.random.default_rng(number)
    return {
        "frame_dir": f"clip{number}",
        "label": number % 2,
        "total_frames": FRAMES,
        "keypoint": rng.uniform(50, 500, size=(bodies, FRAMES, 17, 2)).astype(np.float32),
        "keypoint_score": (scale * rng.uniform(0.5, 1, (bodies, FRAMES, 17))).astype(np.float32),
    }


def exchange(change=None, **how):
    """Four sequences, two of them for training; `change` alters places and scores of clip0."""
    entries = [entry(number, **how) for number in range(CLIPS)]
    if change is not None:
        change(entries[0]["keypoint"], entries[0]["keypoint_score"])
    names = [sample["frame_dir"] for sample in entries]
    return {"split": {"train": names[:2], "val": names[2:]}, "annotations": entries}


def run(content, folder, **options):
    """Prepares a pickle; returns its row of the table of data sets, and the metadata."""
    raw = custom_sets.write_pickle(folder / "raw" / "set.pkl", content)
    how = {"name": "d", "layout": "coco_17", "channels": "xyc", "num_workers": 1}
    prepare.prepare("custom", raw, folder / "data", **how | options)
    out = folder / "data" / "custom" / "d"
    return datasets.get(str(out)), json.loads((out / "1.0.0" / "metadata.json").read_text())


def stored(row, split="train"):
    """Name -> joints as in the records."""
    source = tfds.builder_from_directory(f"{row.records}/1.0.0").as_data_source(split)
    return {example["name"].decode(): example["joints"] for example in source}


def loaded(row, split="train", centre=True):
    """Name -> the example as runs load it."""
    section = records.Records(
        "", row.records, split, row.layout.centre if centre else None, row.max_frames
    )
    return {e["name"]: e for e in section.examples(np.arange(len(section)))}


def at_corner(places, scores):
    places[0, 2:4, 5] = 0


def at_corner_and_unsure(places, scores):
    places[0, 2:4, 5], scores[0, 2:4, 5] = 0, 0


def nan_without_score(places, scores):
    places[0, 2:4, 5], scores[0, 2:4, 5] = np.nan, 0


def nan_x_without_score(places, scores):
    places[0, 2:4, 5, 0], scores[0, 2:4, 5] = np.nan, 0


def nan_with_nan_score(places, scores):
    places[0, 2:4, 5], scores[0, 2:4, 5] = np.nan, np.nan


def corner_with_nan_score(places, scores):
    places[0, 2:4, 5], scores[0, 2:4, 5] = 0, np.nan


def place_without_score(places, scores):
    scores[0, 2:4, 5] = 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (at_corner, "at_corner"),
        (at_corner_and_unsure, None),
        (nan_without_score, "not_numbers"),
        (nan_x_without_score, "not_numbers"),
        (nan_with_nan_score, "not_numbers"),
        (corner_with_nan_score, "not_numbers"),
        (place_without_score, None),
    ],
)
@pytest.mark.parametrize("centre", [True, False])
def test_key_points_that_were_not_found(tmp_path, capsys, change, told, centre):
    row, metadata = run(exchange(change), tmp_path / "one")
    out = capsys.readouterr().out
    assert metadata.get("findings", {}) == ({told: {"count": 2, "sequences": 1}} if told else {})
    assert ("note: 2 key points" in out) == (told is not None)
    found = loaded(row, centre=centre)["clip0"]["joints"]
    np.testing.assert_array_equal(found[2:4, 0, 5], 0)

    def erased(places, scores):
        places[0, 2:4, 5], scores[0, 2:4, 5] = 0, 0

    plain, _ = run(exchange(erased), tmp_path / "other")
    np.testing.assert_array_equal(loaded(plain, centre=centre)["clip0"]["joints"], found)
    # The rest is as in the file.
    content = exchange()["annotations"][0]
    rest = np.ones((FRAMES, 1, 17), bool)
    rest[2:4, 0, 5] = False
    joints = stored(row)["clip0"]
    np.testing.assert_array_equal(joints[rest][:, :2], content["keypoint"].swapaxes(0, 1)[rest])
    np.testing.assert_array_equal(
        joints[rest][:, 2], content["keypoint_score"].swapaxes(0, 1)[rest]
    )


def test_places_alone_know_what_was_not_found(tmp_path, capsys):
    row, metadata = run(exchange(place_without_score), tmp_path, channels="xy")
    assert metadata["findings"] == {"score_0": {"count": 2, "sequences": 1}}
    assert "2 key points with score 0 in 1 sequences: zeros" in capsys.readouterr().out
    np.testing.assert_array_equal(loaded(row)["clip0"]["joints"][2:4, 0, 5], 0)


def padded(start=0, end=0, between=(), junk=None):
    """Appends frames without anybody; `junk` fills them with what is nobody all the same."""

    def change(sample):
        for key in ("keypoint", "keypoint_score"):
            values = sample[key]
            blank = np.zeros_like(values[:, :1])
            frames = [blank] * start
            for at in range(FRAMES):
                frames += [blank] * (at in between) + [values[:, at : at + 1]]
            sample[key] = np.concatenate(frames + [blank] * end, axis=1)
        empty = ~sample["keypoint_score"].any(axis=(0, 2))
        if junk:
            places, score = junk
            sample["keypoint"][:, empty], sample["keypoint_score"][:, empty] = places, score
        sample["total_frames"] = len(empty)
        return np.count_nonzero(empty)

    return change


@pytest.mark.parametrize(
    "change",
    [
        padded(start=3),
        padded(end=5),
        padded(between=(2, 5, 6)),
        padded(1, 1, (4,)),
        padded(2, 2, (1,), junk=(7, 0)),  # places without confidence
        padded(2, 2, (1,), junk=(0, 0.9)),  # the corner of the image
        padded(2, 2, (1,), junk=(np.nan, 0)),
    ],
)
def test_frames_without_anybody_are_left_out(tmp_path, capsys, change):
    content = exchange(bodies=2)
    empty = sum(change(sample) for sample in content["annotations"][1:])
    row, metadata = run(content, tmp_path / "padded")
    assert metadata["findings"]["empty_frames"] == {"count": empty, "sequences": 3}
    assert metadata["longest"] == FRAMES
    wanted = f"note: {empty} frames without anybody in 3 sequences: left out."
    assert wanted in capsys.readouterr().out
    plain, _ = run(exchange(bodies=2), tmp_path / "plain")
    for split in ("train", "test"):
        expected = stored(plain, split)
        for name, joints in stored(row, split).items():
            np.testing.assert_array_equal(joints, expected[name])


@pytest.mark.parametrize("channels", ["xy", "xyc"])
def test_a_joint_at_the_origin_of_a_loaded_sequence_was_found(tmp_path, channels):
    layout = tmp_path / "puppet.json"
    layout.write_text(json.dumps(PUPPET | {"centre": PUPPET["joints"][:1]}))
    joints = np.random.default_rng(0).uniform(0.1, 1, size=(9, 1, 5, len(channels)))
    joints[3, 0, 2] = 0
    custom_sets.write_npz(tmp_path / "raw", joints=joints)
    how = {"name": "d", "layout": str(layout), "channels": channels, "num_workers": 1}
    prepare.prepare("custom", tmp_path / "raw", tmp_path / "data", **how)
    found = loaded(datasets.get(str(tmp_path / "data/custom/d")))["a"]["joints"][:, 0]
    np.testing.assert_allclose(found[0, 0, :2], 0, atol=2e-4)  # the origin, in sizes of the body
    for clip in (found, fixed_point.decode(*fixed_point.encode(found))):
        here = presence.of_clip(jnp.asarray(clip), confidence=channels == "xyc")
        np.testing.assert_array_equal(here, joints[:, 0].any(axis=-1))


@pytest.mark.parametrize("channels", ["xyz", "xy", "xyc"])
def test_padding_of_npz_files(tmp_path, channels):
    joints = np.random.default_rng(0).uniform(0.1, 1, size=(9, 2, 17, len(channels)))
    joints[[0, 1, 4, 8]] = 0
    joints[2:4, 0] = 0  # the second body is there
    custom_sets.write_npz(tmp_path / "raw", joints=joints)
    how = {"name": "d", "layout": "coco_17", "channels": channels, "num_workers": 1}
    prepare.prepare("custom", tmp_path / "raw", tmp_path / "data", **how)
    row = datasets.get(str(tmp_path / "data/custom/d"))
    np.testing.assert_array_equal(stored(row)["a"], joints[[2, 3, 5, 6, 7]].astype(np.float32))


def test_a_sequence_of_nobody_is_left_out_and_listed(tmp_path):
    def nobody(places, scores):
        places[:, :4], scores[:, 4:] = 0, 0

    row, _ = run(exchange(nobody), tmp_path)
    assert set(stored(row)) == {"clip1"}
    (sample,) = json.loads((tmp_path / "data/custom/d/left_out.json").read_text())
    assert (sample["name"], sample["why"]) == ("clip0", "no body in any frame")


def in_slots(*slots_by_frame):
    """Clips of one person in a pickle with four slots: in each frame in one of them, or in none."""
    content = exchange()
    for sample in content["annotations"]:
        for key in ("keypoint", "keypoint_score"):
            values = sample[key]
            sample[key] = np.zeros((4, *values.shape[1:]), np.float32)
            for frame, slot in enumerate(slots_by_frame):
                if slot is not None:
                    sample[key][slot, frame] = values[0, frame]
    return content


@pytest.mark.parametrize(
    ("slots", "first"),
    [
        ((2,) * 8, 2),
        ((1, 1, 1, 1, 3, 3, 3, 3), 1),
        ((3, 3, 3, 1, 1, 1, 1, 1), 1),
        ((None, 3, 3, None, 0, 0, 0, None), 0),
    ],
)
def test_the_first_actor_is_in_the_first_slot_that_is_ever_occupied(tmp_path, slots, first):
    row, _ = run(in_slots(*slots), tmp_path)
    example = loaded(row)["clip0"]
    joints, kept = example["joints"], [slot for slot in slots if slot is not None]
    assert len(joints) == len(kept)
    np.testing.assert_array_equal(np.flatnonzero(example["present"]), sorted(set(kept)))
    frames = [frame for frame, slot in enumerate(slots) if slot is not None]
    alone = exchange()["annotations"][0]["keypoint"][0, frames].astype(np.float64)
    hips, mine = list(row.layout.centre), np.array(kept) == first
    spread = alone[mine] - alone[mine].mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(spread).sum(-1).mean())
    origin = alone[mine][0, hips].mean(axis=0)
    found = joints[np.arange(len(kept)), kept, :, :2]
    np.testing.assert_allclose(found, (alone - origin) / size, atol=1e-5)


def test_a_copy_of_the_first_body_where_the_first_slot_is_empty():
    present = np.array([[False, True, False], [False, True, True], [True, False, False]])
    split = Split(
        frames=None,
        own=np.arange(3),
        length=np.full(4, 5),
        present=present,
        label=np.zeros(3, np.int32),
        names=np.array(["a", "b", "c"]),
        class_names=("x",),
    )
    np.testing.assert_array_equal(
        order.units(split, "all", "repeat"), [[0, 0, 0], [1, 1, 2], [3, 3, 3]]
    )


def flags_named(message):
    """The ways that an error names: `--scores=10`, and `--channels=xy`."""
    return {match[1]: match[2] for match in re.finditer(r"--(scores|channels)=(\w+)", message)}


def test_scores_above_one_are_read_by_what_the_error_names(tmp_path, capsys):
    content = exchange(scale=6.5)
    with pytest.raises(BadFile, match=r"found the confidence .*--scores=10.*--channels=xy") as bad:
        run(content, tmp_path / "none")
    assert "xyz" not in str(bad.value)  # the scores are an array of their own
    capsys.readouterr()
    score = content["annotations"][0]["keypoint_score"][0]
    for scores in ("10", "4", "6.5"):
        row, metadata = run(content, tmp_path / scores, scores=scores)
        assert (row.scores, metadata["scores"]) == (float(scores), float(scores))
        expected = np.minimum(score, float(scores)) / float(scores)
        found = stored(row)["clip0"][:, 0, :, 2]
        np.testing.assert_array_equal(found, expected.astype(np.float32))
        cut = np.count_nonzero(
            [a["keypoint_score"] > float(scores) for a in content["annotations"]]
        )
        assert metadata.get("findings", {}) == (
            {"cut_scores": {"count": cut, "sequences": CLIPS}} if cut else {}
        )
        assert ("scores above --scores in 4 sequences" in capsys.readouterr().out) == (cut > 0)
    row, _ = run(content, tmp_path / "xy", channels="xy")
    np.testing.assert_array_equal(
        stored(row)["clip0"][:, 0], content["annotations"][0]["keypoint"][0]
    )


def test_a_score_as_the_third_number_of_a_joint(tmp_path):
    content = exchange(scale=5)
    for sample in content["annotations"]:
        score = sample.pop("keypoint_score")[..., None]
        sample["keypoint"] = np.concatenate([sample["keypoint"], score], axis=-1)
    with pytest.raises(BadFile, match=r"--scores=drop .*use xyz for a coordinate") as bad:
        run(content, tmp_path / "none")
    assert {"scores", "channels"} <= flags_named(str(bad.value)).keys()
    with pytest.raises(BadFile, match=r"2 channels xy\)\. .*--scores=drop"):
        run(content, tmp_path / "none", channels="xy")
    row, metadata = run(content, tmp_path / "xy", channels="xy", scores="drop")
    assert (row.scores, metadata["channels"]) == ("drop", "xy")
    given = content["annotations"][0]["keypoint"][0]
    np.testing.assert_array_equal(stored(row)["clip0"][:, 0], given[..., :2])
    row, _ = run(content, tmp_path / "xyc", scores="10")
    np.testing.assert_array_equal(stored(row)["clip0"][:, 0, :, 2], given[..., 2] / np.float32(10))


def test_negative_scores_of_a_detector_whose_scores_are_told(tmp_path):
    def negative(places, scores):
        scores[0, 2:4, 5] = -0.7

    with pytest.raises(BadFile, match=r"confidence -0\.7; expected 0 to 1.*--scores"):
        run(exchange(negative), tmp_path / "none")
    row, metadata = run(exchange(negative, scale=6), tmp_path / "told", scores="10")
    assert metadata["findings"] == {"negative_scores": {"count": 2, "sequences": 1}}
    np.testing.assert_array_equal(loaded(row)["clip0"]["joints"][2:4, 0, 5], 0)


def put(place=None, score=None):
    def change(places, scores):
        if place is not None:
            places[0, 3, 4] = place
        if score is not None:
            scores[0, 3, 4] = score

    return change


@pytest.mark.parametrize(
    ("change", "channels", "message"),
    [
        (put(place=np.nan), "xyc", "found nan in frame 3, body 0, joint 4, channel x"),
        (put(place=(9, np.nan)), "xyc", "found nan in frame 3, body 0, joint 4, channel y"),
        (put(place=np.inf, score=0), "xyc", "found inf in frame 3, body 0, joint 4, channel x"),
        (put(score=np.nan), "xyc", "found nan in frame 3, body 0, joint 4, channel c"),
        (put(score=np.inf), "xyc", "found inf in frame 3, body 0, joint 4, channel c"),
        (put(place=np.nan), "xy", "found nan in frame 3, body 0, joint 4, channel x"),
        (put(score=-1), "xyc", "found the confidence -1"),
        (put(place=0, score=3), "xyc", "found the confidence 3"),
    ],
)
def test_numbers_that_mean_nothing_are_named(tmp_path, change, channels, message):
    with pytest.raises(BadFile, match=rf"set\.pkl, clip0: {re.escape(message)}"):
        run(exchange(change), tmp_path, channels=channels)


@pytest.mark.parametrize(
    ("channels", "scores"),
    [
        ("xyz", "10"),
        ("xy", "10"),
        ("xyz", "drop"),
        ("xyc", "drop"),
        *(("xyc", scores) for scores in ("0", "-1", "nan", "inf", "ten", "1e999", "1e-320")),
    ],
)
def test_scores_that_do_not_fit(tmp_path, channels, scores):
    with pytest.raises(UserError, match=f"--scores is '{scores}' and --channels is '{channels}'"):
        run(exchange(), tmp_path, channels=channels, scores=scores)


def test_records_made_with_other_scores_are_not_mixed(tmp_path):
    run(exchange(), tmp_path)
    with pytest.raises(
        UserError, match=r"made with {'scores': None}.*asked for: {'scores': 10\.0}"
    ):
        run(exchange(), tmp_path, scores="10")
    row, _ = run(exchange(), tmp_path)
    assert row.scores is None


def test_whole_bodies_in_space_may_be_nan_where_all_scores_are_zero(tmp_path):
    rng = np.random.default_rng(0)
    joints, confidence = rng.normal(size=(5, 2, 17, 3)), rng.uniform(0.5, 1, size=(5, 2, 17))
    joints[1:3, 1], confidence[1:3, 1] = np.nan, 0
    how = {"name": "d", "layout": "coco_17", "channels": "xyz", "num_workers": 1}
    custom_sets.write_npz(tmp_path / "raw", joints=joints, confidence=confidence)
    prepare.prepare("custom", tmp_path / "raw", tmp_path / "data", **how)
    found = stored(datasets.get(str(tmp_path / "data/custom/d")))["a"]
    np.testing.assert_array_equal(found, np.nan_to_num(joints).astype(np.float32))
    confidence[1, 1, 0] = 0.5  # one joint is said to be there
    custom_sets.write_npz(tmp_path / "raw", joints=joints, confidence=confidence)
    with pytest.raises(BadFile, match="nan in frame 1, body 1, joint 0"):
        prepare.prepare("custom", tmp_path / "raw", tmp_path / "other", **how)


def test_empty_frames_of_nw_ucla(tmp_path):
    name, joints = "a01_s01_e00_v01", np.random.default_rng(0).normal(size=(6, 20, 3))
    joints[[0, 3, 5]] = 0
    content = {"file_name": name, "skeletons": joints.tolist(), "label": 1}
    (tmp_path / f"{name}.json").write_text(json.dumps(content))
    raw = files.RawFile(str(tmp_path / f"{name}.json"))
    example = nw_ucla.read(raw)
    assert example["findings"] == {"empty_frames": 3}
    np.testing.assert_array_equal(example["joints"][:, 0], joints[[1, 2, 4]].astype(np.float32))
    (tmp_path / f"{name}.json").write_text(
        json.dumps(content | {"skeletons": (0 * joints).tolist()})
    )
    with pytest.raises(files.NoBody, match="only zeros in 6 frames"):
        nw_ucla.read(raw)


def test_empty_frames_of_ntu(tmp_path, capsys):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, frames in (("S001C001P001R001A001", 20), ("S001C001P003R001A001", 23)):
        film = ntu_files.film(frames, (7, range(2, 20), ntu_files.person(0, 18)))
        (folder / f"{name}.skeleton").write_bytes(ntu_files.skeleton_text(film))
    prepare.prepare("ntu_rgbd60", folder, tmp_path / "data", num_workers=1)
    out = capsys.readouterr().out
    assert "note: 7 frames without anybody in 2 sequences: left out." in out
    metadata = json.loads((tmp_path / "data/ntu_rgbd60/xsub/1.0.0/metadata.json").read_text())
    assert metadata == {
        "gaps": "contiguous",
        "findings": {"empty_frames": {"count": 7, "sequences": 2}},
    }
    assert len(ntu.read(files.RawFile(str(folder / f"{name}.skeleton")))["joints"]) == 18


@pytest.mark.parametrize("bodies", [1, 2])
@pytest.mark.parametrize("gaps", ntu.GAPS)
def test_zeros_in_ntu_are_empty_frames(bodies, gaps, tmp_path):
    joints = np.stack([ntu_files.person(i, 20, 2.0 - i) for i in range(bodies)], axis=1)
    joints[[3, 4, 19]] = 0
    joints[7, 1:] = 0  # one of two is still there
    everyone = [(7 + i, range(1, 21), joints[:, i]) for i in range(bodies)]
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(ntu_files.skeleton_text(ntu_files.film(21, *everyone)))
    example = ntu.read_and_tell(files.RawFile(str(path)), gaps, 60)
    assert example["findings"] == {"empty_frames": 4}
    kept = np.delete(joints, (3, 4, 19), axis=0)
    np.testing.assert_array_equal(example["joints"][:, :bodies], kept)
    assert not example["joints"][:, bodies:].any()


def test_empty_frames_of_earlier_records_are_left_out_when_loaded(tmp_path, monkeypatch):
    folder, body = tmp_path / "raw", ntu_files.person(0, 20)
    folder.mkdir()
    as_published = np.stack([body, np.zeros_like(body)], axis=1)
    as_published[[3, 4, 19]] = 0
    monkeypatch.setattr(ntu, "read_joints", lambda *_: as_published)
    body[[3, 4, 19]] = 0
    text = ntu_files.skeleton_text(ntu_files.film(20, (7, range(20), body)))
    (folder / "S001C001P001R001A001.skeleton").write_bytes(text)
    prepare.prepare("ntu_rgbd60", folder, tmp_path / "data", num_workers=1)
    args = (str(tmp_path / "data"), "ntu_rgbd60/xsub", "train")
    whole = tfds.builder_from_directory(tmp_path / "data/ntu_rgbd60/xsub/1.0.0")
    (stored,) = whole.as_data_source("train")
    assert len(stored["joints"]) == 20
    kept = np.delete(stored["joints"], (3, 4, 19), axis=0)
    np.testing.assert_array_equal(records.Records(*args, None, 300).joints(0), kept)
    np.testing.assert_array_equal(records.Records(*args, None, 4).joints(0), kept[:3])
    (example,) = records.Records(*args, 1, 300).examples(np.arange(1))
    assert len(example["joints"]) == 17


def test_empty_frames_of_pku(tmp_path):
    labels = "1,0,6,2\n51,6,10,2\n"
    raw_sets.write_pku(tmp_path, videos=("0002-L",), labels=labels, empty=(0, 2, 3))
    file = tmp_path / "skeleton" / "0002-L.txt"
    label = tmp_path / "label" / "0002-L.txt"
    video = pku.Video("0002-L", files.RawFile(str(file)), files.RawFile(str(label)))
    first, second = pku.sequences(video)
    whole = pku.read_video(files.RawFile(str(file)))
    np.testing.assert_array_equal(first["joints"], whole[[1, 4, 5]])
    assert (first["start"], first["end"], first["findings"]) == (0, 6, {"empty_frames": 3})
    np.testing.assert_array_equal(second["joints"], whole[6:])
    assert "findings" not in second


def test_a_real_set_agrees_with_a_plain_reading(shared_data, tmp_path):
    """PYSKL's NTU-60 by HRNet, in part: 119 of its frames show nobody."""
    source = shared_data / "pyskl_ntu60_hrnet_subset.pkl"
    content = pickle.loads(source.read_bytes())
    how = {"name": "d", "layout": "coco_17", "channels": "xyc", "num_workers": 1}
    prepare.prepare("custom", source, tmp_path, **how)
    row = datasets.get(str(tmp_path / "custom/d"))
    assert row.sequences == {"train": 388, "test": 98}
    metadata = json.loads((tmp_path / "custom/d/1.0.0/metadata.json").read_text())
    assert metadata["findings"] == {"empty_frames": {"count": 119, "sequences": 28}}
    annotations = {sample["frame_dir"]: sample for sample in content["annotations"]}
    for split, name in (("train", "xsub_train"), ("test", "xsub_test")):
        found, as_stored = loaded(row, split), stored(row, split)
        assert sorted(found) == sorted(content["split"][name])
        for key, example in list(found.items())[::7]:
            places = annotations[key]["keypoint"][0].astype(np.float64)
            score = annotations[key]["keypoint_score"][0].astype(np.float64)
            here = places.any(axis=-1) & (score > 0)
            kept = here.any(axis=-1)
            places, score, here = places[kept], score[kept], here[kept]
            np.testing.assert_array_equal(
                as_stored[key][:, 0], np.concatenate([places, score[..., None]], axis=-1)
            )
            assert example["label"] == annotations[key]["label"]
            spread = [
                frame[on] - frame[on].mean(axis=0) for frame, on in zip(places, here, strict=True)
            ]
            size = np.sqrt(np.square(np.concatenate(spread)).sum(axis=-1).mean())
            hips = here[:, [11, 12]].all(axis=1)
            at = hips.argmax() if hips.any() else 0
            origin = places[at, [11, 12]].mean(axis=0) if hips.any() else places[0][here[0]].mean(0)
            expected = np.where(here[..., None], (places - origin) / size, 0)
            np.testing.assert_allclose(example["joints"][:, 0, :, :2], expected, atol=2e-4)
            np.testing.assert_array_equal(
                example["joints"][:, 0, :, 2], np.where(here, score, 0).astype(np.float32)
            )


def test_the_case_of_rtmpose(shared_data, tmp_path):
    source = shared_data.parent / "cases" / "scores_above_one" / "raw"
    how = {"name": "d", "layout": "coco_17", "num_workers": 1}
    with pytest.raises(BadFile, match=r"--scores=10"):
        prepare.prepare("custom", source, tmp_path, channels="xyc", **how)
    for options in ({"channels": "xyc", "scores": "10"}, {"channels": "xy", "overwrite": True}):
        rows = prepare.prepare("custom", source, tmp_path, **how, **options)
        assert {row.split: row.sequences for row in rows} == {"train": 2, "test": 2}
