"""Readers of UTD-MHAD and of the sets of text files: small files by hand, and the real sets.

On the real sets, geometry says whether the joints have the right names.
"""

import functools
import io

import numpy as np
import pytest
import scipy.io

from amr_jax.data.readers import files, kinect_text, search, utd_mhad
from amr_jax.errors import BadFile
from amr_jax.skeleton import action_names, layouts

TEXT_SETS = {
    "msr_action3d": kinect_text.MSR_ACTION3D,
    "kard": kinect_text.KARD,
    "utkinect": kinect_text.UTKINECT,
    "florence3d": kinect_text.FLORENCE3D,
}


def lines(text_set, num_frames=2):
    """Line i holds 3i, 3i + 1, 3i + 2, and perhaps a confidence."""
    rows = np.arange(num_frames * len(text_set.joints) * 3).reshape(-1, 3)
    last = " 0.5" if text_set.confidence else ""
    return [f"{x} {y} {z}{last}" for x, y, z in rows]


def write(folder, text_set, rows, name=None):
    path = folder / (name or text_set.example)
    path.write_text("\n".join(rows) + "\n")
    return files.RawFile(str(path))


@pytest.mark.parametrize("text_set", TEXT_SETS.values(), ids=TEXT_SETS)
def test_text_reads_content_and_name(text_set, tmp_path):
    nobody = ["0 0 0" + " 0" * text_set.confidence] * len(text_set.joints)
    example = text_set.read(write(tmp_path, text_set, lines(text_set) + nobody))
    assert example.pop("findings") == {"empty_frames": 1}
    joints, num_joints = example.pop("joints"), text_set.layout.num_joints
    assert joints.shape == (2, 1, num_joints, 3)
    assert joints.dtype == np.float32
    name = text_set.example.removesuffix(".txt")
    assert example == {"name": name, "label": 0, "subject": 1, "replication": 1}
    for place, joint in enumerate(text_set.layout.joints):
        first = 3 * (num_joints + text_set.joints.index(joint))  # of the second frame
        x, y, z = (text_set.metres * np.arange(first, first + 3)).astype(np.float32)
        assert joints[1, 0, place].tolist() == [-x if text_set.flip_x else x, y, z]


def test_names_tell_the_sets_apart():
    for text_set in TEXT_SETS.values():
        assert kinect_text.of_name(text_set.example) is text_set
        assert len(kinect_text.others(text_set)) == 3
        assert text_set.title not in kinect_text.others(text_set)
    assert kinect_text.of_name("0002-L.txt") is None


def test_kard_by_hand(tmp_path):
    """Line 9 is the torso, line 3 the right shoulder; millimetres, and x points to the left."""
    rows = ["0 0 0"] * 15
    rows[8], rows[2] = "100.5 -200 3000", "-50 300 2900"
    (joints,) = kinect_text.KARD.read(write(tmp_path, kinect_text.KARD, rows))["joints"][:, 0]
    index = layouts.OPENNI_15.joints.index
    np.testing.assert_allclose(joints[index("spine middle")], [-0.1005, -0.2, 3.0], rtol=1e-6)
    np.testing.assert_allclose(joints[index("right shoulder")], [0.05, 0.3, 2.9], rtol=1e-6)


@pytest.mark.parametrize("text_set", TEXT_SETS.values(), ids=TEXT_SETS)
def test_text_refuses(text_set, tmp_path):
    rows, count = lines(text_set), 3 + text_set.confidence
    for changed, message in (
        (rows[:-1], f"{len(rows) - 1} lines; expected a multiple of {len(text_set.joints)}"),
        ([*rows[:4], rows[4] + " 1", *rows[5:]], rf"line 5: .*{count + 1} values.*{count} numbers"),
        (
            [*rows[:4], rows[4].replace(rows[4].split()[1], "nan"), *rows[5:]],
            "line 5: .*nan.*finite",
        ),
        ([""], "line 1"),
    ):
        with pytest.raises(BadFile, match=message):
            text_set.read(write(tmp_path, text_set, changed))
    empty = ["0 0 0" + " 0" * text_set.confidence] * len(rows)
    with pytest.raises(files.NoBody):
        text_set.read(write(tmp_path, text_set, empty))
    for name in ("walk.txt", text_set.example.replace("a01", "a00"), "a99" + text_set.example[3:]):
        with pytest.raises(BadFile, match="name"):
            text_set.read(write(tmp_path, text_set, rows, name))


