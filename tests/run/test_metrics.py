"""Metric files survive kills: each step has one line."""

import json
import resource

import pytest

from amr_jax.errors import BadFile, UserError
from amr_jax.run import console, metrics


def test_resuming_removes_lines_beyond_the_checkpoint(tmp_path):
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


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / metrics.METRICS_FILE
    path.write_bytes(b'{"step": 1}\n{"st\xff\x00\n{"step": 3}\n\x00\x00\x00')
    with pytest.raises(BadFile, match=r"metrics\.jsonl, line 2: found .*JSON object with a step"):
        metrics.read_metrics(tmp_path)
    path.write_bytes(b'{"step": 1}\n\x00\x00\x00')  # what a power cut leaves of a last line
    assert metrics.read_metrics(tmp_path) == [{"step": 1}]


def test_a_full_disk_ends_the_run_without_blocking_it(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = metrics.MetricWriter(tmp_path, resume_step=0)

    def write_on():
        for step in range(1, 100):
            writer.write(step, {"loss": 1.0})

    resource.setrlimit(resource.RLIMIT_FSIZE, (170, limits[1]))
    try:
        with pytest.raises(UserError, match=r"metrics\.jsonl: could not be written .*resumes from"):
            write_on()
        with pytest.raises(UserError, match="could not be written"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # The line cut short is left out, and the next start goes on.
    whole = [line["step"] for line in metrics.read_metrics(tmp_path)]
    assert whole == list(range(1, len(whole) + 1))
    writer = metrics.MetricWriter(tmp_path, resume_step=3)
    writer.write(4, {"loss": 1.0})
    writer.close()
    assert [line["step"] for line in metrics.read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_tensorboard_reads_a_resumed_run_in_order_after_the_clock_was_set_back(
    tmp_path, monkeypatch
):
    for resume_step, now in ((0, 2e9), (20, 1e9)):
        monkeypatch.setattr(metrics.time, "time", lambda now=now: now)
        writer = metrics.MetricWriter(tmp_path, resume_step)
        writer.write(resume_step + 10, {"loss": 0.5})
        writer.close()
    first, second = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert first.startswith("events.000000000000.out.tfevents.2000000000.")
    assert second.startswith("events.000000000020.out.tfevents.1000000000.")


def test_times_of_a_run_never_go_back_and_never_jump(monkeypatch):
    system, counter = [5000.0], [10.0]
    monkeypatch.setattr(metrics.time, "time", lambda: system[0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: counter[0])
    clock = metrics.WallClock([{"time": 4000.0}])
    assert clock.now() == 5000.0
    counter[0], system[0] = 13.0, 900.0  # set back
    assert clock.now() == 5003.0
    counter[0], system[0] = 14.0, 9e9  # and far forward
    assert clock.now() == 5004.0
    system[0] = 900.0
    assert metrics.WallClock([{"time": 5004.0}]).now() == 5004.0
    assert metrics.WallClock([{"step": 1}]).now() == 900.0


def test_durations():
    assert console.duration(3723) == "1:02:03"
    assert console.duration(63.4) == "1:03"


def test_progress_leaves_the_first_interval_out_of_the_rate(monkeypatch, capsys):
    now = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(now))
    progress = console.Progress(total_steps=40, first_step=0, sequences_per_step=8)
    assert progress.update(10, "loss 1") is None  # 100 s, compilation in them
    assert progress.update(20, "loss 1") == 8.0  # 10 steps of 8 in 10 s
    assert "step 20/40  loss 1  8 sequences/s  0:20 left" in capsys.readouterr().out


def test_the_clock_leaves_out_every_dispatch_that_compiles(monkeypatch):
    now = iter([0.0, 100.0, 110.0, 120.0, 170.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(now))
    clock = metrics.TrainingClock({"timed_seconds": 5.0, "timed_steps": 5})  # an earlier start
    assert clock.update(range(5, 15)) == {"timed_seconds": 5.0, "timed_steps": 5}
    assert clock.update(range(15, 25)) == {"timed_seconds": 15.0, "timed_steps": 15}
    assert clock.update(range(25, 35)) == {"timed_seconds": 25.0, "timed_steps": 25}
    # The last dispatch is shorter, and so another program.
    assert clock.update(range(35, 38)) == {"timed_seconds": 25.0, "timed_steps": 25}
