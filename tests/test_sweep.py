"""The command sweep: a grid trained point by point, resumed, judged, and what is refused."""

import json

import pytest

from amr_jax import pretrain
from amr_jax.__main__ import main
from amr_jax.run import workdir
from amr_jax.studies import grid, pictures
from tests.studies import stubs


@pytest.fixture
def started(monkeypatch, tmp_path):
    """A function that runs the command, and the list of what it trains and judges."""
    drawn = pictures.comparison
    seen = stubs.install(monkeypatch, tmp_path)
    monkeypatch.setattr(pictures, "comparison", drawn)
    monkeypatch.setattr(pretrain, "open_records", lambda config: type("", (), {"num_slots": 1}))

    def start(*arguments):
        seen.clear()
        main(
            ["sweep", "--config=amr:nwucla,runlocal", f"--workdir={tmp_path / 'sweep'}", *arguments]
        )
        return list(seen)

    return start


GRID = ("model.r=3,6", "optim.lr=1e-4,1e-3")


def test_a_sweep_ends_in_a_table_and_resumes_point_by_point(started, tmp_path, monkeypatch, capsys):
    train = pretrain.run

    def dies(config, folder):
        if folder.name == "r_6_lr_1e-4":
            raise KeyboardInterrupt
        train(config, folder)

    monkeypatch.setattr(pretrain, "run", dies)
    with pytest.raises(SystemExit) as ended:
        started(*GRID, "--protocols=knn")
    assert ended.value.code == 130
    monkeypatch.setattr(pretrain, "run", train)
    capsys.readouterr()
    later = ["sweep/r_6_lr_1e-4", "sweep/r_6_lr_1e-4/knn"]
    later += ["sweep/r_6_lr_1e-3", "sweep/r_6_lr_1e-3/knn"]
    assert started(*GRID, "--protocols=knn") == later

    folder = tmp_path / "sweep"
    said = capsys.readouterr().out
    assert "4 points of model.r × optim.lr; judged on train[validation], trained on" in said
    assert "=== r_6_lr_1e-4: model.r=6, optim.lr=1e-4 (1 of 2)" in said
    assert "best by 1-NN on train[validation], trained on train[!validation] (40 seq" in said
    assert "3 of 3 others are within twice the standard error" in said
    (command,) = [line for line in said.splitlines() if line.startswith("the first of these, on")]
    assert ": amr-jax pretrain --config=amr:nwucla,runlocal --config.model.r=" in command
    assert "--config.optim.lr=1e-" in command
    table = (folder / f"{grid.TABLE}.md").read_text()
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| model")] == [
        f"| model.r={r}, optim.lr={lr}" for r in (3, 6) for lr in ("1e-4", "1e-3")
    ]
    assert "parts of the training split, for validation" in table
    assert "ublished" not in table
    assert (folder / f"{grid.TABLE}.csv").read_text().count("\n") == 6  # a head, 4 points, random
    assert (folder / f"{grid.TABLE}.png").read_bytes().startswith(b"\x89PNG")
    one = workdir.read_config(folder / "r_3_lr_1e-4")
    assert (one.model.r, one.optim.lr, one.input.split) == (3, 1e-4, "train[!validation]")
    judged = workdir.read_config(folder / "r_3_lr_1e-4" / "knn")
    assert judged.test_split == "train[validation]"
    assert json.loads((folder / "r_3_lr_1e-4" / "row.json").read_text())["seed"] == 0

    # The grid may grow: values, seeds.
    more = started("model.r=3,6,12", "optim.lr=1e-3", "--protocols=knn", "--seeds=2")
    assert more[:2] == ["sweep/r_12_lr_1e-3", "sweep/r_12_lr_1e-3/knn"]
    assert len(more) == 2 + 3 * 2
    assert "sweep/r_3_lr_1e-3/seed1" in more


def test_the_test_split_judges_if_asked(started, tmp_path, capsys):
    assert len(started("model.k=0.1,0.01", "--judge_on=test")) == 6  # linear and knn
    said = capsys.readouterr().out
    assert "judged on the test split, which a choice by this table uses up" in said
    assert said.count("best by ") == 2
    judged = workdir.read_config(tmp_path / "sweep" / "k_0p1" / "linear")
    assert judged.test_split == "test[:64]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no KEY=VALUE,VALUE to sweep over"),
        (("optim.rl=1,2",), "config.optim.rl: unknown key. Did you mean config.optim.lr?"),
        (("model.r=3,7",), "row 'r_7': config.model.r = 7: expected a divisor of 12"),
        (("model.r=3", "--protocols=lineal"), "Did you mean 'linear'?"),
        (("model.r=3", "--config.optim.lr=x"), "--config.optim.lr=x: expected a value of type"),
        (("model.r=3", "--config.dataset=utd"), "config.dataset = 'utd': expected nwucla"),
        (
            ("input.split=train[:10%]",),
            "expected 'train[!validation]', as train[validation] judges",
        ),
        (("model.r=3", "--seeds=0"), "--seeds: 0: expected at least 1"),
    ],
)
def test_a_slip_ends_the_command_before_anything_trains(
    started, tmp_path, arguments, message, capsys
):
    with pytest.raises(SystemExit) as ended:
        started(*arguments)
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert message in errors
    assert not (tmp_path / "sweep").exists()