def mat(folder, name="a10_s1_t2_skeleton.mat", **content):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content, do_compression=True)
    (folder / name).write_bytes(buffer.getvalue())
    return files.RawFile(str(folder / name))


def test_utd_by_hand(tmp_path):
    skeleton = np.zeros((20, 3, 4))  # nobody is in the first three frames
    skeleton[0, :, 3], skeleton[3, :, 3], skeleton[5, :, 3] = (1, 2, 3), (4, 5, 6), (7, 8, 9)
    example = utd_mhad.read(mat(tmp_path, d_skel=skeleton))
    last = example.pop("joints")[0, 0]
    assert [last[layouts.KINECT_20.joints.index(j)].tolist() for j in ("head", "hip centre")] == [
        [1, 2, 3],
        [4, 5, 6],
    ]
    assert last[layouts.KINECT_20.joints.index("left elbow")].tolist() == [7, 8, 9]
    assert example.pop("findings") == {"empty_frames": 3}
    assert example == {"name": "a10_s1_t2_skeleton", "label": 9, "subject": 1, "replication": 2}


def test_utd_of_one_frame(tmp_path):
    """MATLAB has no third dimension of size 1."""
    example = utd_mhad.read(mat(tmp_path, d_skel=np.ones((20, 3))))
    np.testing.assert_array_equal(example["joints"], np.ones((1, 1, 20, 3)))


@pytest.mark.parametrize(
    "name",
    [f"{a}_skeleton.mat" for a in ("a01_s1_t1", "a0_s1_t1", "a1_s01_t1", "a1_s0_t1", "a1_s1_t01")],
)
def test_utd_has_one_spelling_of_a_name(name, tmp_path):
    with pytest.raises(BadFile, match="without zeros in front"):
        utd_mhad.read(mat(tmp_path, name, d_skel=np.ones((20, 3, 4))))


@pytest.mark.parametrize("name", ["a01_s01_id1.txt", "a01_s1_id01.txt", "a01_s0_id1.txt"])
def test_florence_has_one_spelling_of_a_name(name, tmp_path):
    of = kinect_text.FLORENCE3D
    assert of.read(write(tmp_path, of, lines(of), "a01_s10_id193.txt"))["replication"] == 193
    with pytest.raises(BadFile, match="expected a name like a01_s1_id1"):
        of.read(write(tmp_path, of, lines(of), name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"skel": np.ones((20, 3, 2))}, "no d_skel"),
        ({"d_skel": np.ones((3, 20))}, r"d_skel of \(3, 20, 1\)"),
        ({"d_skel": np.ones((25, 3, 2))}, r"d_skel of \(25, 3, 2\)"),
        ({"d_skel": np.full((20, 3, 2), np.inf)}, "not finite"),
        ({"d_skel": np.array([["text"]], object)}, "d_skel of"),
    ],
)
def test_utd_refuses(content, message, tmp_path):
    with pytest.raises(BadFile, match=message):
        utd_mhad.read(mat(tmp_path, **content))


def test_utd_refuses_damage_and_names(tmp_path):
    raw = mat(tmp_path, d_skel=np.ones((20, 3, 4)))
    with pytest.raises(BadFile, match="name"):
        utd_mhad.read(mat(tmp_path, "a28_s1_t1_skeleton.mat", d_skel=np.ones((20, 3, 4))))
    data = (tmp_path / raw.name).read_bytes()
    for damaged in (data[:150], b"", b"MATLAB 7.3" + data, data[:130] + bytes(60)):
        (tmp_path / raw.name).write_bytes(damaged)
        with pytest.raises(BadFile, match=r"no MATLAB file|no d_skel"):
            utd_mhad.read(raw)


