"""Tables on the terminal and in a file."""

import sys

from amr_jax.run import console

HEAD = ("name", "ms", "none", "x")
ROWS = [("a", "1.5", "", "10"), ("bcdef", "", "", "")]


def test_a_table_is_aligned_and_leaves_out_empty_columns():
    text = console.table(HEAD, ROWS)
    assert text.splitlines() == ["name    ms   x", "a      1.5  10", "bcdef"]
    assert console.table(("a", "b"), []) == "a  b"


def test_a_terminal_gets_the_same_cells(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")
    lines = console.table(HEAD, ROWS).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "a", "bcdef"]
    assert "none" not in lines[0]
    assert lines[1].split() == ["a", "1.5", "10"]
