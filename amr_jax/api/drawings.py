"""Drawings of clips, which a notebook shows."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from amr_jax.api.data import Data
from amr_jax.pictures import clips, moving, skeleton, style
from amr_jax.run import paths, workdir

_MOST = 6  # clips that are drawn


class Drawing:
    """Clips as film strips; a notebook shows them.

    Attributes:
      clips: what is drawn, `pictures.clips.Clip`.
    """

    def __init__(self, drawn: Sequence[clips.Clip], columns: int):
        self.clips, self._columns = drawn, columns

    @property
    def figure(self) -> Figure:
        """The film strips, a figure of matplotlib."""
        rows = [(one.name, one.joints, one.layout, one.channels) for one in self.clips]
        return skeleton.film_strips(rows, columns=self._columns)

    def save(self, path: os.PathLike | str, fps: float = 30.0) -> None:
        """Writes the strips (.png, .pdf, .svg), or the first clip moving (.gif, .mp4, .html)."""
        kind, first = Path(path).suffix.lower(), self.clips[0]
        if kind not in moving.FORMATS:
            style.save(self.figure, paths.absolute(path))
            return
        how = {"channels": first.channels, "fps": fps, "title": first.name}
        content = moving.animation(first.joints, first.layout, kind, **how)
        workdir.write(paths.absolute(path), content)

    def _repr_png_(self) -> bytes:
        return style.png(self.figure)

    def __repr__(self) -> str:
        return f"Drawing({len(self.clips)} clips: {', '.join(one.name for one in self.clips)})"


def show(
    x: Any, *, layout: str | None = None, channels: str | None = None, columns: int = 8
) -> Drawing:
    """Draws the first six clips of arrays or of a data set.

    Args:
      x: arrays, see `in_memory.sequences`; or `Data`, whose training split is drawn.
      layout: the joints of arrays, as in `load_data`; None: the only layout of that many joints.
      channels: the numbers of a joint, as in `load_data`; None: by layout and shape.
      columns: frames of a strip.

    Raises:
      UserError: arrays of another form, or joints of no known layout.
    """
    if not isinstance(x, Data):
        return Drawing(clips.of_memory(x, layout, channels)[:_MOST], columns)
    few = min(_MOST, len(x.open()))
    place = x.data_dir, x.name, "train"
    return Drawing([clips.of_record(*place, index) for index in range(few)], columns)
