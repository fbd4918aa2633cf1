"""Files of key points, written by hand as their tools write them: golden joints and bad inputs."""

import json

import numpy as np
import pytest

from amr_jax.data.readers import (
    arrays,
    bvh,
    files,
    findings,
    formats,
    keypoints,
    layout_file,
    openpose,
)
from amr_jax.data.readers.files import NoBody
from amr_jax.errors import BadFile
from amr_jax.skeleton.layouts import LAYOUTS


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return files.RawFile(str(path))


def form(layout, channels, scores=None):
    one = LAYOUTS[layout]
    return arrays.Form(one.num_joints, channels, scores=scores, layout=layout, joints=one.joints)


def read(raw, layout, channels, counts=None, **how):
    (clip,) = formats.read(raw, channels).clips
    return keypoints.joints(
        clip, form(layout, channels), raw, {} if counts is None else counts, **how
    )


def points(frame, num_joints, width=2):
    """Joint j of frame t at (t + j/100, j, …)."""
    return [[frame + j / 100 + 1, j + 1.0, j + 0.5][:width] for j in range(num_joints)]


def expected(frames, num_joints, width=2):
    return np.array([points(t, num_joints, width) for t in range(frames)], np.float32)


# --- MediaPipe


def landmarks(frame, shift=0.0):
    return [
        {"x": x + shift, "y": y, "z": z, "visibility": 0.75} for x, y, z in points(frame, 33, 3)
    ]


