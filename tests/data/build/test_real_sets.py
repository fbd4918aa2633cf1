"""Real files of NTU RGB+D and real labels of PKU-MMD: records against a reading of its own.

The skeletons of PKU-MMD are invented here, at the lengths that the labels ask for.
"""

import math
import zipfile

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_jax import evaluate, prepare, pretrain
from amr_jax.data import datasets
from amr_jax.data.readers import pku as pku_reader
from amr_jax.data.readers import search
from amr_jax.inference import read_inputs
from tests import tiny_models
from tests.config.test_configs import get_config
from tests.data.readers.test_ntu import by_the_rules, record
from tests.test_predict import check_raw_files_get_the_outputs_of_their_records

# x-sub of phase I tests on the videos 0291 to 0334, and trains on all others.
TEST_VIDEOS = range(291, 335)


def records(data_dir, name):
    builder = tfds.builder_from_directory(data_dir / name / "1.0.0")
    return {
        split: {e["name"].decode(): e for e in builder.as_data_source(split)}
        for split in builder.info.splits
    }


def ntu_bodies(text: str) -> tuple[int, dict[int, tuple[list[int], list]]]:
    """(frames, bodyID -> (its frames, its joints)), word by word."""
    words = iter(text.split())
    num_frames = int(next(words))
    bodies: dict[int, tuple[list[int], list]] = {}
    for frame in range(num_frames):
        for _ in range(int(next(words))):
            seen, joints = bodies.setdefault(int(next(words)), ([], []))
            about = [next(words) for _ in range(9)]
            assert len(about) == 9
            seen.append(frame)
            rows = [[next(words) for _ in range(12)] for _ in range(int(next(words)))]
            joints.append([[float(value) for value in row[:3]] for row in rows])
    assert next(words, None) is None
    return num_frames, bodies


@pytest.fixture(scope="module")
def ntu(shared_data, tmp_path_factory):
    """(archive, data_dir) of the eight real files."""
    archive = shared_data / "ntu_samples.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    data_dir = tmp_path_factory.mktemp("real_ntu")
    rows = prepare.prepare("ntu_rgbd60", archive, data_dir, num_workers=1)
    counts = [(row.protocol, row.split, row.sequences) for row in rows]
    assert counts == [
        ("xsub", "train", 7),
        ("xsub", "test", 1),
        ("xview", "train", 0),
        ("xview", "test", 8),
    ]
    return archive, data_dir


def test_real_ntu_files_become_the_records_of_the_published_rules(ntu):
    archive, data_dir = ntu
    found = records(data_dir, "ntu_rgbd60/xsub")
    assert set(found["test"]) == {"S002C001P003R001A003"}
    found = found["train"] | found["test"]
    with zipfile.ZipFile(archive) as raw:
        texts = {name.split(".")[0]: raw.read(name).decode() for name in raw.namelist()}
    assert set(found) == set(texts)
    for name, text in texts.items():
        num_frames, bodies = ntu_bodies(text)
        arrays = [(seen, np.array(joints, np.float32)) for seen, joints in bodies.values()]
        expected = by_the_rules(record(num_frames, *arrays))
        np.testing.assert_array_equal(found[name]["joints"], expected)
        assert found[name]["label"] == int(name[-3:]) - 1
        assert found[name]["subject"] == int(name[9:12])


def test_real_ntu_files_are_predicted_as_their_records(ntu, tmp_path):
    archive, data_dir = ntu
    model = tiny_models.make(layout=datasets.get("ntu60_xsub").layout, max_frames=300)
    with zipfile.ZipFile(archive) as raw:
        paths = [raw.extract(name, tmp_path) for name in raw.namelist()]
    check_raw_files_get_the_outputs_of_their_records(model, paths, str(data_dir), "ntu60_xsub")


def value(frame: np.ndarray, column: np.ndarray) -> np.ndarray:
    """What stands in a frame and column of an invented skeleton; few digits, exact in float32."""
    return ((frame[:, None] * 7 + column * 3) % 19 - 9) / 8


