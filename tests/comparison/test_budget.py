"""Equal training time: epochs in proportion to the measured rate, decided once."""

import json

import pytest

from amr_jax import metrics, workdir
from amr_jax.comparison import budget
from amr_jax.errors import UserError
from configs import amr


def test_epochs_are_in_proportion_to_the_rate():
    assert budget.epochs_for(seconds=100, steps_per_s=5, steps_per_epoch=10) == 50
    assert budget.epochs_for(seconds=100, steps_per_s=10, steps_per_epoch=10) == 100
    assert budget.epochs_for(seconds=50, steps_per_s=5, steps_per_epoch=7) == 35.714
    with pytest.raises(UserError, match=r"0\.50 epochs .*expected at least one epoch, 2 seconds"):
        budget.epochs_for(seconds=1, steps_per_s=5, steps_per_epoch=10)


def short_run(seen, timed_steps=4, timed_seconds=0.5):
    """Stands in for `pretrain.run`: 12 steps of 5 an epoch, of which some were timed."""

    def run(config, folder):
        seen.append(config)
        folder.mkdir(parents=True)
        line = {"step": 12, "epoch": 2.4, "timed_steps": timed_steps}
        line["timed_seconds"] = timed_seconds
        workdir.write(folder / metrics.METRICS_FILE, json.dumps(line) + "\n")

    return run


def test_a_short_run_decides_and_leaves_a_file(tiny_ucla, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(budget.pretrain, "run", short_run(seen))
    config = amr.get_config("nwucla,runlocal")
    config.data_dir, config.input.split = str(tiny_ucla), "train"
    assert budget.stored(tmp_path) is None
    # 8 steps a second, 5 an epoch.
    assert budget.measure(config, 10.0, tmp_path) == 16
    assert budget.stored(tmp_path) == 16
    assert [path.name for path in tmp_path.iterdir()] == [budget.FILE]
    # 6 dispatches of 2 steps of 16 of 40 sequences: 4.8 epochs.
    assert seen[0].epochs == seen[0].checkpoint.epochs == 5
    assert config.epochs == 2


def test_a_run_too_short_to_time_says_what_to_do(tiny_ucla, tmp_path, monkeypatch):
    monkeypatch.setattr(budget.pretrain, "run", short_run([], timed_steps=0))
    config = amr.get_config("nwucla,runlocal")
    config.data_dir, config.input.split = str(tiny_ucla), "train"
    with pytest.raises(UserError, match=r"nothing was timed.*smaller steps_per_dispatch"):
        budget.measure(config, 10.0, tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / budget.FILE).write_text('{"seconds": 3')
    with pytest.raises(UserError, match=r"calibration\.json: not readable"):
        budget.stored(tmp_path)
