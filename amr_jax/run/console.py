"""Tables on the terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text: the first column left-aligned, the others right-aligned.

    On a terminal, rich fits it to the window. In a file or a pipe, every row is one line.

    Args:
      head: names of the columns.
      rows: one text per column. A column without any text is left out.
    """
    kept = [i for i in range(len(head)) if not rows or any(row[i] for row in rows)]
    cells = [[row[i] for i in kept] for row in (head, *rows)]
    if sys.stdout.isatty():
        return _rich(cells)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        aligned = [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *aligned]).rstrip())
    return "\n".join(lines)


def _rich(cells: Sequence[Sequence[str]]) -> str:
    drawn = Table(box=None, pad_edge=False)
    for i, name in enumerate(cells[0]):
        drawn.add_column(name, justify="right" if i else "left")
    for row in cells[1:]:
        drawn.add_row(*map(Text, row))  # not markup: '[' is a character
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n")
