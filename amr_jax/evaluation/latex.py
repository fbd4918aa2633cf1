"""Tables for papers: LaTeX with booktabs, for `\\input{FILE}`."""

from collections.abc import Sequence

# Signs of our own tables as pdflatex takes them, and what LaTeX reads as a command.
_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "–": "--",
    "√": r"$\surd$",
    "→": r"$\rightarrow$",
    "…": r"\dots{}",
}
_WIDE = 6  # columns; a table of more goes across both columns of a paper


def escaped(text: object) -> str:
    """The text as LaTeX prints it. Letters that pdflatex lacks (中) need XeLaTeX or LuaLaTeX."""
    return "".join(_SIGNS.get(sign, sign) for sign in str(text))


def table(head: Sequence, rows: Sequence[Sequence], title: str, label: str, under: str = "") -> str:
    """A table in its float: the first column to the left, the others to the right.

    Args:
      head: texts of the columns; rows: of the cells.
      title: the caption.
      label: after `tab:`.
      under: notes, which become comments of LaTeX.
    """
    kind = "table*" if len(head) > _WIDE else "table"
    columns = "l" + "r" * (len(head) - 1)
    head, *lines = (" & ".join(map(escaped, row)) + r" \\" for row in (head, *rows))
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *(f"% {line}" for line in under.splitlines()),
            f"\\begin{{{kind}}}",
            "\\centering",
            f"\\caption{{{escaped(title)}}}",
            f"\\label{{tab:{label}}}",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            head,
            "\\midrule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}",
            f"\\end{{{kind}}}\n",
        ]
    )
