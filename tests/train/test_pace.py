"""How long dispatches are, and what a run is said to take."""

import time
import types

import jax
import pytest

from amr_jax.data import batches
from amr_jax.run import distributed, machine
from amr_jax.train import forecast, pace


@pytest.mark.parametrize(
    ("most", "step_s", "length"),
    [
        (50, 0.001, 50),
        (50, 0.04, 50),
        (50, 0.05, 25),
        (50, 0.19, 10),
        (50, 0.5, 2),
        (50, 30.0, 1),
        (7, 0.3, 1),  # 7 steps would take 2.1 s
        (1, 0.001, 1),
    ],
)
def test_a_dispatch_takes_at_most_a_few_seconds(most, step_s, length):
    chosen = pace.Pace(most)
    chosen.note(1, step_s)
    assert chosen.length == length
    assert most % length == 0


def test_dispatches_cover_all_steps_and_end_at_multiples():
    chosen = pace.Pace(20)
    steps = chosen.dispatches(3, 67)
    assert [next(steps), next(steps)] == [range(3, 4), range(4, 5)]
    chosen.note(1, 0.2)
    assert [next(steps), next(steps)] == [range(5, 10), range(10, 20)]
    chosen.note(10, 1.0)  # twice as fast as at first
    assert list(steps) == [range(20, 40), range(40, 60), range(60, 67)]


def test_a_machine_that_becomes_slow_has_shorter_dispatches():
    chosen = pace.Pace(50)
    chosen.note(1, 0.03)
    chosen.note(50, 3.5)  # not twice as long as wanted: stays
    assert chosen.length == 50
    chosen.note(50, 10.0)
    assert chosen.length == 10


def test_processes_have_the_lengths_of_the_slowest_and_seldom_ask(monkeypatch):
    asked = []
    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(distributed, "gather", lambda own: asked.append(own) or [own, 0.1])
    chosen = pace.Pace(50)
    for _ in range(9):
        chosen.note(2, 0.002)
    assert chosen.length == 10
    assert asked == [0.001] * 4  # at the first, second, fourth and eighth


def test_streamed_batches_are_padded_to_few_lengths():
    assert [batches.Streamed.padded(n, 50) for n in (1, 2, 3, 9, 10, 11, 26)] == [
        1, 2, 5, 10, 10, 25, 50,
    ]  # fmt: skip
    assert batches.Resident.padded(3, 50) == 50


def test_the_time_left_is_told_with_its_end(monkeypatch):
    noon = time.mktime((2026, 11, 30, 12, 0, 0, 0, 0, -1))
    monkeypatch.setattr(forecast.time, "time", lambda: noon)
    monkeypatch.setattr(forecast.time, "localtime", lambda at=noon: time.gmtime(at - noon + 43200))
    told = forecast.time_left(4480, 0.16, 10)
    assert told == "about 12 min for 4,480 steps, done at 12:11 (6.25 steps/s, 10 per dispatch)"
    assert "done at Fri 02 Jan 12:00" in forecast.time_left(86400, 1.0, 1)
    spans = [forecast.rounded(x) for x in (40, 89, 100, 5000, 12600, 207360)]
    assert spans == ["40 s", "89 s", "2 min", "83 min", "3.5 h", "2.4 days"]


def program(temporary):
    sizes = {"argument": 3e9, "output": 1e9, "alias": 1e9, "temp": temporary, "generated_code": 0}
    found = types.SimpleNamespace(**{f"{k}_size_in_bytes": int(x) for k, x in sizes.items()})
    return types.SimpleNamespace(memory_analysis=lambda: found)


def test_memory_is_told_and_too_much_is_a_warning(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [jax.local_devices()[0]] * 2)
    monkeypatch.setattr(machine, "memory", lambda: (int(16e9), int(8e9)))
    monkeypatch.setattr(machine, "of_process", lambda: int(4e9))
    # Of each of two devices 2 GB of work, beside what the process holds.
    assert forecast.memory(program(2e9)) == "memory about 8.0 GB of 16.0 GB of this machine"
    assert "\nwarning: this is likely to be too much" in forecast.memory(program(6e9))
    gpu = types.SimpleNamespace(
        device_kind="H200", process_index=0, memory_stats=lambda: {"bytes_limit": int(6e9)}
    )
    monkeypatch.setattr(jax, "local_devices", lambda: [gpu])
    assert forecast.memory(program(2e9)) == "memory about 5.0 GB of 6.0 GB of a H200"
    assert "warning" in forecast.memory(program(4e9))
    nothing = types.SimpleNamespace(memory_analysis=lambda: None)
    assert forecast.memory(nothing) == ""
