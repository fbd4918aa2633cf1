"""Equal training time: epochs in proportion to the measured rate, measured once."""

import json

import pytest

from amr_jax.errors import UserError
from amr_jax.run import metrics, workdir
from amr_jax.studies import budget
from configs import amr


def test_epochs_are_in_proportion_to_the_rate():
    assert budget.epochs_for(seconds=100, steps_per_s=5, steps_per_epoch=10) == 50
    assert budget.epochs_for(seconds=100, steps_per_s=10, steps_per_epoch=10) == 100
    assert budget.epochs_for(seconds=50, steps_per_s=5, steps_per_epoch=7) == 35.714
    with pytest.raises(UserError, match=r"0\.50 epochs .*expected at least one epoch, 2 seconds"):
        budget.epochs_for(seconds=1, steps_per_s=5, steps_per_epoch=10)


def short_run(seen):
    """A fake `pretrain.run`: 5 steps per epoch, 8 per second, the first two not timed."""

    def run(config, folder):
        seen.append(config)
        folder.mkdir(parents=True)
        steps = 5 * config.epochs
        line = {"step": steps, "epoch": float(config.epochs), "timed_steps": steps - 2}
        line["timed_seconds"] = (steps - 2) / 8
        workdir.write(folder / metrics.METRICS_FILE, json.dumps(line) + "\n")

    return run


@pytest.mark.parametrize(
    ("seconds", "dispatch", "trials"),
    [
        # 6 dispatches of 2 steps of 16 of 40 sequences are 4.8 epochs, 23 steps of them timed: 2.9
        # s. A budget of 100 s asks for 10 s; 1000 s for 20.
        (10, 2, [(5, 2)]),
        (100, 2, [(5, 2), (27, 2)]),
        (1000, 2, [(5, 2), (53, 2)]),
        # Of 50 steps it would be 300 at once: 6 of 5 come first, 12 epochs, 58 steps in 7.25 s.
        (10, 50, [(12, 5)]),
        (100, 50, [(12, 5), (27, 11)]),
    ],
)
def test_a_short_run_measures_the_epochs_and_saves_them(
    tiny_ucla, tmp_path, monkeypatch, seconds, dispatch, trials
):
    seen = []
    monkeypatch.setattr(budget.pretrain, "run", short_run(seen))
    config = amr.get_config("nwucla,runlocal")
    config.data_dir, config.input.split = str(tiny_ucla), "train"
    config.steps_per_dispatch = dispatch
    assert budget.stored(tmp_path) is None
    epochs = budget.measure(config, seconds, tmp_path)
    assert epochs == pytest.approx(seconds * 8 / 5)
    assert budget.stored(tmp_path) == epochs
    assert [path.name for path in tmp_path.iterdir()] == [budget.FILE]
    assert [(short.epochs, short.steps_per_dispatch) for short in seen] == trials
    assert seen[0].checkpoint == config.checkpoint  # saving is part of the time
    assert config.epochs == 2


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / budget.FILE).write_text('{"seconds": 3')
    with pytest.raises(UserError, match=r"calibration\.json: not readable"):
        budget.stored(tmp_path)
