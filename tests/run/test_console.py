"""Tables, progress and durations."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import time

import jax

from amr_jax.run import console, distributed

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


SCRIPT = """
import sys, time
from amr_jax.run import console
console._FIRST_LINE_S, console._LINE_EVERY_S = 0.1, 0.2
with console.progress_bar("rows done", 3) as row:
    row(0)
    with console.progress_bar("compiling"):
        time.sleep(0.7)
    row(text="[amr]")
    with console._bars_hidden():
        print("a result", flush=True)
    time.sleep(0.4)
assert "jax" not in sys.modules
"""


def test_a_pipe_gets_lines_now_and_then_also_while_nothing_advances():
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "a result\n"), ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[0] == "rows done 0/3; compiling 0:00"
    assert re.fullmatch(r"rows done 1/3  0:0[12] left  \[amr\]", lines[-1])
    assert 4 <= len(lines) <= 7
    assert "\x1b" not in ended.stderr


def test_a_terminal_gets_bars_that_results_do_not_cut():
    shown = on_a_terminal([sys.executable, "-c", SCRIPT])
    assert "compiling \x1b[" in shown
    assert "1/3" in shown
    assert "[amr]" in shown
    # The bars are cleared before the text, and in the end.
    assert "\x1b[?25h\r\x1b[1A\x1b[2Ka result\r\n" in shown
    assert shown.endswith("\r\x1b[2K\x1b[?25h\r") or shown.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")


def on_a_terminal(command: list[str]) -> str:
    """All that a command shows on a terminal that is its standard output and error."""
    shown, (ours, theirs) = bytearray(), pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # its end is an error of this side
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def test_the_first_of_several_processes_shows_bars(monkeypatch, capsys):
    monkeypatch.setattr(console, "_FIRST_LINE_S", 0.01)
    monkeypatch.setattr(distributed, "several", lambda: True)
    for process in (1, 0):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        with console.progress_bar(f"process {process}", 2) as advance:
            advance()
            time.sleep(0.1)
    shown = capsys.readouterr()
    assert "process 1" not in shown.err
    assert "process 0 1/2" in shown.err
    assert shown.out == ""


def test_progress_leaves_out_every_dispatch_that_compiles(monkeypatch, capsys):
    now, shown = iter([0.0, 100.0, 110.0, 120.0, 170.0]), []
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    earlier = {"timed_seconds": 5.0, "timed_steps": 5}
    progress = console.Progress(38, 8, earlier, lambda steps, text: shown.append((steps, text)))
    assert progress.update(range(5, 15), "loss 4", program=10) == earlier
    measured = progress.update(range(15, 25), "loss 3", program=10)
    assert measured == {"timed_seconds": 15.0, "timed_steps": 15, "sequences_per_s": 8.0}
    measured = progress.update(range(25, 35), "loss 2", program=10)
    assert measured == {"timed_seconds": 25.0, "timed_steps": 25, "sequences_per_s": 8.0}
    # The last dispatch is shorter, and so another program.
    assert progress.update(range(35, 38), "loss 1", program=3) == measured
    assert shown == [
        (10, "loss 4"),
        (10, "loss 3  8 sequences/s"),
        (10, "loss 2  8 sequences/s"),
        (3, "loss 1  8 sequences/s"),
    ]
    assert capsys.readouterr().out == "step 38/38  loss 1  8 sequences/s\n"


def test_silence_is_for_use_from_python(monkeypatch, capsys):
    monkeypatch.setattr(console, "_FIRST_LINE_S", 0.01)
    for quiet in (console.silence(), contextlib.nullcontext()):
        with quiet, console.progress_bar("fitting"):
            console.say("done")
            time.sleep(0.1)
    shown = capsys.readouterr()
    assert shown.out == "done\n"
    assert set(shown.err.splitlines()) == {"fitting 0:00"}
