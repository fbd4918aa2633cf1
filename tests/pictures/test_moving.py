"""Animations: frames, sizes, and a page that needs no network."""

import io
import itertools
import json
import re
import shutil
import weakref

import numpy as np
import pytest
from PIL import Image

from amr_jax.errors import UserError
from amr_jax.pictures import moving, project, skeleton
from amr_jax.skeleton import layouts
from tests.pictures.clips import standing

KINECT = layouts.KINECT_20


def data_of(page: str) -> dict:
    return json.loads(re.search(r"const clip = (.*);\n", page)[1])


def test_a_gif_has_every_frame_and_each_is_another_picture():
    clip = standing(frames=5)
    image = Image.open(io.BytesIO(moving.animation(clip, KINECT, ".gif", fps=25)))
    assert image.n_frames == 5
    assert max(image.size) == 400
    frames = []
    for i in range(5):
        image.seek(i)
        assert image.info["duration"] == 40
        frames.append(np.asarray(image.convert("RGB")))
    assert all((a != b).any() for a, b in itertools.pairwise(frames))


def test_a_gif_of_somebody_who_stands_still_takes_as_long():
    clip = standing(frames=5)
    clip[3] = clip[2]
    image = Image.open(io.BytesIO(moving.animation(clip, KINECT, ".gif", fps=25)))
    lengths = []
    for i in range(image.n_frames):
        image.seek(i)
        lengths.append(image.info["duration"])
    assert sum(lengths) == 5 * 40


def test_mp4_without_ffmpeg_tells_what_to_do(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(UserError, match=r"ffmpeg is not installed.*\.gif or \.html"):
        moving.animation(standing(), KINECT, ".mp4")


@pytest.mark.parametrize("kind", [".gif", ".mp4"])
def test_few_frames_are_in_memory_at_a_time(kind, monkeypatch, tmp_path):
    """Also that another program gets all of them, in order."""
    copies = tmp_path / "copies"
    copies.write_text('#!/bin/sh\nfor last; do :; done\nexec cat > "$last"\n')
    copies.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda program: str(copies))
    real, made, most = moving._images, [], 0

    def watched(points, layout):
        nonlocal most
        for image in real(points, layout):
            made.append(weakref.ref(image))
            most = max(most, sum(one() is not None for one in made))
            yield image
            del image

    monkeypatch.setattr(moving, "_images", watched)
    # Pillow's copies are watched in place of the arrays.
    image_of = Image.fromarray
    pictures, held = [], []

    def copied(array):
        image = image_of(array)
        pictures.append(weakref.ref(image))
        held.append(sum(one() is not None for one in pictures))
        return image

    monkeypatch.setattr(Image, "fromarray", copied)
    clip = standing(frames=8)
    content = moving.animation(clip, KINECT, kind)
    assert len(made) == 8
    assert max([most, *held]) <= 3
    if kind == ".mp4":
        frames = real(project.points(clip, KINECT), KINECT)
        assert content == b"".join(frame.tobytes() for frame in frames)


@pytest.mark.parametrize("fps", [0, -5, np.nan, np.inf])
def test_times_that_no_file_can_hold_are_refused(fps):
    for kind in moving.FORMATS:
        with pytest.raises(UserError, match=r"fps: found .*; expected frames per second from 0.1"):
            moving.animation(standing(frames=1), KINECT, kind, fps=fps)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_mp4_where_ffmpeg_is():
    content = moving.animation(standing(), KINECT, ".mp4")
    assert content[4:8] == b"ftyp"


def test_a_failure_of_ffmpeg_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: "/bin/false")
    with pytest.raises(UserError, match="/bin/false failed"):
        moving.animation(standing(), KINECT, ".mp4")


def test_the_page_refers_to_nothing_outside_and_escapes_its_title():
    page = moving.animation(standing(), KINECT, ".html", title="a <b> & c").decode()
    assert "<p>a &lt;b&gt; &amp; c</p>" in page
    for reference in ("http", "src=", "href=", "@import", "url(", "fetch(", "__"):
        assert reference not in page


def test_the_page_holds_the_joints_and_draws_as_the_strip_does():
    clip = standing(frames=2, bodies=2)
    clip[1, 1] = 0
    data = data_of(moving.animation(clip, KINECT, ".html", fps=24).decode())
    assert data["joints"][1][1] == [None] * 20
    np.testing.assert_allclose(data["joints"][0], clip[0], atol=1e-3)
    assert [tuple(line) for line in data["lines"]] == skeleton.lines(KINECT)
    assert (data["fps"], data["heads"]) == (24, [KINECT.joints.index("head")])
    np.testing.assert_array_equal(np.cross(data["forward"], data["up"]), project.view("y", 0, 0)[0])


def test_a_page_of_an_image_does_not_turn():
    clip = np.random.default_rng(0).uniform(100, 900, (3, 1, 17, 3))
    clip[0, 0, 4, 2] = 0
    data = data_of(moving.animation(clip, layouts.COCO_17, ".html", channels="xyc").decode())
    assert data["forward"] is None
    assert data["joints"][0][0][4] is None
    assert data["joints"][1][0][4][2] == 0
