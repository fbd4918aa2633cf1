"""The text of a `.skeleton` file: what is read, what is refused, and the line in the error."""

import time

import numpy as np
import pytest

from amr_jax.data.readers import ntu_text
from amr_jax.errors import BadFile
from tests.data.readers.ntu_files import FIRST_ID, film, person, skeleton_text

PATH = "S001C001P001R001A001.skeleton"


def small() -> list:
    """Four frames: one body, none, two bodies, one body."""
    a, b = person(0, 3), person(1, 1)
    return film(4, (FIRST_ID, [0, 2, 3], a), (FIRST_ID + 1, [2], b))


def same(left: ntu_text.Recording, right: ntu_text.Recording) -> bool:
    return left.num_frames == right.num_frames and all(
        one.body_id == other.body_id
        and np.array_equal(one.frames, other.frames)
        and np.array_equal(one.joints, other.joints)
        for one, other in zip(left.bodies, right.bodies, strict=True)
    )


def test_bodies_keep_their_exact_ids_frames_and_coordinates():
    assert float(FIRST_ID) == float(FIRST_ID + 1)  # an id must not become a double
    recording = ntu_text.parse(skeleton_text(small()), PATH)
    first, second = recording.bodies
    assert (recording.num_frames, first.body_id, second.body_id) == (4, FIRST_ID, FIRST_ID + 1)
    assert first.frames.tolist() == [0, 2, 3]
    assert second.frames.tolist() == [2]
    assert first.joints.dtype == np.float32
    np.testing.assert_array_equal(first.joints, person(0, 3))
    np.testing.assert_array_equal(second.joints, person(1, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n \r\n\n",
        lambda text: text.replace(b" ", b"  "),
        lambda text: text.replace(b" ", b"\t"),
        lambda text: text.replace(b"\n", b" \n"),
        lambda text: text.replace(b"277.419", b"nan").replace(b"1036.23", b"-Infinity"),
        lambda text: text.replace(b"519.1", b"519,1"),
        lambda text: text.replace(b"191.8218", b"1.918218e2"),
    ],
    ids=[
        "CRLF",
        "no last line end",
        "blank end",
        "wide",
        "tabs",
        "trailing",
        "no pixel",
        "not read",
        "powers",
    ],
)
def test_harmless_differences_change_nothing(change):
    text = skeleton_text(small())
    assert change(text) != text
    assert same(ntu_text.parse(change(text), PATH), ntu_text.parse(text, PATH))


@pytest.mark.parametrize("text", [b"3\n0\n0\n0\n", b"0\n"])
def test_a_file_without_a_body(text):
    recording = ntu_text.parse(text, PATH)
    assert (recording.num_frames, recording.bodies) == (int(text[:1]), [])


def line(number: int, new: bytes | None):
    """Replaces (None: removes) a line, counted from 1, of `small`."""

    def change(text: bytes) -> bytes:
        lines = text.split(b"\n")
        lines[number - 1 : number] = [] if new is None else [new]
        return b"\n".join(lines)

    return change


JOINT = b"0.1 0.2 0.3 277.419 191.8218 1036.23 519.1 -0.2 0 1 0 2"