FORMS = {
    "list of landmarks": [landmarks(t) for t in range(3)],
    "world": [{"frame": t, "pose_landmarks": landmarks(t, 9), "pose_world_landmarks": landmarks(t)}
              for t in range(3)],
    "tasks": {"frames": [{"landmarks": [landmarks(t)], "timestamp_ms": t} for t in range(3)]},
    "javascript": {"results": [{"landmarks": [landmarks(t, 9)], "worldLandmarks": [landmarks(t)]}
                               for t in range(3)]},
    "protobuf": {"data": [{"poseLandmarks": {"landmark": landmarks(t)}} for t in range(3)]},
    "numbers of frames": {str(t): {"landmarks": landmarks(t)} for t in (2, 0, 1)},
    "rows": [[list(one.values()) for one in landmarks(t)] for t in range(3)],
    "nobody in between": [landmarks(0), None, landmarks(1), [], {"landmarks": None}, landmarks(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_mediapipe(tmp_path, name):
    raw = write(tmp_path, "clip.json", FORMS[name])
    assert formats.read(raw).title == "MediaPipe Pose"
    counts = {}
    joints = read(raw, "mediapipe_33", "xyz", counts)
    np.testing.assert_array_equal(joints[:, 0], expected(3, 33, 3))
    assert counts == ({findings.EMPTY_FRAMES: 3} if name == "nobody in between" else {})
    of_image = read(raw, "mediapipe_33", "xyc")
    shift = 9 if name in ("world", "javascript") else 0
    np.testing.assert_allclose(of_image[:, 0, :, 0], expected(3, 33)[..., 0] + shift, rtol=1e-6)
    np.testing.assert_array_equal(of_image[..., 2], 0.75)


def test_mediapipe_frames_are_of_one_kind_and_keep_their_numbers(tmp_path):
    both = {"pose_landmarks": landmarks(1, 9), "pose_world_landmarks": landmarks(0)}
    frames = {"7": {"pose_landmarks": landmarks(0, 9), "pose_world_landmarks": None}, "9": both}
    raw = write(tmp_path, "clip.json", frames)
    counts = {}
    np.testing.assert_array_equal(
        read(raw, "mediapipe_33", "xyz", counts)[:, 0], expected(1, 33, 3)
    )
    assert counts == {findings.EMPTY_FRAMES: 2}
    of_image = read(raw, "mediapipe_33", "xy", counts)[:, 0]
    np.testing.assert_allclose(of_image, expected(2, 33) + np.array([9, 0]), rtol=1e-6)
    assert counts == {findings.EMPTY_FRAMES: 3}
    with pytest.raises(BadFile, match=r"JSON of no known form \(7, 07\)"):
        formats.read(write(tmp_path, "clip.json", {"7": both, "07": both}))


@pytest.mark.parametrize("shape", [(3, 33, 4), (3, 33, 5), (3, 132), (3, 165), (3, 1, 33, 4)])
@pytest.mark.parametrize("channels", ["xyz", "xyc"])
def test_mediapipe_arrays(tmp_path, shape, channels):
    values = np.full((3, 33, 5), 0.75)
    values[..., :3] = expected(3, 33, 3)
    values = values[..., : 4 if np.prod(shape) == 3 * 132 else 5].reshape(shape)
    np.save(tmp_path / "clip.npy", values)
    raw = files.RawFile(str(tmp_path / "clip.npy"))
    example = arrays.read_example(raw, "clip", form("mediapipe_33", channels))
    wanted = np.concatenate([expected(3, 33), np.full((3, 33, 1), 0.75)], axis=-1)
    wanted = expected(3, 33, 3) if channels == "xyz" else wanted
    np.testing.assert_array_equal(example["joints"][:, 0], wanted.astype(np.float32))
    assert formats.told(raw) == {"layout": "mediapipe_33", "channels": "xyz"}


# --- OpenPose


def openpose_frame(*people, key="pose_keypoints_2d"):
    flat = [[number for row in rows for number in row] for rows in people]
    return {"version": 1.3, "people": [
        {"person_id": [-1], key: one, "face_keypoints_2d": [], "hand_left_keypoints_2d": []}
        for one in flat
    ]}  # fmt: skip


@pytest.mark.parametrize(("num_joints", "layout"), [(25, "openpose_25"), (18, "openpose_18")])
def test_openpose_single_frame(tmp_path, num_joints, layout):
    rows = [[*place, 0.5] for place in points(0, num_joints)]
    rows[3] = [0, 0, 0]
    joints = read(write(tmp_path, "a.json", openpose_frame(rows)), layout, "xyc")
    np.testing.assert_array_equal(joints[0, 0], np.array(rows, np.float32))


def test_openpose_video_with_two_people_who_change_places(tmp_path):
    def person(x):
        return [[x + j, 5.0, 0.9] for j in range(25)]

    raws = [
        write(tmp_path, f"v_{t:012d}_keypoints.json", openpose_frame(*people))
        for t, people in ((9, [person(500), person(101)]), (7, [person(100), person(502)]),
                          (8, [person(501)]))
    ]  # fmt: skip
    clip = openpose.read(raws, tmp_path, "xyc")
    assert clip.values[..., 0, 0].tolist() == [[100, 502], [0, 501], [101, 500]]
    assert clip.counts == {findings.UNORDERED: 2}
    counts = {}
    one = keypoints.joints(clip, form("openpose_25", "xyc"), "v", counts, people=1)
    assert one[:, 0, 0, 0].tolist() == [502, 501, 500]
    assert counts[findings.PEOPLE] == 1
    again = write(tmp_path, "v_0009_keypoints.json", openpose_frame())
    with pytest.raises(BadFile, match=r"frame 9, as .*; expected each frame once"):
        openpose.read([*raws, again], tmp_path, "xyc")


def test_ids_keep_people_apart_and_free_slots_are_used_again():
    def person(x, key):
        return keypoints.Person(np.full((2, 2), float(x)), None, key)

    frames = [[person(1, "a"), person(2, "b")], [person(3, "b")], [person(4, "c"), person(1, "b")]]
    clip = keypoints.clip(frames, "x")
    assert clip.values[:, :, 0, 0].tolist() == [[1, 2], [0, 3], [4, 1]]
    clip = keypoints.clip([[person(1, "a")], [person(2, "b")], [person(3, "a")]], "x")
    assert clip.values[:, :, 0, 0].tolist() == [[1, 0], [0, 2], [3, 0]]
    with pytest.raises(BadFile, match="one id for two people in frame 0"):
        keypoints.clip([[person(1, "a"), person(2, "a")]], "x")


# --- MMPose, COCO, Azure Kinect


def instance(frame, **more):
    return {"keypoints": points(frame, 17), "keypoint_scores": [0.5] * 17,
            "bbox": [[0, 0, 1, 1]], "bbox_score": 0.9, **more}  # fmt: skip


def test_mmpose(tmp_path):
    frames = [{"frame_id": t, "instances": [instance(t)]} for t in (0, 1, 3)]
    wanted = np.concatenate([expected(4, 17)[[0, 1, 3]], np.full((3, 17, 1), 0.5)], axis=-1)
    names = [name.replace(" ", "_") for name in LAYOUTS["coco_17"].joints]
    meta = {"keypoint_id2name": dict(enumerate(names))}
    for content in (frames, {"meta_info": meta, "instance_info": frames}, {"predictions": frames}):
        counts = {}
        joints = read(write(tmp_path, "a.json", content), "coco_17", "xyc", counts)
        np.testing.assert_array_equal(joints[:, 0], wanted.astype(np.float32))
        assert counts == {findings.EMPTY_FRAMES: 1}
    image = read(write(tmp_path, "a.json", [instance(0), instance(5)]), "coco_17", "xy")
    assert image.shape == (1, 2, 17, 2)
    other = {"meta_info": {"keypoint_id2name": dict(enumerate("abcdefghijklmnopq"))},
             "instance_info": frames}  # fmt: skip
    with pytest.raises(BadFile, match="no joint 'nose' among a, b"):
        read(write(tmp_path, "a.json", other), "coco_17", "xyc")


def annotations(entries, names=("v/10.jpg", "v/2.jpg")):
    images = [{"id": 70 + i, "file_name": name} for i, name in enumerate(names)]
    return {"images": images, "annotations": entries,
            "categories": [{"name": "person", "keypoints": []}]}  # fmt: skip


def test_coco(tmp_path):
    flat = [[number for x, y in points(t, 17) for number in (x, y, v)] for t, v in ((1, 2), (0, 1))]
    entries = [{"id": i, "image_id": 70 + i, "keypoints": one} for i, one in enumerate(flat)]
    joints = read(write(tmp_path, "a.json", annotations(entries)), "coco_17", "xyc")
    np.testing.assert_array_equal(joints[:, 0, :, :2], expected(2, 17))  # 2.jpg before 10.jpg
    assert joints[:, 0, 0, 2].tolist() == [0.5, 1]
    results = [{"image_id": f"{9 + i}.jpg", "keypoints": flat[1 - i], "score": 1} for i in (1, 0)]
    joints = read(write(tmp_path, "a.json", results), "coco_17", "xy")
    np.testing.assert_array_equal(joints[:, 0], expected(2, 17))
    two = write(tmp_path, "a.json", annotations(entries, ("a/1.jpg", "b/1.jpg")))
    assert [clip.name for clip in formats.read(two).clips] == ["a", "b"]


def test_azure_kinect(tmp_path):
    body = {"body_id": 4, "joint_positions": points(0, 32, 3), "joint_orientations": []}
    content = {"joint_names": [], "frames": [
        {"frame_id": 0, "num_bodies": 0, "bodies": []},
        {"frame_id": 1, "num_bodies": 1, "bodies": [body]},
    ]}  # fmt: skip
    joints = read(write(tmp_path, "a.json", content), "azure_kinect_32", "xyz")
    np.testing.assert_allclose(joints[:, 0], expected(1, 32, 3) / 1000, rtol=1e-6)
    content["frames"].append({"frame_id": 4, "num_bodies": 1, "bodies": [body]})
    (clip,) = formats.read(write(tmp_path, "a.json", content)).clips
    assert clip.values.any(axis=(1, 2, 3)).tolist() == [False, True, False, False, True]
    content["frames"].append({"frame_id": 4, "num_bodies": 1, "bodies": [body]})
    with pytest.raises(BadFile, match="frame_id 4 in frame 3; expected whole numbers that incr"):
        formats.read(write(tmp_path, "a.json", content))


# --- BVH

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT LeftLeg
  {
    OFFSET 1 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT LeftFoot
    {
      OFFSET 0 -2 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 -1 0
      }
    }
  }
  JOINT RightLeg
  {
    OFFSET -1 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
  }
}
MOTION
Frames: 2
Frame Time: 0.033
5 6 7 0 0 0 0 0 0 0 0 0 0 0 0
5 6 7 90 0 0 0 90 0 0 0 0 0 0 0
"""


def test_bvh_by_hand(tmp_path):
    raw = write(tmp_path, "walk.bvh", BVH)
    (clip,) = bvh.clips(raw)
    at_rest = [[5, 6, 7], [6, 6, 7], [6, 4, 7], [4, 6, 7]]
    # Turned by 90° about z, x points up; the leg's 90° about its x turn -y to the root's -z.
    turned = [[5, 6, 7], [5, 7, 7], [5, 7, 5], [5, 5, 7]]
    np.testing.assert_allclose(clip.values[:, 0], [at_rest, turned], atol=1e-6)
    layout = layout_file.find(str(tmp_path / "walk.bvh"))
    assert layout.joints == ("Hips", "LeftLeg", "LeftFoot", "RightLeg")
    assert layout.bones == ((1, 0), (2, 1), (3, 0))
    assert layout.left_right == ((1, 3),)
    assert formats.told(raw) == {"layout": raw.container, "channels": "xyz"}


# --- CSV

LONG = """sequence,frame,person,joint,x,y,confidence,label
s1,1,0,{0},1,2,0.5,wave
s1,1,0,{1},3,4,0.25,wave
s1,3,0,{1},5,6,1,wave
s2,0,0,{0},7,8,1,clap
"""
WIDE = """sequence,frame,person,label,{0}_x,{0}_y,{0}_confidence,{1}_x,{1}_y,{1}_confidence
s1,1,0,wave,1,2,0.5,3,4,0.25
s1,3,0,wave,,,,5,6,1
s2,0,0,clap,7,8,1,,,
"""


@pytest.mark.parametrize("text", [LONG, WIDE])
@pytest.mark.parametrize("names", [("hip", "Left_knee"), ("0", "1")])
def test_csv(tmp_path, text, names):
    raw = write(tmp_path, "a.csv", "\ufeff" + text.format(*names))
    first, second = formats.read(raw).clips
    assert (first.name, second.name) == ("s1", "s2")
    assert (first.texts["label"], second.texts["label"]) == ("wave", "clap")
    own = arrays.Form(2, "xyc", joints=("left knee", "hip") if names[0] == "hip" else names)
    order = [1, 0] if names[0] == "hip" else [0, 1]
    counts = {}
    joints = keypoints.joints(first, own, raw, counts)
    assert counts.pop(findings.EMPTY_FRAMES) == 1
    assert counts == ({findings.NOT_NUMBERS: 1} if text == WIDE else {})
    wanted = np.array([[[1, 2, 0.5], [3, 4, 0.25]], [[0, 0, 0], [5, 6, 1]]], np.float32)
    np.testing.assert_array_equal(joints[:, 0], wanted[:, order])


# --- bad inputs: the message names file, frame, person and joint


def changed(content, change):
    content = json.loads(json.dumps(content))
    change(content)
    return content


BAD = {
    "truncated": (json.dumps(FORMS["world"])[:-40], r"a\.json, line 1: found no JSON"),
    "missing joint": (
        changed(FORMS["world"], lambda c: c[1]["pose_world_landmarks"].pop(7)),
        "32 joints in frame 1, person 0; expected 33 joints",
    ),
    "missing number": (
        changed(FORMS["world"], lambda c: c[1]["pose_world_landmarks"][7].pop("y")),
        r"keys x, z, visibility in frame 1, person 0, joint 7 \(left ear\); expected 4 numbers",
    ),
    "text": (
        changed(FORMS["rows"], lambda c: c[2][4].__setitem__(1, "0.5")),
        r"in frame 2, person 0, joint 4 \(right inner eye\)",
    ),
    "NaN": (
        changed(FORMS["rows"], lambda c: c[2][4].__setitem__(1, float("nan"))),
        "nan in frame 2, body 0, joint 4, channel y",
    ),
    "other keys": ([{"pose_landmarks": landmarks(0)}, {"pose": 3}], "the keys pose in frame 1"),
    "unknown": ({"a": 1}, r"JSON of no known form \(a\); expected key points of OpenPose"),
    "empty": ("", "found no JSON"),
    "openpose size": (
        {"people": [{"pose_keypoints_2d": [1, 2, 3]}]},
        "3 numbers under 'pose_keypoints_2d' in frame 0, person 0; expected 75 or 54",
    ),
    "mixed sizes": (
        {"predictions": [{"instances": [instance(0)]}, {"instances": [
            {"keypoints": points(0, 16), "keypoint_scores": [1] * 16}]}]},
        "16 joints with 2 coordinates in frame 1, person 0; expected 17 with 2",
    ),
    "frames out of order": (
        [{"frame_id": t, "instances": [instance(t)]} for t in (1, 0)],
        "frame_id 0 in frame 1; expected whole numbers that increase",
    ),
    "coco image": (
        annotations([{"image_id": 5, "keypoints": [1, 2, 2] * 17}]),
        "image_id 5 in annotation 0; expected one of 'images'",
    ),
    "layout": (
        openpose_frame([[1, 1, 1]] * 25),
        r"key points of openpose_25; expected mediapipe_33 \(--layout and --channels\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_json(tmp_path, name):
    content, message = BAD[name]
    raw = write(tmp_path, "a.json", content)
    with pytest.raises(BadFile, match=message):
        read(raw, "mediapipe_33", "xyz" if name != "layout" else "xyc")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Frames: 2", "Frames: 3", "line 30: found 2 lines of motion; expected 3"),
        ("7 90 0", "7 90", "line 30: found 14 values in .*; expected 15 numbers"),
        ("7 90 0", "7 nan 0", "line 30: found 'nan'"),
        ("MOTION", "", "expected MOTION|HIERARCHY"),
        ("OFFSET 1 0 0", "OFFSET 1 0", "line 8: .*expected OFFSET with three numbers"),
        ("6 Xposition", "5 Xposition", "line 5: .*expected CHANNELS with their number"),
        ("JOINT RightLeg", "JOINT LeftLeg", "line 20: .*with different names"),
        ("  }\n}", "  }", "a closing bracket for each"),
        ("HIERARCHY", "\x00\x01", "line 1: found"),
    ],
)
def test_bad_bvh(tmp_path, old, new, message):
    assert old in BVH
    with pytest.raises(BadFile, match=message):
        bvh.clips(write(tmp_path, "a.bvh", BVH.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "line 1: found the columns a, b; expected frame, joint, x, y"),
        ("frame,joint,x,y\n", "no line below"),
        ("frame,joint,x,y\n0,hip,1\n", "line 2: found 3 cells; expected 4"),
        ("frame,joint,x,y\n0,hip,1,2\n0,hip,1,2\n", "line 3: found the joint 'hip' again"),
        ("frame,joint,x,y\n-1,hip,1,2\n", "line 2: found the frame '-1'"),
        ("frame,joint,x,y\n0,hip,1,1_0\n", "line 2: found '1_0' under 'y'; expected a number"),
        ("frame,joint,x,y,z\n0,a,1,1,1\n0,b,1,1,1\n1,a,1,1,1\n", "no joint 'b' in frame 1, perso"),
        ('frame,joint,x,y\n0,"hip,1,2\n', "no CSV"),
        ("frame,a_x,a_y,b_x\n0,1,2,3\n", "line 1: found no column 'b_y'"),
        ("frame,joint,x,y\n" + "".join(f"{i},{i / 8},1,2\n" for i in range(513)),
         "513 different joints, such as '64.0'; expected at most 512"),
    ],
)  # fmt: skip
def test_bad_csv(tmp_path, text, message):
    with pytest.raises(BadFile, match=message):
        formats.read(write(tmp_path, "a.csv", text))


def test_nobody_and_layouts_are_no_sequences(tmp_path):
    for content in ([], [None, {}], {"people": []}, {"name": "x", "joints": [], "bones": []}):
        with pytest.raises(NoBody):
            formats.read(write(tmp_path, "a.json", content))
