"""The readers of PKU-MMD: videos, labels, splits, and instances."""

import time

import numpy as np
import pytest

from amr_jax.data.readers import files, pku
from amr_jax.errors import BadFile


def raw_file(folder, text, name="0002-L.txt"):
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return files.RawFile(str(path))


def skeleton_text(joints):
    return "".join(" ".join(f"{x:.4f}" for x in frame.ravel()) + "\n" for frame in joints)


def video(folder, joints, labels):
    return pku.Video(
        "0002-L",
        raw_file(folder, skeleton_text(joints), "skeleton/0002-L.txt"),
        raw_file(folder, labels, "label/0002-L.txt"),
    )


JOINTS = np.round(np.random.default_rng(0).normal(size=(10, 2, 25, 3)), 4).astype(np.float32)


def test_a_frame_is_body_one_then_body_two(tmp_path):
    line = " ".join(str(number) for number in range(150))
    joints = pku.read_video(raw_file(tmp_path, f"{line}\r\n{line}\r\n"))
    assert joints.shape == (2, 2, 25, 3)
    assert joints.dtype == np.float32
    assert joints[1, 0, 24].tolist() == [72, 73, 74]
    assert joints[0, 1, 0].tolist() == [75, 76, 77]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1 " * 149, "149 values in '1 1"),
        ("1 " * 151, "151 values in '1 1"),
        ("1 " * 149 + "nan", "'nan'"),
        ("1 " * 149 + "1e39", "'1e39'"),  # not finite in float32
        ("1 " * 149 + "x", "'x'"),
        ("1," * 149 + "1", "'1,1,1,"),
        ("1" * 20_000, "a line of 20,000 bytes"),
    ],
)
def test_bad_video_names_the_line(tmp_path, line, found):
    good = "0 " * 150
    with pytest.raises(BadFile) as caught:
        pku.read_video(raw_file(tmp_path, f"{good}\n\n{line}\n{good}"))
    assert caught.value.line == 3
    assert caught.value.found.startswith(found)


def test_a_video_without_a_valid_line(tmp_path):
    with pytest.raises(BadFile, match="line 1: found 75 values"):
        pku.read_video(raw_file(tmp_path, ("0 " * 75 + "\n") * 3))
    with pytest.raises(BadFile, match="the file's end; expected 150"):
        pku.read_video(raw_file(tmp_path, "\n"))


def test_refuses_other_texts_early(tmp_path):
    """NumPy would parse all of it first; both texts are larger than any video's."""
    for text in ("1\n" * 2_000_000, "00 " * 2_000_000):
        begin = time.process_time()
        with pytest.raises(BadFile, match=r"2,000,000 lines|a line of 5,999,999"):
            pku.read_video(raw_file(tmp_path, text))
        assert time.process_time() - begin < 1


def test_labels(tmp_path):
    instances = pku.read_labels(raw_file(tmp_path, "3,10,20,2\n\n51,30,40,1\n1, 50, 60\n"))
    assert instances == [
        pku.Instance(1, 3, 10, 20),
        pku.Instance(3, 51, 30, 40),
        pku.Instance(4, 1, 50, 60),
    ]


@pytest.mark.parametrize(
    "line", ["0,1,2,2", "52,1,2,2", "1,2", "1,2,3,4,5", "a,1,2,2", "1,1.5,2,2", "1,1_0,20,2"]
)
def test_bad_labels_name_the_line(tmp_path, line):
    with pytest.raises(BadFile) as caught:
        pku.read_labels(raw_file(tmp_path, f"1,2,3,2\n{line}\n"))
    assert caught.value.line == 2


@pytest.mark.parametrize("comma", [",", ", ", " , "])
def test_split(tmp_path, comma):
    text = f"Training videos:\n{comma.join(['0002-L', '0002-M', '0003-R'])}{comma}\n"
    text += "Validataion videos:\n0004-L\n"  # sic: the data set's own spelling
    split = pku.read_split(raw_file(tmp_path, text))
    assert split == pku.Split({"0002-L": 2, "0002-M": 2, "0003-R": 2}, {"0004-L": 4})


@pytest.mark.parametrize(
    "text",
    [
        "Training videos: 0002-L, 0002-M\nValidation videos: 0003-R\n",  # beside the heading
        "training\n0002-L\n0002-M\ntesting\n0003-R\n",  # one on a line, no colon
        "Training videos:\r\n0002-L.txt;0002-M.txt\r\n\r\nTesting videos:\r\n0003-R.txt",
        "Training videos:\n0002-L 0002-M 0002-L\nValidation videos:\nTesting videos:\n0003-R\n",
    ],
)
def test_other_forms_of_a_split(tmp_path, text):
    split = pku.read_split(raw_file(tmp_path, text))
    assert (set(split.training), set(split.others)) == ({"0002-L", "0002-M"}, {"0003-R"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("0002-L, 0003-L\n", "Training videos"),
        ("Training videos:\nValidation videos:\n0002-L\n", "no name"),
        ("Training videos:\n0002-L, 0002_X\n", "line 2: found '0002_X'"),
        ("Training videos:\n0002-L\nValidation videos:\n0003_X\n", "line 4: found '0003_X'"),
        (
            "Training videos:\n0002-L\nValidation videos:\n0003-L, 0002-L\n",
            "line 4: found 0002-L, which line 2 names for the other part",
        ),
    ],
)
def test_bad_split(tmp_path, text, message):
    with pytest.raises(BadFile, match=message):
        pku.read_split(raw_file(tmp_path, text))


def test_sequences_include_start_and_exclude_end(tmp_path):
    first, second = pku.sequences(video(tmp_path, JOINTS, "3,0,4,2\n51,9,10,2\n"))
    np.testing.assert_array_equal(first.pop("joints"), JOINTS[0:4])
    np.testing.assert_array_equal(second.pop("joints"), JOINTS[9:10])
    assert first == {
        "name": "0002-L_000",
        "video": "0002-L",
        "phase": 1,
        "label": 2,
        "start": 0,
        "end": 4,
    }
    assert second == {
        "name": "0002-L_001",
        "video": "0002-L",
        "phase": 1,
        "label": 50,
        "start": 9,
        "end": 10,
    }


def test_instances_without_frames_or_bodies(tmp_path):
    joints = JOINTS.copy()
    joints[3:6] = 0
    nobody, empty, backwards, good = pku.sequences(
        video(tmp_path, joints, "1,3,6,2\n1,5,5,2\n1,8,7,2\n1,5,8,2\n")
    )
    assert "no body" in nobody.why
    assert "no frame" in empty.why
    assert "no frame" in backwards.why
    assert all(unusable.bad is None for unusable in (nobody, empty, backwards))
    assert good["name"] == "0002-L_003"


@pytest.mark.parametrize("labels", ["", "\n \r\n"])
def test_a_video_without_an_action_is_left_out(tmp_path, labels):
    (left_out,) = pku.sequences(video(tmp_path, JOINTS, labels))
    assert (left_out.name, left_out.bad) == ("0002-L", None)
    assert left_out.file == str(tmp_path / "label/0002-L.txt")
    assert left_out.why == "no action in its label file"


@pytest.mark.parametrize("interval", ["8,11", "-1,3", "11,12", "12,5"])
def test_label_outside_of_its_video(tmp_path, interval):
    good, bad = pku.sequences(video(tmp_path, JOINTS, f"1,0,10,2\n1,{interval},2\n"))
    assert len(good["joints"]) == 10
    assert isinstance(bad.bad, BadFile)
    assert bad.bad.line == 2
    assert "0 to 10" in bad.bad.expected
