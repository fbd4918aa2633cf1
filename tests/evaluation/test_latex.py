"""Tables as LaTeX: escaped, and, where pdflatex is, printed."""

import re
import shutil
import subprocess

import pytest

from amr_jax.evaluation import latex

HEAD = ["data_set", "top-1 %", "50 & more"]
ROWS = [["nwucla {a} #1 $x$", "84.7 ± 0.3", "–"], [r"~user\\home^2", "1.02×", "−3 → 4 …"]]


def document(text):
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
    return f"{head}\\begin{{document}}\n{text}\n\\end{{document}}\n"


def test_every_sign_that_latex_reads_is_escaped():
    text = latex.table(HEAD, ROWS, "50 % of sets_1 & <2>", "sets", "a note\nof two lines")
    lines = text.splitlines()
    assert lines[:3] == ["% needs \\usepackage{booktabs}", "% a note", "% of two lines"]
    assert r"\caption{50 \% of sets\_1 \& $<$2$>$}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert r"data\_set & top-1 \% & 50 \& more \\" in lines
    assert r"nwucla \{a\} \#1 \$x\$ & 84.7 $\pm$ 0.3 & -- \\" in lines
    cells = [re.findall(r"(?<!\\)&", line) for line in lines if line.endswith(r" \\")]
    assert [len(each) for each in cells] == [2, 2, 2]


def test_a_table_of_many_columns_spans_the_page():
    text = latex.table("abcdefg", ["1234567"], "wide", "wide")
    assert r"\begin{table*}" in text
    assert text.endswith("\\end{table*}\n")


def test_pdflatex_prints_it(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    (tmp_path / "a.tex").write_text(document(latex.table(HEAD, ROWS, "A_title & 5 %", "a")))
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").stat().st_size > 1000