@pytest.fixture(scope="module")
def pku(shared_data, tmp_path_factory):
    """(raw folder, data_dir, instances by video) of six videos with their real labels."""
    archive = shared_data / "pku_mmd_v1_labels.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    raw = tmp_path_factory.mktemp("real_pku")
    videos = [f"{number:04}-{camera}" for number in (5, 6, 300) for camera in "LMR"][:8]
    instances = {}
    (raw / "skeleton").mkdir()
    with zipfile.ZipFile(archive) as labels:
        for video in videos:
            file = f"V1_Label/{video}.txt"
            labels.extract(file, raw)
            lines = labels.read(file).decode().split()
            instances[video] = [[int(word) for word in line.split(",")][:3] for line in lines]
            frames = np.arange(max(end for _, _, end in instances[video]) + 2)
            columns = np.arange(150) if video.endswith("L") else np.arange(75)
            numbers = np.zeros((len(frames), 150))
            numbers[:, : len(columns)] = value(frames, columns)
            rows = [" ".join(f"{number:g}" for number in row) for row in numbers]
            (raw / "skeleton" / f"{video}.txt").write_text("\n".join(rows) + "\n")
    test = [video for video in videos if int(video[:4]) in TEST_VIDEOS]
    train = [video for video in videos if video not in test]
    heads = ("Training videos:", "Validataion videos:")
    text = f"{heads[0]}\n{', '.join(train)}\n\n{heads[1]}\n{', '.join(test)}\n"
    (raw / "cross-subject.txt").write_text(text)
    data_dir = tmp_path_factory.mktemp("real_pku_data")
    rows = prepare.prepare("pku_mmd", raw, data_dir, num_workers=1)
    counts = {row.split: row.sequences for row in rows}
    for split, members in (("train", train), ("test", test)):
        assert counts[split] == sum(len(instances[video]) for video in members)
    return raw, data_dir, instances


def test_real_labels_of_pku_cut_the_right_frames(pku):
    _, data_dir, instances = pku
    found = records(data_dir, "pku_mmd/v1_xsub")
    assert {name[:4] for name in found["test"]} == {"0300"}
    found = found["train"] | found["test"]
    assert len(found) == sum(map(len, instances.values()))
    for video, lines in instances.items():
        for number, (action, start, end) in enumerate(lines):
            example = found[f"{video}_{number:03}"]
            frames = np.arange(start, end)
            for body in (0, 1):
                expected = value(frames, 75 * body + np.arange(75)).reshape(-1, 25, 3)
                if body and not video.endswith("L"):
                    expected = np.zeros_like(expected)
                np.testing.assert_array_equal(example["joints"][:, body], expected)
            kept = (example["label"], example["start"], example["end"])
            assert kept == (action - 1, start, end)


def test_all_real_labels_of_pku_are_as_published(shared_data):
    """All 21,545 lines, of which one ends before it begins."""
    archive = shared_data / "pku_mmd_v1_labels.zip"
    found = search.find(archive, ".txt", "labels")
    instances = {raw.name[:6]: pku_reader.read_labels(raw) for raw in found}
    assert len(instances) == 1076
    test = sum(len(of) for name, of in instances.items() if int(name[:4]) in TEST_VIDEOS)
    assert (sum(map(len, instances.values())) - test, test) == (18_841, 2_704)
    empty = [(name, one) for name, of in instances.items() for one in of if one.start >= one.end]
    assert empty == [("0043-L", pku_reader.Instance(21, 1, 4925, 4036))]


def test_real_labels_of_pku_are_predicted_as_their_records(pku):
    raw, data_dir, instances = pku
    found = records(data_dir, "pku_mmd/v1_xsub")["test"]
    model = tiny_models.make(layout=datasets.get("pku1_xsub").layout, max_frames=300, centred=False)
    options = read_inputs.Options(labels=str(raw / "V1_Label"))
    path = f"{raw}/skeleton/0300-L.txt"
    sequences = list(read_inputs.read([path], model, options))
    assert len(sequences) == len(instances["0300-L"])
    for number, sequence in enumerate(sequences):
        expected = found[f"0300-L_{number:03}"]
        assert sequence.name == f"{path}[{expected['start']}-{expected['end']}]"
        np.testing.assert_array_equal(sequence.joints, expected["joints"])


@pytest.mark.slow
@pytest.mark.parametrize(("fixture", "dataset"), [("ntu", "ntu60_xsub"), ("pku", "pku1_xsub")])
def test_pretraining_and_evaluation_on_real_files(fixture, dataset, request, tmp_path, capsys):
    _, data_dir, *_ = request.getfixturevalue(fixture)
    config = get_config("amr", f"{dataset},runlocal")
    config.data_dir = str(data_dir)
    config.epochs, config.batch_size, config.encoder.num_frames = 1, 4, 24
    config.encoder.width = config.model.decoder_width = 8
    config.encoder.depth = config.model.decoder_depth = 1
    assert config.input.split == "train[:64]"
    state = pretrain.run(config, tmp_path / "run", jax.devices()[:1])
    assert int(state.step) > 0
    probe = get_config("knn", f"{dataset},runlocal")
    probe.data_dir, probe.pretrained = str(data_dir), str(tmp_path / "run")
    results = evaluate.run(probe, tmp_path / "knn")
    sizes = {"ntu": (7, 1), "pku": (48, 18)}[fixture]
    assert (results["train_sequences"], results["test_sequences"]) == sizes
    assert math.isfinite(results["encoders"]["pretrained"]["top1"])
    whole = f"train[:64] has {sizes[0]} sequences, all of train."
    assert whole in capsys.readouterr().out
