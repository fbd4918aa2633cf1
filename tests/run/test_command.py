"""Wrong command lines and full disks end in one line that says what to do, and exit status 2."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from amr_jax.run import cli

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/amr.py:ntu61"], "unknown data set 'ntu61'; expected one of: ntu60_"),
        (
            ["--config=configs/amr.py:nwucla", "--config.encoder.widht=3"],
            '--config.encoder.widht=3: the config has no such key. Did you mean "width"?',
        ),
        (["--config=configs/nope.py:nwucla"], "could not be read: [Errno 2] No such file"),
        (["--config=configs/amr.py:nwucla", "--epochs=3"], "Unknown command line flag 'epochs'"),
        (
            ["--config=configs/amr.py:nwucla", "--config.data_dir=/nowhere"],
            "/nowhere/nw_ucla/xview: found nothing; expected records of version",
        ),
    ],
)
def test_pretrain_refuses(arguments, message, tmp_path):
    folder = tmp_path / "run"
    ended = subprocess.run(
        [sys.executable, "-m", "amr_jax.pretrain", *arguments, f"--workdir={folder}"],
        cwd=REPOSITORY,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in ended.stderr
    assert not folder.exists()


def test_a_full_disk_met_anywhere_ends_a_command_with_one_message(capsys):
    @cli.command
    def main(number):
        raise OSError(number, os.strerror(number), "/runs/file")

    with pytest.raises(SystemExit) as ended:
        main(errno.ENOSPC)
    assert ended.value.code == 2
    assert "error: [Errno 28] No space left on device: '/runs/file'" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):  # a defect is one still
        main(errno.ENOENT)


def test_output_that_cannot_be_written_leaves_the_status(tiny_ucla):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "amr_jax.prepare", "--verify", f"--data_dir={tiny_ucla}"],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: [Errno 28]")
    assert "Traceback" not in ended.stderr


def test_tracebacks_of_orbax_are_not_shown_beside_our_message():
    def shown(**fields):
        return cli._is_not_told_twice(logging.makeLogRecord(fields))

    failed = {"exc_info": (OSError, OSError(), None)}
    assert not shown(pathname="/site-packages/orbax/checkpoint/future.py", **failed)
    assert not shown(name="asyncio", pathname="base_events.py", **failed)
    assert shown(pathname="/site-packages/orbax/checkpoint/future.py")
    assert shown(pathname="/amr_jax/data/records.py", **failed)
