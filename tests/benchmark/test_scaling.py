"""The benchmark of growth: its points, its table, and one small run."""

import itertools
import json
import re
import types

import numpy as np
import pytest

from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import evaluation, scaling
from amr_jax.errors import UserError
from amr_jax.studies import costs

AXES = {axis.name: axis for axis in (*scaling.STEP_AXES, *scaling.TEST_AXES)}
SIZES = {"bodies": 2, "frames": 24, "width": 8, "depth": 1, "r": 6}


def test_the_config_follows_the_sizes():
    config = scaling.config_of({**SIZES, "depth": 3, "r": 2}, "float32")
    assert (config.method, config.batch_size, config.model.r) == ("amr", 2, 2)
    assert (config.encoder.num_frames, config.encoder.width, config.encoder.depth) == (24, 8, 3)
    assert (config.model.decoder_width, config.model.decoder_depth) == (8, 3)


@pytest.mark.parametrize("sizes", [scaling.ON_CPU, scaling.ON_ACCELERATORS])
def test_the_default_sizes_fit_together(sizes):
    base = {axis.name: sizes[axis.name][0] for axis in scaling.STEP_AXES}
    for axis in scaling.STEP_AXES:
        for value in sizes[axis.name]:
            config = scaling.config_of({**base, axis.name: value}, "float32")
            assert scaling.registry.build(config).num_predicted > 0
    assert all(a < b for a, b in itertools.pairwise(sizes["test"]))


def test_points_share_the_base_and_r_counts_what_is_predicted(monkeypatch):
    made = []

    def program(config, steps):
        made.append((config.batch_size, config.model.r, steps))
        return types.SimpleNamespace(problem=None, compile_s=1.0)

    monkeypatch.setattr(scaling, "Program", program)
    monkeypatch.setattr(costs, "linear_flops", lambda method, bodies: 100 * bodies)
    lists = {name: (value,) for name, value in SIZES.items()}
    lists |= {"bodies": (2, 4), "r": (6, 3, 1)}
    timed = scaling.steps_timed(
        [AXES["bodies"], AXES["r"]], lists, 5, lambda sizes: scaling.config_of(sizes, "float32")
    )
    assert made == [(2, 6, 5), (4, 6, 5), (2, 3, 5), (2, 1, 5)]
    # Six patches in time of 25 joints, predicted r at once.
    assert [(t.value, t.size) for t in timed] == [(2, 2), (4, 4), (6, 25), (3, 50), (1, 150)]
    assert timed[0].program is timed[2].program
    assert [t.flops for t in timed] == [200, 400, 200, 200, 200]


def timed(axis, value, times, memory=None, problem=None):
    program = types.SimpleNamespace(step_s=times, memory_bytes=memory, problem=problem)
    return scaling.Timed(AXES[axis], value, value, program)


def test_summary_compares_neighbours_of_one_axis_and_flags_what_grows_too_fast():
    found = scaling.summary(
        [
            timed("depth", 2, [1.0, 1.0], 100),
            timed("depth", 4, [2.0, 2.0], 200),
            timed("depth", 8, [8.0, 8.0], 400),
            timed("width", 8, [1.0, 1.0], 100),
            timed("width", 16, [4.0, 4.0], 800),
            timed("width", 32, [], None, "out of memory"),
        ]
    )
    exponents = [(row["exponents"]["time"], row["exponents"]["memory"]) for row in found]
    assert exponents == [
        (None, None),
        pytest.approx((1, 1)),
        pytest.approx((2, 1)),
        (None, None),
        pytest.approx((2, 3)),
        (None, None),
    ]
    assert [row["surprises"] for row in found] == [[], [], ["time"], [], ["memory"], []]
    json.dumps(found, allow_nan=False)

    lines = scaling.as_table(found).splitlines()
    assert lines[3].split() == [
        *("depth", "8", "8,000.00", "8,000.00–8,000.00", "0", "2.00", "1.00", "1", "time")
    ]
    assert "out of memory" in lines[6]
    notes = scaling.notes([AXES["depth"], AXES["width"]], found)
    assert "depth: up to 1, as one block after the other" in notes
    assert "width: up to 2, as products" in notes
    assert "faster than explained at: depth 8, width 16." in notes
    assert "nothing is faster" in scaling.notes([AXES["depth"]], found[:2])


