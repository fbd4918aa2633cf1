"""Where the decoder's queries look: attention to visible patches, by joints and over time."""

import numpy as np
from matplotlib.figure import Figure

from amr_jax.errors import UserError
from amr_jax.pictures import project, skeleton
from amr_jax.pictures.look import Look
from amr_jax.pictures.seen import order
from amr_jax.pictures.style import LEFT, MARGIN, PAGE, WEIGHTS, Sheet, styled

# The joints whose queries are drawn, the first of each line that the layout has.
_DRAWN = (
    ("head", "nose"),
    ("left hand", "left wrist"),
    ("right hand", "right wrist"),
    ("left foot", "left ankle"),
    ("right foot", "right ankle"),
)
_NAMES = 0.92  # inches for the names of joints
_SCALE = 0.5  # for a scale of colours


def relative(look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Mean attention of queries to visible patches over that of uniform attention.

    Returns:
      (V, V): query's joint × patch's joint; (queries in time, T/l): query's time × patch's time.
      NaN where no mask left a patch visible.
    """
    if look.attention.shape[2] == look.ids.shape[1]:
        visible = look.attention
    elif look.attention.shape[2] == look.visible.size:
        visible = np.take_along_axis(look.attention, look.ids[:, None], axis=2)
    else:
        raise UserError(f"{look.method} with model.pool: its decoder has no tokens of patches.")
    times, count = look.visible.shape
    visible = visible * look.attention.shape[2]
    visible = visible.reshape(len(visible), -1, count, visible.shape[2])  # (B, times, V, K)
    joint, time = look.ids % count, look.ids // count

    def mean(rows: np.ndarray, of: np.ndarray, size: int) -> np.ndarray:
        total, number = np.zeros((rows.shape[1], size)), np.bincount(of.ravel(), minlength=size)
        for b in range(len(rows)):
            np.add.at(total.T, of[b], rows[b].T)
        with np.errstate(invalid="ignore"):
            return np.where(number, total / np.maximum(number, 1), np.nan)

    return mean(visible.mean(1), joint, count), mean(visible.mean(2), time, times)


@styled
def attention(look: Look, *, title: str = "", width: float = PAGE) -> Figure:
    """Skeletons coloured by the attention of some joints' queries; maps by joints and by time.

    Args:
      look: see `look.of_run`, of as many masks as to average over.
      title: above; '' for a line that names run and clip.
      width: inches.
    """
    layout, joints = look.layout, order(look.layout)
    by_joint, by_time = relative(look)
    sheet = Sheet(width)
    sheet.text(title or f"{look.method}, step {look.step:,}: {look.name}")
    named = [next((n for n in names if n in layout.joints), None) for names in _DRAWN]
    drawn = [layout.joints.index(name) for name in named if name]
    most = np.nanpercentile(by_joint, 99)
    if drawn:
        points = project.points(look.view[:, None], layout, look.channels)
        ends = skeleton.corners(points)[..., 1]
        upright = int(np.nanargmax(ends[:, 1] - ends[:, 0]))
        points = points[upright : upright + 1]
        values = np.nan_to_num(by_joint[drawn] / most).clip(0, 1)[:, None]
        row = skeleton.Row("", np.repeat(points, len(drawn), axis=0), values=values)
        names = [layout.joints[joint] for joint in drawn]
        axes = skeleton.strip(sheet, [row], layout, names, tallest=1.3)[0]
        x = points[0, 0, :, 0]
        for joint, centre in zip(drawn, axes.get_xticks(), strict=True):
            place = centre + x[joint] - (np.nanmin(x) + np.nanmax(x)) / 2, points[0, 0, joint, 1]
            axes.plot(*place, "o", ms=8, mfc="none", mec=LEFT, mew=1.2, clip_on=False)
    _maps(sheet, look, by_joint[joints][:, joints], by_time, joints, most)
    sheet.text(
        f"Attention of a decoder's query to a visible patch, as a multiple of uniform attention: "
        f"mean over heads, blocks and {len(look.ids)} masks. Above: queries of the circled joint.",
        size=7,
    )
    return sheet.done()


def _maps(
    sheet: Sheet,
    look: Look,
    by_joint: np.ndarray,
    by_time: np.ndarray,
    joints: list[int],
    most: float,
) -> None:
    beside = sheet.width >= 5
    room = sheet.width - 2 * MARGIN - _NAMES - _SCALE
    side = min(2.6, room)
    sheet.depth += 0.2
    axes = sheet.axes(MARGIN + _NAMES, side, side, down=not beside)
    image = axes.imshow(by_joint, cmap=WEIGHTS, vmin=0, vmax=most, aspect="auto")
    names = [look.layout.joints[joint] for joint in joints]
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set_xticks(range(len(names)), names, fontsize=6, rotation=90)
    axes.tick_params(length=0)
    axes.set_title("query's joint (rows), patch's joint (columns)", pad=3)
    for edge in np.cumsum([len(part) for part in look.layout.parts.values()])[:-1]:
        axes.axhline(edge - 0.5, color="white", linewidth=0.6)
        axes.axvline(edge - 0.5, color="white", linewidth=0.6)
    below = 0.2 + 0.042 * max(map(len, names))
    if not beside:
        sheet.depth += below + 0.1
    left = MARGIN + _NAMES + (side + 0.55 if beside else 0)
    other = min(side, sheet.width - left - _SCALE - MARGIN)
    axes = sheet.axes(left, other, side)
    frames = len(look.view)
    image = axes.imshow(
        by_time, cmap=WEIGHTS, vmin=0, vmax=most, aspect="auto", extent=(0, frames, frames, 0)
    )
    axes.set_title("query's time (rows), patch's time (columns)", pad=3)
    axes.set_xlabel("frame", labelpad=0)
    scale = sheet.figure.colorbar(image, cax=axes.inset_axes((1.03, 0, 0.04, 1)), extend="max")
    scale.outline.set_visible(False)
    sheet.depth += below if beside else 0.36
