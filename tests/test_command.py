"""Wrong command lines end in one line that says what to do, and exit status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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
