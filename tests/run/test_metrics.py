"""Metric files survive kills: each step has one line."""

import json
import resource

import pytest

from amr_jax.errors import BadFile, UserError
from amr_jax.run import metrics


def test_resuming_removes_lines_beyond_the_checkpoint(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=0)
    for step in (10, 20, 30):
        writer.scalars(step, {"loss": step / 10})
    writer.close()
    with (tmp_path / metrics.METRICS_FILE).open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a line
    writer = metrics.MetricWriter(tmp_path, resume_step=20)
    writer.scalars(30, {"loss": 7.0})
    writer.close()
    lines = (tmp_path / metrics.METRICS_FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20, 30]
    assert metrics.read_metrics(tmp_path)[-1]["loss"] == 7.0


def test_tensorboard_files_hold_the_scalars(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=0)
    writer.scalars(1, {"loss": 0.5})
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
            writer.scalars(step, {"loss": 1.0})

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
    writer.scalars(4, {"loss": 1.0})
    writer.close()
    assert [line["step"] for line in metrics.read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_tensorboard_reads_a_resumed_run_in_order_after_the_clock_was_set_back(
    tmp_path, monkeypatch
):
    for resume_step, now in ((0, 2e9), (20, 1e9)):
        monkeypatch.setattr(metrics.time, "time", lambda now=now: now)
        writer = metrics.MetricWriter(tmp_path, resume_step)
        writer.scalars(resume_step + 10, {"loss": 0.5})
        writer.close()
    first, second = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert first.startswith("events.000000000000.out.tfevents.2000000000.")
    assert second.startswith("events.000000000020.out.tfevents.1000000000.")


def test_times_of_a_run_never_go_back_and_never_jump(tmp_path, monkeypatch):
    system, counter = [5000.0], [10.0]
    monkeypatch.setattr(metrics.time, "time", lambda: system[0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: counter[0])
    writer = metrics.MetricWriter(tmp_path, resume_step=0)
    for step, system[0] in enumerate((5000.0, 900.0, 9e9), start=1):  # set back, and far forward
        writer.scalars(step, {})
        counter[0] += 1
    writer.close()
    system[0] = 900.0
    writer = metrics.MetricWriter(tmp_path, resume_step=3)
    writer.scalars(4, {})
    writer.close()
    assert [line["time"] for line in metrics.read_metrics(tmp_path)] == [5000, 5001, 5002, 5002]
