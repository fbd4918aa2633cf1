"""Curves of runs."""

import json

import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.pictures import curves


@pytest.fixture
def runs(tmp_path):
    for i, name in enumerate(("a/run", "b/run")):
        (tmp_path / name).mkdir(parents=True)
        lines = [{"step": s, "epoch": s / 2, "loss": 1 / s + i, "time": 0} for s in range(1, 6)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "metrics.jsonl").write_text(text)
    return [tmp_path / "a/run", tmp_path / "b/run"]


def test_a_line_for_each_run_by_the_shortest_name(runs):
    found = curves.read(runs)
    assert list(found) == ["a/run", "b/run"]
    (axes,) = curves.curves(found, over="epoch").axes
    first, second = axes.lines
    np.testing.assert_allclose(first.get_xdata(), [0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_allclose(second.get_ydata(), 1 / np.arange(1, 6) + 1)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a/run", "b/run"]
    assert list(curves.read(runs[:1])) == ["run"]


def test_the_running_mean():
    values = np.random.default_rng(0).normal(size=250)
    found = curves.smooth(values)
    assert found[100] == pytest.approx(values[98:103].mean())
    assert found[0] == pytest.approx(values[:3].mean())
    np.testing.assert_allclose(curves.smooth(values[:40]), values[:40])


def test_what_is_not_finite_is_left_out_and_every_run_has_its_name():
    losses = [3.0, float("nan"), 1.0, float("inf"), 0.5, None]
    lines = [{"step": k, "loss": loss, "none": float("nan")} for k, loss in enumerate(losses)]
    runs = {"_draft": lines, "b": [{"step": 1, "loss": 2.0}]}
    (axes,) = curves.curves(runs).axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0, 3], [2, 1], [4, 0.5]])
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_draft", "b"]
    assert [x.get_color() for x in legend.get_lines()] == [x.get_color() for x in axes.lines]
    with pytest.raises(UserError, match="--metrics=none: no run has a finite value of it"):
        curves.curves(runs, ["none"])


def test_what_is_not_there_is_told(runs, tmp_path):
    with pytest.raises(
        UserError, match=r"--metrics=los: no run has it over step.*Did you mean loss"
    ):
        curves.curves(curves.read(runs), ["los"])
    with pytest.raises(UserError, match=r"metrics.jsonl: not found"):
        curves.read([tmp_path])
    with pytest.raises(UserError, match="expected every run once"):
        curves.read([runs[0], runs[0]])