# --dataset: archive, suffix, layout, sequences, (action, hips rise (1) or sink (-1)).
REAL = {
    "utd_mhad": ("utd_mhad_skeleton", ".mat", 861, {"sit to stand": 1, "stand to sit": -1}),
    "msr_action3d": ("msr_action3d_real3d", ".txt", 566, {}),
    "kard": ("kard_realworld", ".txt", 540, {"stand up": 1, "sit down": -1}),
    "utkinect": ("utkinect", ".txt", 200, {"stand up": 1, "sit down": -1}),
    "florence3d": ("florence3d", ".txt", 215, {"stand up": 1, "sit down": -1}),
}
NAMES = {
    "utd_mhad": action_names.UTD_MHAD,
    "msr_action3d": action_names.MSR_ACTION3D,
    "kard": action_names.KARD,
    "utkinect": action_names.UTKINECT,
    "florence3d": action_names.FLORENCE_3D,
}


@functools.cache
def real(name, folder):
    """The examples of a real set; joints are (T, V, 3)."""
    archive, suffix, *_ = REAL[name]
    raw = search.find(folder / f"{archive}.zip", suffix, what=name)
    read = utd_mhad.read if name == "utd_mhad" else TEXT_SETS[name].read
    examples = []
    for file in raw:
        try:
            example = read(file)
        except files.NoBody:
            continue
        examples.append(example | {"joints": example["joints"][:, 0]})
    return examples


@pytest.mark.parametrize("name", REAL)
def test_the_real_sets(name, shared_data):
    examples = real(name, shared_data)
    assert len(examples) == REAL[name][2]
    assert {e["label"] for e in examples} == set(range(len(NAMES[name])))
    joints = np.concatenate([e["joints"] for e in examples])
    layout = layouts.KINECT_20 if joints.shape[1] == 20 else layouts.OPENNI_15

    def of(joint):
        return joints[:, layout.joints.index(joint)]

    # A person of 1.2 to 2.2 m: metres. Head above, then shoulders, hips, knees, feet.
    height = np.median(of("head")[:, 1] - (of("left ankle") + of("right ankle"))[:, 1] / 2)
    assert 1.2 < height < 2.2
    order = ("head", "left shoulder", "left hip", "left knee", "left ankle")
    heights = [np.median(of(joint)[:, 1]) for joint in order]
    assert heights == sorted(heights, reverse=True)
    # Bones are rigid, and sides are alike. (Hands and feet are a hand's breadth long, and noisy.)
    length = {b: np.linalg.norm(joints[:, b[0]] - joints[:, b[1]], axis=-1) for b in layout.bones}
    spread = {b: np.subtract(*np.quantile(x, (0.75, 0.25))) for b, x in length.items()}
    assert max(spread[b] / max(np.median(length[b]), 0.15) for b in layout.bones) < 0.3
    for child, parent in layout.bones:
        other = (layout.mirrored[child], layout.mirrored[parent])
        np.testing.assert_allclose(
            np.median(length[child, parent]), np.median(length[other]), rtol=0.12
        )
    # Knees (and feet) point forwards; up × forwards is the left of a right-handed frame.
    sides = ("left", "right")
    if "left foot" in layout.joints:
        forwards = sum(of(f"{s} foot") - of(f"{s} ankle") for s in sides)
    else:
        forwards = sum(of(f"{s} knee") - (of(f"{s} hip") + of(f"{s} ankle")) / 2 for s in sides)
    left = np.cross([0, 1, 0], forwards)
    agree = (left * (of("left shoulder") - of("right shoulder"))).sum(-1) > 0
    if name != "kard":  # whose knees say nothing: its subjects stand straight
        assert agree.mean() > 0.75
    # Subjects face the camera: their left is at smaller x. Most of them use the right hand.
    assert np.mean(of("left shoulder")[:, 0] < of("right shoulder")[:, 0]) > 0.9

    def motion(joint):
        place = layout.joints.index(joint)
        return np.mean([e["joints"][:, place].var(axis=0).sum() for e in examples])

    assert motion("right wrist") > 1.1 * motion("left wrist")


@pytest.mark.parametrize("name", [name for name in REAL if REAL[name][3]])
def test_names_of_actions_fit_what_the_hips_do(name, shared_data):
    for action, sign in REAL[name][3].items():
        label = NAMES[name].index(action)
        hips = [
            e["joints"][:, [12, 16] if e["joints"].shape[1] == 20 else [9, 12], 1].mean(axis=1)
            for e in real(name, shared_data)
            if e["label"] == label
        ]
        rise = [np.sign(y[-3:].mean() - y[:3].mean()) for y in hips]
        assert np.mean(np.array(rise) == sign) > 0.8
