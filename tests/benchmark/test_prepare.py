"""`benchmark prepare`: arithmetic, and a small run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import prepare
from amr_jax.errors import UserError


def row(files, workers, *seconds):
    found = prepare.Preparation(Path(__file__).parent, files, workers)
    found.seconds, found.largest_process_bytes = list(seconds), max(seconds)
    return found


def test_more_files_are_compared_with_the_entry_before_with_as_many_workers():
    found = prepare.summary(
        [row(100, 1, 7, 5, 6), row(300, 1, 8, 8, 8), row(100, 2, 6), row(300, 2, 6)]
    )
    assert [r["step_s_median"] for r in found] == [6, 8, 6, 6]
    assert [r["files_per_s"] for r in found] == [100 / 6, 300 / 8, 100 / 6, 50]
    # 200 more files took two seconds; where they took none, there is no rate.
    assert [r.get("marginal_files_per_s") for r in found] == [None, 100, None, None]
    assert found[0]["largest_process_bytes"] == 7


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_the_largest_of_a_process_and_its_children_is_found():
    child = "import time; x = bytes(range(256)) * 400_000; print(flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert 1.0e8 < prepare.largest_process(process.pid) < 1.5e8
    finally:
        subprocess.run(["pkill", "-P", str(process.pid)], check=True)
        process.wait()
    assert prepare.largest_process(process.pid) == 0


def test_a_small_run_end_to_end(tmp_path, capsys):
    file = tmp_path / "prepare.json"
    command.main(["prepare", "--files=150", "--workers=1", "--rounds=1", f"--json={file}"])
    (found,) = json.loads(file.read_text())["rows"]
    (seconds,) = found["seconds"]
    assert found["files"] == 150
    assert 0 < found["files_per_s"] == 150 / seconds
    # A Python process with numpy and TFDS, and far below what all the files would take.
    assert 50e6 < found["largest_process_bytes"] < 1e9
    assert "150" in capsys.readouterr().out.splitlines()[-2]


def test_a_failed_command_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"(?s)amr_jax\.prepare .* failed: .*error: .*no\.where"):
        prepare.Preparation(tmp_path / "no.where", files=1, workers=1).time_step()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("100", "found '100'; expected multiples"),
        ("150,0", "0: expected at least 1"),
        ("many", "invalid files value: 'many'"),
        ("150000", "found '150000'; expected multiples"),
    ],
)
def test_sizes_that_cannot_be_made_are_refused(files, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["prepare", f"--files={files}"])
    assert ended.value.code == 2
    assert f"--files: {message}" in capsys.readouterr().err
