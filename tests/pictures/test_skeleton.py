"""What a film strip draws, and where: by the positions of its lines."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from amr_jax.errors import UserError
from amr_jax.pictures import project, skeleton, style
from amr_jax.skeleton import layouts
from tests.pictures.clips import standing

KINECT, COCO = layouts.KINECT_20, layouts.COCO_17


def segments(axes) -> list[np.ndarray]:
    return [
        np.asarray(one)
        for collection in axes.collections
        if isinstance(collection, LineCollection)
        for one in collection.get_segments()
    ]


def test_a_person_before_the_sensor_has_the_left_at_the_viewers_right_and_the_head_up():
    right, up = project.view("y", azimuth=0, elevation=0)
    np.testing.assert_allclose(right, [-1, 0, 0], atol=1e-12)  # a Kinect's x grows to the left
    np.testing.assert_allclose(up, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("up", project.UP[1:])
def test_a_view_keeps_lengths_and_is_no_mirror_image(up):
    axes = project.view(up, 40, 20)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    # Towards the viewer, right × up, is away from where an unturned viewer looks.
    straight = np.cross(*project.view(up, 0, 0))
    assert np.cross(*axes) @ straight == pytest.approx(
        np.cos(np.radians(40)) * np.cos(np.radians(20))
    )
    assert axes[1] @ project.view(up, 0, 0)[1] > 0


@pytest.mark.parametrize(
    ("swap", "expected"), [((0, 1, 2), "y"), ((0, 2, 1), "z"), ((1, 0, 2), "x")]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_axis_that_points_up_is_the_trunks(swap, expected, sign):
    clip = sign * standing()[..., swap]
    assert project.up_axis(clip, KINECT) == ("-" if sign < 0 else "") + expected


def test_joints_that_were_not_found_do_not_turn_the_picture():
    clip = standing(bodies=2)
    clip[:, 0, KINECT.joints.index("left shoulder")] = np.nan
    clip[0, 1, KINECT.joints.index("right hip"), 0] = np.inf
    assert project.up_axis(clip[..., [0, 2, 1]], KINECT) == "z"
    clip[:, :, [i for i, name in enumerate(KINECT.joints) if "hip" in name]] = np.nan
    assert project.up_axis(clip[..., [0, 2, 1]], KINECT) == "y"


def test_lines_lie_at_the_projected_joints_at_equal_scale():
    clip = standing()
    figure = skeleton.film_strip(clip, KINECT, columns=3)
    (axes,) = figure.axes
    points = project.points(clip, KINECT)[[0, 4, 8], 0]
    drawn = np.stack(segments(axes)).reshape(3, len(KINECT.bones), 2, 2)
    step = axes.get_xlim()[1] / 3
    for k in range(3):
        middle = (points[k].min(0) + points[k].max(0)) / 2
        shift = [(k + 0.5) * step - middle[0], 0]
        for line, (child, parent) in zip(drawn[k], KINECT.bones, strict=True):
            np.testing.assert_allclose(line, points[k][[child, parent]] + shift, atol=1e-6)
    figure.canvas.draw()
    box, (x, y) = axes.get_window_extent(), (axes.get_xlim(), axes.get_ylim())
    assert box.width / np.ptp(x) == pytest.approx(box.height / np.ptp(y))
    assert y[0] < points[..., 1].min()
    assert points[..., 1].max() < y[1]


def test_images_have_y_downwards():
    clip = np.random.default_rng(0).uniform(100, 200, (4, 1, 17, 2))
    np.testing.assert_array_equal(project.points(clip, COCO), clip * [1, -1])


def test_joints_that_were_not_found_are_not_drawn():
    clip = np.random.default_rng(0).uniform(100, 200, (1, 1, 17, 3))
    clip[..., 2] = 0.9
    whole = segments(skeleton.film_strip(clip, COCO, channels="xyc").axes[0])
    wrist = COCO.joints.index("left wrist")
    clip[0, 0, wrist, 2] = 0  # by its confidence
    without = segments(skeleton.film_strip(clip, COCO, channels="xyc").axes[0])
    assert len(whole) == len(without) + 1
    clip[0, 0, COCO.joints.index("left knee"), 0] = np.nan  # the end of a thigh and a shin
    assert len(segments(skeleton.film_strip(clip, COCO, channels="xyc").axes[0])) == len(whole) - 3


def test_an_absent_second_person_leaves_the_picture_as_it_is():
    one = standing()
    two = np.concatenate([one, 0 * one], axis=1)
    assert style.png(skeleton.film_strip(one, KINECT)) == style.png(
        skeleton.film_strip(two, KINECT)
    )
    with pytest.raises(ValueError, match="nobody"):
        skeleton.film_strip(0 * one, KINECT)


def test_two_persons_are_drawn_and_the_second_is_paler():
    (axes,) = skeleton.film_strip(standing(bodies=2), KINECT, columns=1).axes
    first, second = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(first.get_segments()) == len(second.get_segments()) == 19
    assert (second.get_colors()[:, :3] > first.get_colors()[:, :3]).all(axis=1).any()
    assert (second.get_colors() >= first.get_colors()).all()


def test_left_and_right_have_their_colours():
    sides = {KINECT.joints[a]: colour for a, _, colour in skeleton.lines(KINECT)}
    assert sides["left wrist"] == style.LEFT
    assert sides["right foot"] == style.RIGHT
    assert sides["head"] == style.TRUNK


def test_the_trunk_of_detectors_layouts_is_closed():
    pairs = {frozenset((COCO.joints[a], COCO.joints[b])) for a, b, _ in skeleton.lines(COCO)}
    assert {"left shoulder", "right shoulder"} in pairs
    assert {"left hip", "right hip"} in pairs
    assert {"nose", "left shoulder"} not in pairs
    assert len(skeleton.lines(layouts.NTU_25)) == len(layouts.NTU_25.bones)


def test_the_users_backend_stays_and_titles_are_no_mathematics(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "backend", "svg")
    figure = skeleton.film_strip(standing(frames=1), KINECT, title=r"costs $\nonsense$")
    assert style.png(figure).startswith(b"\x89PNG")
    assert matplotlib.rcParams["backend"] == "svg"


def test_files_open_and_have_the_width_of_a_paper(tmp_path):
    figure = skeleton.film_strip(standing(), KINECT, title="a title", width=style.COLUMN)
    for kind in style.FORMATS:
        style.save(figure, tmp_path / f"strip{kind}")
    image = Image.open(tmp_path / "strip.png")
    assert image.size[0] == style.COLUMN * style.DPI
    assert b"/FontFile2" in (tmp_path / "strip.pdf").read_bytes()  # TrueType, embedded
    assert (tmp_path / "strip.svg").read_text().startswith("<?xml")
    again = io.BytesIO(style.content(figure, ".pdf"))
    assert again.getvalue() == (tmp_path / "strip.pdf").read_bytes()
    with pytest.raises(UserError, match=r"\.bmp: expected a name that ends in \.png"):
        style.save(figure, tmp_path / "strip.bmp")
