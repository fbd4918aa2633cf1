"""Tables, progress and durations."""

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


def test_durations():
    assert console.duration(3723) == "1:02:03"
    assert console.duration(63.4) == "1:03"


def test_the_bar_of_commands_without_jax_is_on_standard_error(capsys):
    with console.progress_bar("parsing [a]", 3) as advance:
        advance(1)
        advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "parsing [a]" in err
    assert "3/3" in err


def test_progress_leaves_out_every_dispatch_that_compiles(monkeypatch, capsys):
    now = iter([0.0, 100.0, 110.0, 120.0, 170.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    earlier = {"timed_seconds": 5.0, "timed_steps": 5}
    progress = console.Progress(total_steps=38, sequences_per_step=8, last=earlier)
    assert progress.update(range(5, 15), "loss 4") == earlier
    measured = progress.update(range(15, 25), "loss 3")
    assert measured == {"timed_seconds": 15.0, "timed_steps": 15, "sequences_per_s": 8.0}
    measured = progress.update(range(25, 35), "loss 2")
    assert measured == {"timed_seconds": 25.0, "timed_steps": 25, "sequences_per_s": 8.0}
    # The last dispatch is shorter, and so another program.
    assert progress.update(range(35, 38), "loss 1") == measured
    assert capsys.readouterr().out.splitlines() == [
        "step 15/38  loss 4",
        "step 25/38  loss 3  8 sequences/s  0:13 left",
        "step 35/38  loss 2  8 sequences/s  0:03 left",
        "step 38/38  loss 1  8 sequences/s  0:00 left",
    ]