def test_random_bodies_are_what_they_say():
    bodies = evaluation.random_bodies(3, frames=5, num_joints=4, channels=2)
    assert bodies.frames.shape == (15, 4, 2)
    assert bodies.frames.dtype == np.float32
    np.testing.assert_array_equal(bodies.offset, [0, 5, 10])
    np.testing.assert_array_equal(bodies.sequence, [0, 1, 2])
    assert bodies.present.sum() == len(bodies.names) == len(bodies.label) == 3
    # A walk: steps of a centimetre, of one body.
    steps = np.diff(bodies.frames.reshape(3, 5, 4, 2), axis=1)
    assert steps.std() == pytest.approx(0.01, rel=0.3)


def test_a_call_is_timed_from_the_second_on():
    calls = []
    call = evaluation.Call(lambda: calls.append(1) or np.zeros(1))
    call.warm_up()
    assert call.step_s == []
    call.time_step()
    assert len(calls) == 2
    assert len(call.step_s) == 1


def test_a_small_run(tmp_path, capsys):
    file = tmp_path / "out.json"
    command.main(
        [
            *("scaling", "--axes=bodies,features,neighbours", "--bodies=2,4", "--frames=24,48"),
            *("--width=8,16", "--depth=1,2", "--r=6,3", "--test=4,8,16", "--steps=1"),
            *("--rounds=2", f"--json={file}"),
        ]
    )
    text = capsys.readouterr().out.splitlines()
    assert text[0] == ("cpu, float32, AMR; base: 2 bodies, T 24, width 8, 1 + 1 blocks, r 6")
    table = text[text.index("round 2/2") + 1 :]
    assert table[0].split()[:3] == ["axis", "value", "ms"]
    expected = [("bodies", 2), ("bodies", 4)]
    expected += [(axis, n) for axis in ("features", "neighbours") for n in (4, 8, 16)]
    assert [tuple(line.split()[:2]) for line in table[1:9]] == [
        (axis, str(n)) for axis, n in expected
    ]
    content = json.loads(file.read_text())
    assert content["benchmark"] == "scaling"
    assert content["settings"]["base"]["batch_size"] == 2
    points = content["points"]
    assert [(point["axis"], point["value"]) for point in points] == expected
    for point in points:
        assert len(point["s"]) == 2
        assert min(point["s"]) > 0
    # Twice the bodies are twice the work of the linear layers, exactly.
    assert points[1]["exponents"]["flops"] == pytest.approx(1)
    assert points[1]["exponents"]["memory"] > 0
    assert points[2]["memory_bytes"] is None


def test_axes_are_chosen_by_name():
    assert [axis.name for axis in scaling.select("all")] == list(AXES)
    assert scaling.select("neighbours, r") == [AXES["r"], AXES["neighbours"]]
    with pytest.raises(UserError, match="--axes = 'batch': expected 'bodies', 'frames'"):
        scaling.select("batch")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axes=batch"], "--axes = 'batch'; expected one of: bodies"),
        (["--frames=48"], "--frames: found '48'; expected at least two numbers, each larger"),
        (["--frames=96,48"], "--frames: found '96,48'; expected .* larger than the one before"),
        (["--frames=48,a"], "--frames: found 'a'; expected a whole number"),
        (["--r=1,2"], "--r: found '1,2'; expected .* smaller than the one before"),
        (["--axes=frames", "--frames=50,100"], "patch_len = 4 does not divide"),
        (["--attention=cudnn"], "--attention=cudnn on cpu"),
    ],
)
def test_wrong_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["scaling", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error), error
