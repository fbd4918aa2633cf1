"""What pre-training sees of a clip: mask, motion-energy weights, prediction beside the truth."""

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from amr_jax.pictures import project, skeleton
from amr_jax.pictures.look import Look
from amr_jax.pictures.style import COLUMN, MARGIN, PAGE, TRUNK, WEIGHTS, Sheet, styled
from amr_jax.skeleton.layouts import Layout

_NAMES = 0.92  # inches for the names of joints
_SCALE = 0.5  # for a scale of colours
_ROW = 0.105  # of a joint in a map
_GAP = 0.24  # between maps


def order(layout: Layout) -> list[int]:
    """All joints, part by part of the body."""
    return [joint for part in layout.parts.values() for joint in part]


@styled
def seen(look: Look, *, columns: int = 8, title: str = "", width: float = PAGE) -> Figure:
    """Mask and weights as maps joints × frames; truth, visible part, weights, prediction as strips.

    Args:
      look: see `look.of_run`.
      columns: frames of the strips.
      title: above; '' for a line that names run and clip.
      width: inches.
    """
    sheet = Sheet(width)
    sheet.text(title or f"{look.method}, step {look.step:,}: {look.name}")
    _maps(sheet, look)
    _strips(sheet, look, columns)
    sheet.text(caption(look), size=7)
    return sheet.done()


def caption(look: Look) -> str:
    """What is drawn, in a sentence or two."""
    frames = f"{look.predicted_len} frames"
    how = {
        "motion": f"in each predicted patch of {frames}, a joint starts at its true place and "
        "follows the predicted motion",
        "joint": f"predicted places of joints, patches of {frames}",
    }[look.target]
    scale = {
        "none": "",
        "patch": "mean and deviation of the true patch",
        "patch_timestamps": "each axis's mean and deviation over the true patch",
        "timestamps": "each axis's mean and deviation over the true clip",
        "body": "the true mean amplitude of the body",
    }[look.normalisation]
    scale = f" Predictions are of normalised values, brought to the clip's unit by {scale}." * bool(
        scale
    )
    kept = " Visible patches, which the loss leaves out, are as they are." * look.visible_kept
    return f"Prediction: {how}.{scale}{kept} Grey: the truth."


def _maps(sheet: Sheet, look: Look) -> None:
    """Which patches are visible, and W, over the frames of the view."""
    joints, (frames, count) = order(look.layout), look.present.shape
    beside = sheet.width > COLUMN and look.weights is not None
    width = sheet.width - 2 * MARGIN - _NAMES - (_SCALE if look.weights is not None else 0)
    width = (width - _GAP) / 2 if beside else width
    height, extent = _ROW * count, (0, frames, count - 0.5, -0.5)
    share = f"{len(look.ids[0])} of {look.visible.size}"
    seen = np.repeat(look.visible, look.patch_len, axis=0)
    maps = [(f"visible patches ({share})", seen, ListedColormap(["#EEEEEE", TRUNK]), 1.0)]
    if look.weights is not None:
        maps.append(("weight W by motion energy", look.weights, WEIGHTS, look.weights.max()))
    sheet.depth += 0.2
    for i, (label, values, colours, most) in enumerate(maps):
        left, down = MARGIN + _NAMES + (i * (width + _GAP) if beside else 0), not beside or i == 1
        axes = sheet.axes(left, width, height, down=down)
        image = axes.imshow(
            values.T[joints], aspect="auto", cmap=colours, vmin=0, vmax=most or 1, extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        names = [look.layout.joints[joint] for joint in joints] if left < 1 else []
        axes.set_yticks(range(count) if names else [], names, fontsize=6)
        axes.tick_params(axis="y", length=0)
        axes.set_title(label, pad=3)
        for edge in np.cumsum([len(part) for part in look.layout.parts.values()])[:-1]:
            axes.axhline(edge - 0.5, color="white", linewidth=0.8)
        if i:
            scale = sheet.figure.colorbar(image, cax=axes.inset_axes((1.03, 0, 0.04, 1)))
            scale.outline.set_visible(False)
        axes.set_xlabel("frame", labelpad=0)
        if down:
            sheet.depth += 0.36 if i or len(maps) == 1 else 0.56


def _strips(sheet: Sheet, look: Look, columns: int) -> None:
    frames = skeleton.chosen(look.view, columns)
    up = project.up_axis(look.view[:, None], look.layout) if look.channels == "xyz" else "y"

    def flat(clip: np.ndarray) -> np.ndarray:
        clip = np.where(look.present[..., None], clip, np.nan)[:, None]
        channels = look.channels.removesuffix("c") if clip.shape[-1] == 2 else look.channels
        return project.points(clip, look.layout, channels, up)[frames]

    true = flat(look.view)
    marked = np.repeat(look.visible, look.patch_len, axis=0)[frames, None]
    rows = [skeleton.Row("truth", true), skeleton.Row("visible", true, marked=marked)]
    if look.weights is not None:
        values = look.weights[frames, None] / (look.weights.max() or 1)
        rows.append(skeleton.Row("weight W", true, values=values))
    rows.append(skeleton.Row("prediction", flat(look.predicted), behind=true))
    skeleton.strip(sheet, rows, look.layout, skeleton.frame_names(frames), tallest=1.15)
