"""`benchmark input`: arithmetic, and a small run."""

import json

import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import input as benchmark
from amr_jax.config import files
from tests.benchmark.tiny import SMALL


class Measured:
    """A fake `Input`, and a fake step beside it."""

    name, resident_bytes, step_bytes, problem = "resident int16", 2000, 10, None

    def __init__(self, *step_s, name=name):
        self.name, self.step_s = name, list(step_s)

    def compile(self, steps):
        assert steps == 1

    def warm_up(self):
        pass

    def time_step(self):
        self.step_s.append(1.0)


def test_ratios_and_shares_go_round_by_round():
    inputs = [Measured(1.0, 2.0, 4.0), Measured(2.0, 2.0, 12.0)]
    step = Measured(10.0, 10.0, 80.0, name="training step")
    found = benchmark.summary(inputs, step, bodies=4)
    assert [row["ratio"] for row in found[:2]] == [1, 2]
    assert [row["of_training_step"] for row in found[:2]] == [0.1, 0.2]
    assert found[0]["step_s_median"] == 2
    assert found[0]["bodies_per_s"] == 2
    assert found[2]["input"] == "training step"
    assert found[2]["bodies_per_s"] == 0.4


def test_a_step_that_did_not_fit_leaves_its_columns_empty():
    (found,) = benchmark.summary([Measured(1.0)], Measured(), bodies=4)
    assert benchmark.COLUMNS["of the step"](found) == ""


@pytest.fixture
def small(monkeypatch):
    """A small model, whose training step is not compiled; two dispatches of two steps."""
    monkeypatch.setattr(
        benchmark.timing, "Variant", lambda name, config, sequences: Measured(name=name)
    )
    monkeypatch.setattr(benchmark, "STEPS", 2)
    monkeypatch.setattr(benchmark, "DISPATCHES", 2)
    full = benchmark.config_of

    def config_of(*args):
        config = full(*args)
        files.override(config, SMALL)
        return config

    monkeypatch.setattr(benchmark, "config_of", config_of)


def test_a_small_run_end_to_end(small, tiny_ucla, tmp_path, capsys):
    file = tmp_path / "input.json"
    flags = ["--dataset=nwucla", "--bodies=8", "--rounds=2", f"--data_dir={tiny_ucla}"]
    command.main(["input", *flags, f"--json={file}"])
    found = {row["input"]: row for row in json.loads(file.read_text())["rows"]}
    assert list(found) == [
        "resident int16",
        "resident float32",
        "stream int16",
        "stream float32",
        "training step",
    ]
    assert all(len(row["step_s"]) == 2 for row in found.values())
    assert found["resident int16"]["ratio"] == 1
    # Half the joints' bytes; a length, an offset and the sequence's number (4 bytes each) come to
    # each body, and to one in 16 bits three scales.
    joints = found["resident float32"]["resident_bytes"] - 40 * 12
    assert found["resident int16"]["resident_bytes"] == joints / 2 + 40 * (12 + 12)
    assert found["resident int16"]["step_bytes"] == 8 * 4
    stream = found["stream float32"]["step_bytes"] - 8 * (12 + 8)
    assert found["stream int16"]["step_bytes"] == stream / 2 + 8 * (12 + 8)
    assert "of the step" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=nwucla"], "--dataset and --data_dir go together"),
        (["--dataset=ntu61", "--data_dir=/"], "unknown data set 'ntu61'"),
        (["--bodies=0"], "--bodies: 0: expected at least 1"),
    ],
)
def test_wrong_flags_end_in_one_message(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["input", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
