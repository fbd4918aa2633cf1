"""A workdir belongs to one run at a time."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from amr_jax.errors import UserError
from amr_jax.run import lock

# Takes the folder, prints a line, and waits to be killed.
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


def test_a_second_start_is_refused_by_name_until_the_first_is_killed(tmp_path, owner):
    named = rf"another run uses .* process {owner.pid} on .*, since 20\d\d-.*--workdir"
    with pytest.raises(UserError, match=named), lock.hold(tmp_path):
        pass
    owner.send_signal(signal.SIGKILL)
    # It has ended, and its parent has not waited for it yet.
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
    with lock.hold(tmp_path):
        pass


def test_the_same_process_is_refused_too_and_an_error_releases_the_folder(tmp_path):
    folder = tmp_path / "new"

    def twice():
        with lock.hold(folder), lock.hold(folder):
            pass

    with pytest.raises(UserError, match=f"another run uses .* process {os.getpid()} on"):
        twice()
    with lock.hold(folder):
        pass


def test_a_new_folder_is_removed_again_if_nothing_was_written(tmp_path):
    with lock.hold(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()
    with lock.hold(tmp_path / "new"):
        (tmp_path / "new/config.json").write_text("{}")
    with lock.hold(tmp_path / "new"):
        pass
    assert (tmp_path / "new/config.json").exists()


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with lock.hold(tmp_path):
        pass
    assert "this file system has no locks" in capsys.readouterr().out


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".results.json.77.tmp").write_text("{")
    (tmp_path / "results.json").write_text("{}")
    with lock.hold(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"results.json", lock.LOCK_FILE}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make this folder"), lock.hold(tmp_path / "file"):
        pass
