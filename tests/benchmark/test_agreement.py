"""`benchmark agreement`: differences by hand, kernels that disagree, a small run."""

import json

import numpy as np
import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import agreement
from tests.benchmark.tiny import SMALL
from tests.refusals import refused


def test_differences_by_hand():
    plain = np.array([2.0, 4.0, *[1.0] * 10])
    found = np.array([2.0, 5.0, *[1.1] * 5, *[0.9] * 4, 0.5])
    assert agreement.compared(found, plain) == pytest.approx(
        {
            "first": 2.0,
            "last": 0.96,
            "first_difference": 0.0,
            "largest_difference": 0.5,
            "last_difference": 0.04,
        }
    )


def test_a_kernel_that_computes_something_else_is_seen(tmp_path, monkeypatch):
    """A plain formula of other losses, as a kernel with an error would give."""
    honest = agreement.losses
    monkeypatch.setattr(
        agreement,
        "losses",
        lambda config, steps: (
            honest(config, steps) * (1.5 if config.attention_kernel == "blocks" else 1)
        ),
    )
    found = run(tmp_path)
    assert found["blocks"]["first_difference"] == pytest.approx(0.5)
    assert found["blocks"]["last_difference"] == pytest.approx(0.5)


def test_a_small_run(tmp_path):
    found = run(tmp_path)
    assert found["xla"]["largest_difference"] == 0
    assert found["xla"]["last"] < found["xla"]["first"]
    assert 0 < found["blocks"]["largest_difference"] < 1e-4
    assert found["blocks"]["seed_difference"] > 1e-4


def run(folder) -> dict:
    """The rows of MAMP, with enough tokens for attention in groups, by kernel."""
    sizes = (*SMALL, "encoder.num_frames=28")
    flags = [f"--override={key}" for key in sizes]
    path = folder / "found.json"
    command.main(
        ["agreement", "--methods=mamp", "--steps=20", "--bodies=4", *flags, f"--json={path}"]
    )
    content = json.loads(path.read_text())
    assert content["steps"] == 20
    return {row["attention"]: row for row in content["rows"]}


def test_steps_that_do_not_fit_are_refused(capsys):
    assert "expected a multiple of 10" in refused(capsys, command.main, ["agreement", "--steps=25"])
