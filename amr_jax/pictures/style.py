"""The style of all pictures: sizes, type, colours; and how they become files."""

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_jax.errors import UserError
from amr_jax.run import workdir

# Inches: one column, and the text of a page, of a two-column paper.
COLUMN, PAGE = 3.4, 7.0
WIDTHS = {"column": COLUMN, "page": PAGE}
DPI = 200

# Okabe and Ito's colours, which colour-blind readers tell apart.
LEFT, RIGHT, TRUNK = "#D55E00", "#0072B2", "#333333"
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
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Makes a function that draws use the style, whatever the user's own settings are."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_RC, "backend": "agg"}):
            return draw(*args, **kwargs)

    return wrapped


@styled
def content(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a file.

    Args:
      figure: a figure of this package.
      kind: `.png`, `.pdf` (fonts embedded as TrueType) or `.svg`.
    """
    buffer, undated = io.BytesIO(), {".pdf": "CreationDate", ".svg": "Date"}.get(kind)
    FigureCanvasAgg(figure).print_figure(
        buffer, format=kind[1:], dpi=DPI, metadata={undated: None} if undated else None
    )
    return buffer.getvalue()


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
