"""Metric files survive kills: each step stands in them once."""

import json

from amr_jax import metrics


def test_lines_beyond_the_checkpoint_are_taken_out_on_resume(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=0)
    for step in (10, 20, 30):
        writer.write(step, {"loss": step / 10})
    writer.close()
    with (tmp_path / metrics.METRICS_FILE).open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a line
    writer = metrics.MetricWriter(tmp_path, resume_step=20)
    writer.write(30, {"loss": 7.0})
    writer.close()
    lines = (tmp_path / metrics.METRICS_FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20, 30]
    assert metrics.read_metrics(tmp_path)[-1]["loss"] == 7.0


def test_tensorboard_files_hold_the_scalars(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=0)
    writer.write(1, {"loss": 0.5})
    writer.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_durations():
    assert metrics.duration(3723) == "1:02:03"
    assert metrics.duration(63.4) == "1:03"


def test_progress_leaves_the_first_interval_out_of_the_rate(monkeypatch, capsys):
    now = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(now))
    progress = metrics.Progress(total_steps=40, first_step=0, sequences_per_step=8)
    assert progress.update(10, "loss 1") is None  # 100 s, compilation in them
    assert progress.update(20, "loss 1") == 8.0  # 10 steps of 8 in 10 s
    assert "step 20/40  loss 1  8 sequences/s  0:20 left" in capsys.readouterr().out


def test_the_clock_leaves_out_every_dispatch_that_compiles(monkeypatch):
    now = iter([0.0, 100.0, 110.0, 120.0, 170.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(now))
    clock = metrics.TrainingClock([{"timed_seconds": 5.0, "timed_steps": 5}])  # an earlier start
    assert clock.update(range(5, 15)) == {"timed_seconds": 5.0, "timed_steps": 5}
    assert clock.update(range(15, 25)) == {"timed_seconds": 15.0, "timed_steps": 15}
    assert clock.update(range(25, 35)) == {"timed_seconds": 25.0, "timed_steps": 25}
    # The last dispatch is shorter, and so another program.
    assert clock.update(range(35, 38)) == {"timed_seconds": 25.0, "timed_steps": 25}
