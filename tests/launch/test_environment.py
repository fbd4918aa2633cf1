"""launch/environment.sh: when it installs, what it refuses; the quickstart's report; no network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch import quickstart_report

REPOSITORY = Path(__file__).resolve().parents[2]

# A Python that writes down what pip is asked for, instead of running it.
PYTHON_WITHOUT_PIP = f"""#!/usr/bin/env bash
case "$*" in
  "-m pip install"*) echo "$@" >>"$(dirname "$0")/calls"; exit "${{PIP_STATUS:-0}}" ;;
  *) exec {sys.executable} "$@" ;;
esac
"""


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs lines after launch/environment.sh, in `folder`."""
    head = f"set -euo pipefail; source {REPOSITORY}/launch/environment.sh\n"
    return subprocess.run(
        ["bash", "-c", head + script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def installation(tmp_path):
    """A made-up repository and environment; call it to install, get back what pip was asked for."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON_WITHOUT_PIP)
    python.chmod(0o755)
    for name in ("setup.py", "pyproject.toml"):
        (tmp_path / name).write_text("one")

    def install(extras: str, **variables: str) -> list[str]:
        script = f"repository={tmp_path}; venv_python={python}; install_package {extras}"
        done = bash(script, tmp_path, **variables)
        assert done.returncode == (2 if "PIP_STATUS" in variables else 0), done.stderr
        calls = python.with_name("calls")
        asked = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return [line.split(str(tmp_path))[-1] for line in asked]

    return install


def test_installs_once_and_again_when_the_requirements_change(installation, tmp_path):
    assert installation("test") == ["[test]"]
    assert installation("test") == []
    (tmp_path / "setup.py").write_text("two")
    assert installation("test") == ["[test]"]
    assert installation("test") == []
    assert installation("") == [""]  # quickstart has no extras
    assert installation("", AMR_EXTRAS="cuda13") == ["[cuda13]"]
    assert installation("test", AMR_EXTRAS="cuda13") == ["[test,cuda13]"]
    assert installation("") == installation("test") == []


def test_an_installation_that_failed_is_tried_again(installation, tmp_path):
    assert installation("test") == ["[test]"]
    (tmp_path / "setup.py").write_text("two")
    assert installation("test", PIP_STATUS="1") == ["[test]"]
    (tmp_path / "setup.py").write_text("one")
    assert installation("test") == ["[test]"]


def test_an_environment_of_ones_own_is_used_and_never_overwritten(tmp_path):
    (tmp_path / "photos").mkdir()
    done = bash("find_venv", tmp_path, AMR_VENV="photos")
    assert done.returncode == 2
    assert f"AMR_VENV={tmp_path}/photos is no virtual environment" in done.stderr
    assert list((tmp_path / "photos").iterdir()) == []


def test_a_python_that_is_too_old_is_named(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    old.chmod(0o755)
    venv = str(tmp_path / "venv")
    done = bash("find_venv", tmp_path, AMR_VENV=venv, AMR_PYTHON=str(old))
    assert (done.returncode, done.stderr) == (
        2, f"error: AMR_PYTHON={old} is not a Python >= 3.11.\n"
    )  # fmt: skip
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = bash("find_venv", tmp_path, AMR_VENV=venv, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "no Python >= 3.11 found (python3 is: Python 3.9.2)" in done.stderr
    assert not Path(venv).exists()


def test_report_shows_both_protocols_beside_the_random_encoder(tmp_path):
    for name, learned, random in (("linear", 0.625, 0.418), ("knn", 0.5, 0.44)):
        (tmp_path / name).mkdir()
        results = {
            "encoders": {"pretrained": {"top1": learned}, "random": {"top1": random}},
            "train_sequences": 898, "test_sequences": 598, "classes_in_test": 25,
            "pretraining": {"step": 1438},
            "versions": {"devices": "1 × cpu", "jax": "0.10.2", "python": "3.11.7"},
        }  # fmt: skip
        (tmp_path / name / "results.json").write_text(json.dumps(results))
    (tmp_path / "amr").mkdir()
    (tmp_path / "amr" / "metrics.jsonl").write_text('{"epoch": 1.0}\n{"epoch": 40.01}\n')
    lines = quickstart_report.report(tmp_path).splitlines()
    assert lines[1] == "pre-trained for 40 epochs (1,438 steps)"
    assert lines[4].split() == ["linear", "62.5", "41.8", "+20.7"]
    assert lines[5].split() == ["nearest", "neighbour", "50.0", "44.0", "+6.0"]
