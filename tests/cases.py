"""Runs a case of the shared folder: a small input, the commands that a user gave, what is right."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def run(shared_data: Path, case: str, tmp_path: Path) -> tuple[Path, subprocess.CompletedProcess]:
    """Runs the commands of a case in a copy of its folder; skips the test where it is absent.

    Returns:
      The copy, and the finished process with its output.
    """
    folder = shared_data.parent / "cases" / case
    if not folder.is_dir():
        pytest.skip(f"no case at {folder}")
    copy = Path(shutil.copytree(folder, tmp_path / "case"))
    result = subprocess.run(
        ["bash", "-c", (folder / "cmd").read_text()],
        cwd=copy,
        env={
            **os.environ,
            # The commands say `python`: this one.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "REPOSITORY": str(REPOSITORY),
            "PYTHONPATH": str(REPOSITORY),
            "XLA_FLAGS": "",  # one device: four clips are no batch for eight
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return copy, result
