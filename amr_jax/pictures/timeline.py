"""Labels over time: which class a model sees in each window of long sequences, and how surely."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from amr_jax.errors import UserError
from amr_jax.pictures.style import CYCLE, FAINT, MARGIN, PAGE, Sheet, styled

_ROW, _MOST_FILES, _MOST_CLASSES = 0.16, 8, 40  # inches of a class
Window = tuple[float, float, str, float]


@styled
def timeline(files: Mapping[str, Sequence[Window]], unit: str, width: float = PAGE) -> Figure:
    """A panel for each file with a line for each class that wins a window.

    A bar is paler the less probable its class is. Two windows that overlap meet in the middle of
    the overlap.

    Args:
      files: title -> (start, end, class, probability) of its windows, in order.
      unit: of the start and the end, such as 's'.
      width: inches.

    Raises:
      UserError: too many files or classes for one picture; a file without a window.
    """
    if empty := [title for title, rows in files.items() if not rows]:
        raise UserError(f"{', '.join(empty)}: found no window; expected one at least, to draw it.")
    classes = list(dict.fromkeys(name for rows in files.values() for _, _, name, _ in rows))
    if len(files) > _MOST_FILES or len(classes) > _MOST_CLASSES:
        found = f"{len(files)} files with {len(classes)} classes"
        raise UserError(f"found {found}; expected at most {_MOST_FILES} and {_MOST_CLASSES}.")
    sheet = Sheet(width)
    longest = max((len(name) for name in classes), default=0)
    left = MARGIN + min(0.062 * longest + 0.12, 0.45 * width)
    for title, rows in files.items():
        sheet.text(title)
        here = [name for name in classes if name in {row[2] for row in rows}]
        axes = sheet.axes(left, width - left - 2 * MARGIN, _ROW * (len(here) + 0.4))
        until = -math.inf
        for i, (start, end, name, probability) in enumerate(rows):
            begin, until = max(start, until), end
            if i + 1 < len(rows) and rows[i + 1][0] < end:
                until = (rows[i + 1][0] + end) / 2
            colour = CYCLE[classes.index(name) % len(CYCLE)]
            axes.barh(
                here.index(name), until - begin, left=begin, height=0.7, color=colour,
                alpha=0.25 + 0.75 * probability, linewidth=0,
            )  # fmt: skip
        axes.set(xlim=(min(row[0] for row in rows), max(row[1] for row in rows)))
        axes.set_yticks(range(len(here)), [_short(name, width) for name in here])
        axes.set_ylim(len(here) - 0.3, -0.7)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.4)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlabel(unit, loc="right", labelpad=1)
        sheet.depth += 0.36
    return sheet.done()


def _short(name: str, width: float) -> str:
    most = int(0.45 * width / 0.062)
    return name if len(name) <= most else f"{name[: most - 1]}…"
