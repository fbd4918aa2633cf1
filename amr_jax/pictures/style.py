"""The style of all pictures: sizes, type, colours; and how they become files."""

import contextlib
import functools
import io
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from amr_jax.errors import UserError
from amr_jax.run import workdir

# Inches: one column, and the text of a page, of a two-column paper.
COLUMN, PAGE = 3.4, 7.0
WIDTHS = {"column": COLUMN, "page": PAGE}
MARGIN = 0.06  # around everything
DPI = 200

# Okabe and Ito's colours, which colour-blind readers tell apart.
LEFT, RIGHT, TRUNK = "#D55E00", "#0072B2", "#333333"
GOOD, BAD = "#009E73", "#D55E00"
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FAINT = "#BBBBBB"
WEIGHTS = "viridis"  # of heat maps

FORMATS = (".png", ".pdf", ".svg")

_RC = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.hashsalt": "amr_jax",  # the same picture has the same bytes
    "text.parse_math": False,  # names of files and classes may have a $
}

P = ParamSpec("P")
R = TypeVar("R")


def applied() -> contextlib.AbstractContextManager:
    """A context in which artists get the style, whatever the user's own settings are."""
    # The backend stays the user's: a context does not restore it, and figures here need none.
    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if k != "backend"}
    return matplotlib.rc_context({**defaults, **_RC})


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Makes a function that draws use the style (`applied`)."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with applied():
            return draw(*args, **kwargs)

    return wrapped


@styled
def content(figure: Figure, kind: str, dpi: float = DPI) -> bytes:
    """A figure as the content of a file.

    Args:
      figure: a figure of this package.
      kind: `.png`, `.pdf` (fonts embedded as TrueType) or `.svg`.
      dpi: pixels per inch of PNG.
    """
    buffer, undated = io.BytesIO(), {".pdf": "CreationDate", ".svg": "Date"}.get(kind)
    FigureCanvasAgg(figure).print_figure(
        buffer, format=kind[1:], dpi=dpi, metadata={undated: None} if undated else None
    )
    return buffer.getvalue()


class Sheet:
    """A figure that is filled from the top down; all measures are inches.

    Args:
      width: of the figure.
    """

    def __init__(self, width: float):
        self.figure, self.width, self.depth = Figure(figsize=(width, 1), dpi=DPI), width, MARGIN
        self._placed: list[tuple[Axes | Text, tuple[float, ...]]] = []

    def axes(self, left: float, width: float, height: float, down: bool = True) -> Axes:
        """Axes below all that is there; `down`: what follows goes below them, not beside them."""
        axes = self.figure.add_axes((0, 0, 1, 1), label=f"{len(self._placed)}")
        self._placed.append((axes, (left, self.depth + height, width, height)))
        self.depth += height if down else 0
        return axes

    def text(
        self, text: str, left: float = MARGIN, size: float = 8, down: bool = True, **how
    ) -> None:
        """Type below all that is there, its lines broken at the width of the figure."""
        letters = int((self.width - left - MARGIN) * 72 / (0.54 * size))
        lines = textwrap.wrap(text, letters)
        placed = self.figure.text(0, 0, "\n".join(lines), va="top", fontsize=size, **how)
        self._placed.append((placed, (left, self.depth)))
        self.depth += size / 72 * (1.25 * len(lines) + 0.35) if down else 0

    def done(self) -> Figure:
        """The figure, as high as what is in it."""
        total = self.depth + MARGIN
        self.figure.set_size_inches(self.width, total)
        for one, (left, depth, *size) in self._placed:
            place = left / self.width, 1 - depth / total
            if isinstance(one, Axes):
                one.set_position((*place, size[0] / self.width, size[1] / total))
            else:
                one.set_position(place)
        return self.figure


def png(figure: Figure) -> bytes:
    """A figure as the content of a .png file."""
    return content(figure, ".png")


def save(figure: Figure, path: os.PathLike | str) -> None:
    """Writes a figure as PNG, PDF or SVG, by the end of the file's name.

    Raises:
      UserError: another ending; the file cannot be written.
    """
    kind = Path(path).suffix.lower()
    if kind not in FORMATS:
        raise UserError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
    workdir.write(path, content(figure, kind))
