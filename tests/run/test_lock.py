"""A workdir is owned by one run at a time: who is refused, who takes over, and who gives way."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from amr_jax.errors import UserError
from amr_jax.run import lock, workdir

# Takes the folder, says so, and waits to be killed.
OWNER = """
import sys, time
from amr_jax.run import lock
with lock.hold(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path):
    """A process that owns the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A lock left by another machine; nobody beats, and it is soon given up."""
    with lock.hold(tmp_path):
        content = json.loads((tmp_path / lock.LOCK_FILE).read_text())
    content |= {"machine": "host7 boot pid", "host": "host7", "pid": 4242, "token": "x"}
    (tmp_path / lock.LOCK_FILE).write_text(json.dumps(content))
    monkeypatch.setattr(lock, "WATCH_S", 0.2)
    monkeypatch.setattr(lock, "_LOOK_EVERY_S", 0.02)
    return content


def test_a_second_start_is_refused_by_name_until_the_first_is_killed(tmp_path, owner, capsys):
    named = rf"process {owner.pid} on .*, since 20\d\d-.*--workdir"
    with pytest.raises(UserError, match=named), lock.hold(tmp_path):
        pass
    owner.send_signal(signal.SIGKILL)
    # Not yet waited for: a process that has ended all the same.
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
    with lock.hold(tmp_path):
        assert f"left by process {owner.pid} " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_another_process_that_got_the_same_number_is_no_owner(tmp_path, owner):
    content = json.loads((tmp_path / lock.LOCK_FILE).read_text())
    assert content["started"] == lock.started(owner.pid)
    content["started"] -= 1
    (tmp_path / lock.LOCK_FILE).write_text(json.dumps(content))
    with lock.hold(tmp_path):
        pass


def test_this_very_process_is_refused_too_and_an_error_gives_the_folder_back(tmp_path):
    folder = tmp_path / "new"

    def twice():
        with lock.hold(folder), lock.hold(folder):
            pass

    with pytest.raises(UserError, match=f"another run uses .* process {os.getpid()} on"):
        twice()
    with lock.hold(folder):
        pass


def test_another_machine_that_shows_no_life_is_taken_for_gone(tmp_path, elsewhere, capsys):
    with lock.hold(tmp_path):
        pass
    said = capsys.readouterr().out
    assert "process 4242 on host7" in said
    assert "cannot be seen from here; watching" in said
    assert "is gone" in said


@pytest.mark.parametrize("content", [b'{"host": "host7"', b"[]", b"", b"\xff"])
def test_a_damaged_lock_is_watched_too(tmp_path, elsewhere, capsys, content):
    (tmp_path / lock.LOCK_FILE).write_bytes(content)
    with lock.hold(tmp_path):
        pass
    assert "name is not readable" in capsys.readouterr().out


@pytest.mark.parametrize("beats", [True, False])
def test_another_machine_that_goes_on_writing_is_alive(tmp_path, elsewhere, monkeypatch, beats):
    path = tmp_path / lock.LOCK_FILE

    def beat(_):
        if beats:
            path.write_text(json.dumps(elsewhere | {"beat": elsewhere["beat"] + 1}))
        else:
            path.unlink()  # it ends just then, and the folder is free

    monkeypatch.setattr(lock.time, "sleep", beat)
    if beats:
        with pytest.raises(UserError, match="process 4242 on host7"), lock.hold(tmp_path):
            pass
    else:
        with lock.hold(tmp_path):
            pass


def test_the_owner_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    path = tmp_path / lock.LOCK_FILE
    with lock.hold(tmp_path):
        for _ in range(500):
            if json.loads(path.read_text())["beat"] >= 3:
                return
            time.sleep(0.01)
        raise AssertionError("the counter stands still")


def test_who_lost_the_folder_ends_and_leaves_the_others_name(tmp_path, elsewhere, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    path = tmp_path / lock.LOCK_FILE
    with lock.hold(tmp_path) as owned:
        owned.check()
        path.unlink()
        owned.check()  # nobody else's
        workdir.write(path, json.dumps(elsewhere))
        with pytest.raises(UserError, match=r"4242 on host7.* taken .* over.*without saving"):
            owned.check()
    assert json.loads(path.read_text())["token"] == "x"


def test_what_a_killed_run_half_wrote_is_removed(tmp_path):
    (tmp_path / ".results.json.77.tmp").write_text("{")
    (tmp_path / "results.json").write_text("{}")
    with lock.hold(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"results.json", lock.LOCK_FILE}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make this folder"), lock.hold(tmp_path / "file"):
        pass


def test_when_a_process_started():
    assert lock.started(os.getpid()) > 0
    assert lock.started(2**22 + 1) is None  # beyond the largest number
