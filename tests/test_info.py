"""Command `info`: what it says of files, folders, records, workdirs and what it cannot read."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from amr_jax.__main__ import main
from amr_jax.data.build import custom
from tests import custom_sets, raw_sets
from tests.data.readers.test_formats import BVH, LONG, landmarks, openpose_frame, points
from tests.refusals import refused


def told(capsys, *argv):
    main(["info", *map(str, argv)])
    return {line[:11].strip(): line[11:] for line in capsys.readouterr().out.splitlines()}


def check_refused(capsys, message, *argv):
    assert message in refused(capsys, main, ["info", *map(str, argv)])


def test_a_folder_of_clips(tmp_path, capsys):
    for i in range(30):
        path = tmp_path / "my clips" / ["clap", "wave"][i % 2] / f"{i}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([landmarks(t) for t in range(i % 3 + 1)]))
    (tmp_path / "my clips" / "clap" / "0.json").write_text("[")
    found = told(capsys, tmp_path / "my clips")
    assert found["files"].endswith("30 .json")
    assert found["read"] == "14 of 30 clips or tables"
    assert "0.json, line 1: found no JSON" in found["damaged"]
    assert found["layout"] == "mediapipe_33 (33 joints)"
    assert found["sequences"] == "14; frames: 1 to 3 (median 2); people: 1"
    assert found["labels"] == "clap (15), wave (15) by folder"
    assert found["next"] == (
        f"amr-jax prepare --dataset=custom '--manual_dir={tmp_path}/my clips' --data_dir=DATA "
        "--name=my_clips --layout=mediapipe_33 --channels=xyz --scale=0.01"
    )
    (tmp_path / "my clips" / "labels.csv").write_text("name,label,split\nclap/0,x,train\n")
    found = told(capsys, tmp_path / "my clips")
    assert (found["labels"], found["splits"]) == ("x (1) in labels.csv", "train (1) in labels.csv")


CONTENTS = {
    "a.bvh": (BVH, "BVH", "4 joints", "xyz"),
    "a.csv": (LONG.format("hip", "knee"), "CSV", "not told (2 joints)", "xyc"),
    "a.json": (json.dumps(openpose_frame(points(0, 25, 3))), "OpenPose", "openpose_25", "xyc"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_single_files(tmp_path, capsys, name):
    text, title, layout, channels = CONTENTS[name]
    (tmp_path / name).write_text(text)
    found = told(capsys, tmp_path / name)
    assert (found["format"], found["channels"]) == (title, channels)
    assert layout in found["layout"]


def test_arrays_pickles_and_their_picture(tmp_path, capsys):
    np.save(tmp_path / "a.npy", 0.4 * np.random.default_rng(0).normal(size=(5, 25, 3)))
    found = told(capsys, tmp_path / "a.npy", f"--draw={tmp_path}/a.png")
    assert found["layout"] == "ntu_25 (25 joints)"
    assert found["unit"].startswith("probably metres")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "set.pkl").write_bytes(pickle.dumps(custom_sets.exchange(4)))
    found = told(capsys, tmp_path / "set.pkl")
    assert (found["layout"], found["unit"]) == ("coco_17 (17 joints)", "probably pixels")
    assert found["labels"] == "0 (2), 1 (2) in the files that were read"
    assert f"--manual_dir={tmp_path}/set.pkl " in found["next"]


@pytest.mark.parametrize(
    ("low", "high", "layout", "channels"),
    [(0, 8, "coco_17", "xyc"), (-900, 900, "not told", "xyz")],
    ids=["RTMPose", "Human3.6M"],
)
def test_the_third_number_of_17_joints_is_a_score_or_a_depth(
    tmp_path, capsys, low, high, layout, channels
):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).uniform(low, high, (5, 17, 3)))
    found = told(capsys, tmp_path / "a.npy")
    assert (found["layout"], found["channels"]) == (f"{layout} (17 joints)", channels)
    assert found["next"].endswith(" --scores=10") == (channels == "xyc")


@pytest.mark.parametrize(
    ("largest", "flag"), [(1.4, None), (7.3, 10), (20, 10), (88.5, 100), (149.5, 100), (255, 255)]
)
@pytest.mark.parametrize("kind", ["json", "npz", "pkl"])
def test_scores_above_1_and_the_flag_that_reads_them(tmp_path, capsys, kind, largest, flag):
    places = np.random.default_rng(0).uniform(0, 900, (2, 17, 2))
    scores = np.full((2, 17), 0.5)
    scores[1, 4] = largest
    path = tmp_path / f"a.{kind}"
    if kind == "json":  # MMPose
        people = [
            {"keypoints": xy.tolist(), "keypoint_scores": of.tolist()}
            for xy, of in zip(places, scores, strict=True)
        ]
        path.write_text(json.dumps([{"frame_id": i, "instances": [people[i]]} for i in range(2)]))
    elif kind == "npz":
        np.savez(path, joints=places[:, None], confidence=scores[:, None])
    else:
        one = {"frame_dir": "a", "label": 0, "total_frames": 2}
        one |= {"keypoint": places[None], "keypoint_score": scores[None]}
        path.write_bytes(pickle.dumps([one]))
    found = told(capsys, path)
    assert found["channels"] == "xyc"
    assert ("scores" in found, "--scores" in found["next"]) == (flag is not None,) * 2
    if flag is None:
        return
    assert found["scores"].startswith(f"up to {largest:.3g}: no confidences")
    assert found["next"].endswith(f" --scores={flag}")
    command = found["next"].replace("DATA", str(tmp_path / "data")).split()[1:]
    main([*command, "--num_workers=1"])
    (info,) = (tmp_path / "data").rglob("metadata.json")
    assert json.loads(info.read_text())["scores"] == flag


def test_a_text_beside_the_files_of_a_set_is_no_damage(tmp_path, capsys):
    raw_sets.write_ntu(tmp_path, cameras=(1,), subjects=(1,), actions=(1,))
    text = tmp_path / "order.txt"
    text.write_text("The order of joints:\n\n1. head;\n")
    told_of_it = f"{text}: found text without numbers, so no skeleton"
    found = told(capsys, tmp_path)
    assert found["read"] == "1 of 2 clips or tables"
    assert found["left out"].startswith(told_of_it)
    assert "damaged" not in found
    check_refused(capsys, told_of_it, text)
    text.write_text("1.5 2.5\n")  # numbers, but not as many as joints have
    assert "expected 150 numbers" in told(capsys, tmp_path)["damaged"]


def test_a_video_whose_first_frame_shows_nobody(tmp_path, capsys):
    for t, people in enumerate(((), (points(0, 25, 3),))):
        name = tmp_path / "clip" / f"v_{t:012d}_keypoints.json"
        name.parent.mkdir(exist_ok=True)
        name.write_text(json.dumps(openpose_frame(*people)))
    assert told(capsys, tmp_path)["layout"] == "openpose_25 (25 joints)"
    options = custom.completed(tmp_path, {"name": "mine"})
    assert options == {"name": "mine", "layout": "openpose_25", "channels": "xyc"}


def test_records_and_workdirs(tmp_path, capsys):
    folder = tmp_path / "custom" / "mine" / "1.0.0"
    folder.mkdir(parents=True)
    splits = [{"name": "train", "shardLengths": ["3", "4"]}]
    (folder / "dataset_info.json").write_text(json.dumps({"name": "custom", "splits": splits}))
    shape = {"tensor": {"shape": {"dimensions": ["-1", "2", "17", "3"]}}}
    features = {"featuresDict": {"features": {"joints": shape}}}
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "metadata.json").write_text('{"layout": "coco_17"}')
    (folder / "label.labels.txt").write_text("clap\nwave\n")
    found = told(capsys, tmp_path)
    assert found["records"] == f"{folder}: train 7 sequences"
    assert found["joints"] == "coco_17, 17 joints × 3 numbers, up to 2 people"
    assert found["next"] == f"amr-jax pretrain --config=amr:{folder.parent} --workdir=RUN"
    (folder / "features.json").write_text("{}")
    check_refused(capsys, "records that are not complete", folder)
    run = tmp_path / "run"
    (run / "checkpoints" / "300").mkdir(parents=True)
    (run / "config.json").write_text('{"method": "amr", "dataset": "kard", "seed": 0}')
    found = told(capsys, run)
    assert found["checkpoint"] == "of step 300"
    assert f"evaluate --config=linear:kard --config.pretrained={run} " in found["next"]
    (run / "config.json").write_text('{"protocol": "linear", "dataset": "kard"}')
    (run / "results.json").write_text('{"encoders": {"pretrained": {"top1": 0.5}}}')
    assert told(capsys, run)["result"] == "pretrained encoder: top-1 50.0%"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", "x", "a.png: found a file of another kind; expected a name that ends in .npz"),
        ("a.json", "[", "found no JSON"),
        ("config.json", "[", "found no JSON that can be read"),
    ],
)
def test_what_cannot_be_told(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    check_refused(capsys, message, tmp_path if name == "config.json" else tmp_path / name)


def test_no_paths_and_empty_folders(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for argv, message in (
        ([], "found 0 paths; expected one"),
        ([tmp_path / "gone"], "found no such file or folder"),
        ([tmp_path / "empty"], "found no skeletons"),
    ):
        check_refused(capsys, message, *argv)


def test_it_needs_no_jax(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH)
    code = (
        "import sys; from amr_jax.__main__ import main; main(sys.argv[1:]);"
        "assert not {'jax', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "info", str(tmp_path / "a.bvh")], check=True)
