"""A user's own layout: what a file may hold, and the message for one that is wrong."""

import itertools
import json
import time

import pytest

from amr_jax.data.readers import layout_file
from amr_jax.errors import BadFile, UserError
from amr_jax.skeleton import layouts

PUPPET = {
    "name": "puppet_5",
    "joints": ["belly", "left hand", "right hand", "left foot", "right foot"],
    "bones": [
        ["left hand", "belly"],
        ["right hand", "belly"],
        ["left foot", "belly"],
        ["right foot", "belly"],
    ],
    "left_right": [["left hand", "right hand"], ["left foot", "right foot"]],
    "parts": {
        "belly": ["belly"],
        "hands": ["left hand", "right hand"],
        "feet": ["left foot", "right foot"],
    },
    "centre": ["left foot", "right foot"],
}


def write(folder, **changes) -> str:
    content = {key: value for key, value in (PUPPET | changes).items() if value is not None}
    path = folder / "layout.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_reads_all_keys(tmp_path):
    layout = layout_file.find(write(tmp_path))
    assert layout.joints == tuple(PUPPET["joints"])
    assert layout.bones == ((1, 0), (2, 0), (3, 0), (4, 0))
    assert layout.centre == (3, 4)
    assert layout.mirrored == (0, 2, 1, 4, 3)
    assert layout.parts == {"belly": (0,), "hands": (1, 2), "feet": (3, 4)}


def test_optional_keys(tmp_path):
    layout = layout_file.read(write(tmp_path, left_right=None, parts=None, centre=None))
    assert layout.mirrored == (0, 1, 2, 3, 4)
    assert layout.parts == {"body": (0, 1, 2, 3, 4)}
    assert layout.centre == layout.parents[0] == 0  # the root
    assert layout_file.read(write(tmp_path, centre="left hand")).centre == 1


def test_round_trip(tmp_path):
    layout = layout_file.read(write(tmp_path))
    kept = json.loads(json.dumps(layout_file.to_json(layout)))
    assert layout_file.from_json(kept, "kept") == layout
    for layout in layouts.LAYOUTS.values():
        assert layout_file.from_json(layout_file.to_json(layout), "kept") is layout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bones": [*PUPPET["bones"][:3], ["tail", "belly"]]}, "'tail' in 'bones'.*right foot"),
        (
            {"bones": [*PUPPET["bones"][:3], ["right foot", "right foot"]]},
            "a cycle of bones: right foot",
        ),
        (
            {"bones": [["belly", "left foot"], *PUPPET["bones"]]},
            "a cycle of bones: (belly, left foot|left foot, belly)",
        ),
        ({"bones": PUPPET["bones"][:3]}, r"2 joints without a parent \(belly, right foot\)"),
        (
            {"bones": [*PUPPET["bones"], ["left hand", "left foot"]]},
            "as a child, 'left hand' 2 times",
        ),
        ({"bones": [["left hand", "belly", "x"]]}, "in 'bones'; expected pairs"),
        ({"bones": "left hand"}, "under 'bones'; expected a list"),
        ({"bones": None}, "also bones"),
        ({"joints": ["belly", "belly", *PUPPET["joints"][2:]]}, "the joint 'belly' 2 times"),
        ({"joints": [1, 2]}, "1 in 'joints'; expected names"),
        ({"joints": []}, "no joint"),
        ({"left_right": [["left hand", "right ear"]]}, "'right ear' in 'left_right'"),
        (
            {"left_right": [["left hand", "right hand"], ["left foot", "left hand"]]},
            "in 'left_right', the joint 'left hand' 2 times",
        ),
        ({"parts": {"all": ["belly", "left hand"]}}, "no part with right hand, left foot"),
        ({"parts": {"a": PUPPET["joints"], "b": ["belly"]}}, "in 'parts', the joint 'belly' 2"),
        ({"parts": ["belly"]}, "expected an object"),
        ({"centre": "navel"}, "'navel' in 'centre'"),
        ({"centre": 0}, "0 under 'centre'; expected a list"),
        ({"centre": {}}, "{} under 'centre'; expected a list"),
        ({"joints": ["belly", "\ud800", *PUPPET["joints"][2:]]}, "in 'joints'; expected names"),
        ({"parts": PUPPET["parts"] | {"\udfff": []}}, r"'\\udfff' in 'parts'; expected names"),
        ({"name": "\ud800"}, r"the name '\\ud800'"),
        ({"bones": [["left hand", "x" * 10**5]]}, r"'xxx.*xxx…; expected"),
        ({"center": "belly"}, "the key 'center'; expected only name, joints"),
        ({"name": "ntu_25"}, "'ntu_25'; expected a name that no built-in layout has"),
        ({"name": 5}, "the name 5; expected a text"),
    ],
)
def test_refuses(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(BadFile, match=message) as caught:
        layout_file.find(path)
    assert caught.value.path == path


def test_refuses_other_files(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(UserError, match=r"'coco'; expected one of ntu_25, .*mediapipe_33, or the"):
        layout_file.find("coco")
    with pytest.raises(BadFile, match="expected a readable file"):
        layout_file.find(str(path))


def test_many_joints_take_linear_time(tmp_path):
    joints = [str(number) for number in range(20_000)]
    bones = [[child, parent] for parent, child in itertools.pairwise(joints)]
    path = tmp_path / "chain.json"
    begin = time.process_time()
    for order in (bones, bones[::-1]):
        path.write_text(json.dumps({"name": "chain", "joints": joints, "bones": order}))
        assert layout_file.read(path).parents[0] == 0
        path.write_text(
            json.dumps({"name": "ring", "joints": joints, "bones": [*order, ["0", "19999"]]})
        )
        with pytest.raises(BadFile, match="a cycle of bones"):
            layout_file.read(path)
    # About 2 s; a search that grows with the square takes minutes.
    assert time.process_time() - begin < 30
    path.write_text(" " * 2**21)
    with pytest.raises(BadFile, match=r"more than 1,048,576 bytes"):
        layout_file.read(path)