# Lines of `small`: 1 frames; 2 bodies, 3 body, 4 joints, 5-29; 30 no body; 31 two bodies, 32-58,
# 59-85; 86 one body, 87-113.
BAD = {
    "empty": (lambda text: b"", 1, "the file's end", "number of frames"),
    "blank": (lambda text: b" \n\n", 1, "the file's end", "number of frames"),
    "binary": (lambda text: bytes(range(256)) * 9, 1, "'????", "number of frames"),
    "another text": (lambda text: b"<html>\n", 1, "'<html>'", "number of frames"),
    "more frames": (line(1, b"5"), 114, "the file's end", "bodies in frame 5 of 5"),
    "a billion frames": (
        line(1, b"1000000000"),
        114,
        "the file's end",
        "bodies in frame 5 of 1000000000",
    ),
    "huge count": (line(1, b"9" * 5000), 1, "a line of 5,000 bytes", "at most 4,096"),
    "large count": (line(1, b"9" * 500), 1, "'9999", "number of frames"),
    "fewer frames": (line(1, b"3"), 86, "'1'", "end of the file after its 3 frames"),
    "trailing": (lambda text: text + b"0.5\n", 114, "'0.5'", "end of the file after its 4 frames"),
    "negative count": (line(2, b"-1"), 2, "'-1'", "number of bodies in frame 1 of 4"),
    "fraction": (line(2, b"1.0"), 2, "'1.0'", "number of bodies in frame 1 of 4"),
    "more bodies": (line(2, b"2"), 30, "'0'", "10 values of body 2 of 2 in frame 1"),
    "a billion bodies": (line(2, b"999999999"), 30, "'0'", "body 2 of 999999999"),
    "id twice": (
        lambda text: text.replace(str(FIRST_ID + 1).encode(), str(FIRST_ID).encode()),
        59,
        f"bodyID {FIRST_ID} twice in frame 3 of 4",
        "every body once in a frame",
    ),
    "blank moved": (
        # x, y, z become other numbers, and the count of values stays: only column 4 shows it.
        line(41, b"0. 1 0.2 277.419191.8218 1 2 3 4 5 6 7 2"),
        41,
        "'277.419191.8218'",
        "numbers with blanks between them",
    ),
    "minus inside": (line(41, JOINT.replace(b"9.1 -0", b"9-0 0")), 41, "'519-0'", "blanks"),
    "fewer bodies": (line(31, b"1"), 59, f"'{FIRST_ID + 1}", "number of bodies in frame 4 of 4"),
    "24 joints": (line(4, b"24"), 4, "'24'", "25, the number of joints of body 1 of 1 in frame 1"),
    "26 joints": (
        line(88, b"26"),
        88,
        "'26'",
        "25, the number of joints of body 1 of 1 in frame 4",
    ),
    "body id": (line(3, b"7.2e16 0 1 1 1 1 0 0 0 2"), 3, "'7.2e16 ", "bodyID"),
    "lost line": (line(20, None), 29, "'0'", "12 values of joint 25 of body 1"),
    "lost value": (line(40, JOINT[4:]), 40, "11 values", "12 values of joint 7 of body 1 of 2"),
    "extra value": (line(40, JOINT + b" 1"), 40, "13 values", "12 values of joint 7"),
    "word": (line(41, JOINT.replace(b"0.2 ", b"x.2 ")), 41, "'x.2'", "in column 2"),
    "two points": (line(41, JOINT.replace(b"0.3", b"0.3.1")), 41, "'0.3.1'", "finite number"),
    "glued": (line(41, JOINT.replace(b"0.2 ", b"0.2-", 1)), 41, "11 values", "12 values"),
    "control": (line(41, JOINT.replace(b"0.3", b"0.3\x1c")), 41, "'0.3?'", "in column 3"),
    "NaN": (line(5, JOINT.replace(b"0.1", b"NaN")), 5, "'NaN'", "finite number"),
    "infinite": (line(5, JOINT.replace(b"0.2", b"-inf", 1)), 5, "'-inf'", "finite number"),
    "too large": (line(5, JOINT.replace(b"0.3", b"1e39")), 5, "'1e39'", "finite number"),
    "underscore": (line(5, JOINT.replace(b"0.3", b"1_0")), 5, "'1_0'", "in column 3"),
    "cut in a frame": (lambda text: b"\n".join(text.split(b"\n")[:50]), 51, "end", "joint 18"),
    "cut in a line": (lambda text: text[:-30], 113, "values", "joint 25 of body 1 of 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_refused_with_its_line(case):
    change, number, found, expected = BAD[case]
    with pytest.raises(BadFile) as error:
        ntu_text.parse(change(skeleton_text(small())), PATH)
    assert error.value.path == PATH
    assert error.value.line == number
    assert found in error.value.found
    assert expected in error.value.expected
    assert len(str(error.value)) < 300


def test_announced_sizes_take_no_time():
    begin = time.process_time()
    for text in (b"999999999\n", b"1\n999999999\n", b"999999999\n" + b"0\n" * 1000):
        with pytest.raises(BadFile):
            ntu_text.parse(text, PATH)
    assert time.process_time() - begin < 1


def test_mutations_raise_only_bad_file():
    rng = np.random.default_rng(0)
    whole = skeleton_text(small())
    pieces = [b"-", b".", b"e", b"9" * 30, b" ", b"\n", b"\r", b"nan", b"\x00", b"\xff", b"1e999"]
    lines = []
    for _ in range(400):
        text = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at, length = rng.integers(len(text)), rng.integers(0, rng.choice([2, 200]))
            piece = pieces[rng.integers(len(pieces))] if rng.random() < 0.7 else b""
            copy = bytes(text[at : at + length]) if rng.random() < 0.2 else b""
            text[at : at + (0 if copy else length)] = piece + copy
        try:
            recording = ntu_text.parse(bytes(text), PATH)
        except BadFile as error:
            lines.append((error.line, text.count(b"\n") + 2))
            continue
        for body in recording.bodies:
            assert body.joints.shape == (len(body.frames), 25, 3)
            assert body.joints.dtype == np.float32
            assert np.isfinite(body.joints).all()
            assert 0 <= body.frames.min() <= body.frames.max() < recording.num_frames
    assert 200 < len(lines) < 400
    assert all(1 <= number <= last for number, last in lines)
