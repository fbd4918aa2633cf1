"""`benchmark growth`: exponents by hand, the sizes that are timed, a small run."""

import json
import types

import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import growth
from tests.benchmark.tiny import SMALL
from tests.refusals import refused


def test_exponents_by_hand():
    assert growth.exponents([1, 2, 8], [10, 20, 40]) == pytest.approx([1, 2])
    assert growth.exponents([3, 3], [1, 2]) == [0]
    assert growth.exponents([None, None], [1, 2]) == []


@pytest.mark.parametrize(
    ("seconds", "memory", "surprise"),
    [
        ([1, 2, 4], [1, 2, 4], False),
        ([1, 2, 6], [1, 2, 4], True),  # time: log 6 / log 4 = 1.29
        ([1, 3, 4], [1, 2, 4], False),  # a step of noise on the way
        ([1, 2, 4], [1, 2, 16], True),
        ([1, 2, 4], [None] * 3, False),
    ],
)
def test_a_surprise_grows_faster_than_the_arithmetic(seconds, memory, surprise):
    things = [
        types.SimpleNamespace(step_s=[s, s, 9 * s], memory_bytes=m)
        for s, m in zip(seconds, memory, strict=True)
    ]
    found = growth.entry(growth.Growth("bodies", (8, 16, 32), 1), things)
    assert found["surprise"] is surprise
    assert found["step_s"] == seconds
    json.dumps(found, allow_nan=False)


def test_only_the_size_that_grows_differs():
    for name, keys in {
        "bodies": {"batch_size"},
        "frames": {"encoder.num_frames"},
        "depth": {"encoder.depth", "model.decoder_depth"},
        "width": {"encoder.width", "model.decoder_width"},
    }.items():
        one = growth.GROWTHS[name]
        first, *_, last = (row.config for row in growth.of_step(one, "float32", ()))
        assert set(one.keys) == keys
        assert first.batch_size == (8 if name != "bodies" else one.sizes[0])
        for key in keys:
            values = [first, last]
            for part in key.split("."):
                values = [config[part] for config in values]
            assert values == [one.sizes[0], one.sizes[-1]]


def test_a_small_run(tmp_path, monkeypatch, capsys):
    small = {
        "bodies": growth.Growth("step: bodies", (2, 4), 1, ("batch_size",)),
        "data": growth.Growth("data", (4, 8), 1, make=growth.placing),
        "1-nn": growth.Growth("1-NN", (4, 8), 2, make=growth.comparing),
    }
    monkeypatch.setattr(growth, "GROWTHS", small)
    flags = [f"--override={text}" for text in SMALL]
    command.main(["growth", "--rounds=3", *flags, f"--json={tmp_path / 'out.json'}"])
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["what"] for row in rows] == ["step: bodies", "data", "1-NN"]
    step, data, compared = rows
    assert len(step["step_s"]) == 2
    assert min(step["step_s"]) > 0
    # 100 frames of 25 joints in 16 bits for each sequence, and a few numbers.
    assert data["memory_bytes"][1] - data["memory_bytes"][0] == pytest.approx(4 * 15_000, rel=0.01)
    assert compared["memory_exponents"] == []
    assert "exponents" in capsys.readouterr().out


def test_unknown_growths_are_refused(capsys):
    assert "--of = 'frame': expected" in refused(capsys, command.main, ["growth", "--of=frame"])
