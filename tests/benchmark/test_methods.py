"""The benchmark of the methods: its rows, its arithmetic, its order, and one small run."""

import json
import re
import types

import jax
import pytest

from amr_jax import methods as registry
from amr_jax.benchmark import __main__ as command
from amr_jax.benchmark import methods, output, program, rounds
from amr_jax.errors import UserError
from amr_jax.studies import costs
from tests.config.test_configs import get_config


def test_rotated_rounds_start_one_further_each():
    assert [rounds.rotated("abc", i) for i in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_quartiles_and_ratios_by_hand():
    assert rounds.quartiles([5, 1, 4, 2, 3]) == (2, 3, 4)
    assert rounds.quartiles([1, 2]) == (1.25, 1.5, 1.75)
    # By round: 2, 1, 4. The medians alone would say 4 / 3.
    assert rounds.ratio([2, 4, 12], [1, 4, 3]) == 2
    with pytest.raises(ValueError, match="longer"):
        rounds.ratio([1.0], [1.0, 2.0])


def test_a_table_is_aligned_and_leaves_out_what_is_empty():
    text = output.table(
        ("name", "ms", "none", "x"), [("a", "1.5", "", "10"), ("bcdef", "", "", "")]
    )
    assert text.splitlines() == ["name    ms   x", "a      1.5  10", "bcdef"]


def test_rows_are_the_methods_and_the_variant(monkeypatch):
    paper = ["skeleton_mae", "mamp", "sjepa", "gfp", "nat", "nat w/ contrast", "amr"]
    assert [row.name for row in methods.all_rows()] == paper
    assert {row.method for row in methods.all_rows()} == set(registry.METHODS)
    monkeypatch.setitem(registry.METHODS, "anew", registry.MAMP)
    assert methods.all_rows()[-1] == methods.Row("anew", "anew")
    assert [row.name for row in methods.all_rows()[:-1]] == paper

    assert [row.name for row in methods.select("amr,nat w/ contrast")] == paper[5:]
    assert [row.name for row in methods.select("amr,gfp", "mamp")] == ["mamp", "gfp", "amr"]
    with pytest.raises(UserError, match="unknown 'mampp'; expected some of: skeleton_mae, mamp"):
        methods.select("amr,mampp")


@pytest.mark.parametrize("name", registry.METHODS)
def test_defaults_are_what_the_configs_say(name):
    row = next(row for row in methods.all_rows() if row.name == name)
    ours = methods.config_of(row, 64, "float32", "xla")
    theirs = get_config(name, methods.DATASET)
    theirs.dtype = "float32"
    assert registry.build(ours) == registry.build(theirs)
    assert ours.batch_size == theirs.batch_size
    for section in ("encoder", "augment", "optim"):
        assert ours[section] == theirs[section]


def test_kernels_of_this_device():
    assert methods.kernels("all", "bfloat16") == methods.kernels("xla", "float32") == ["xla"]
    with pytest.raises(UserError, match="cudnn on cpu in bfloat16: it needs an NVIDIA GPU"):
        methods.kernels("cudnn", "bfloat16")


def test_kernels_of_a_gpu(monkeypatch):
    gpu = types.SimpleNamespace(device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "devices", lambda: [gpu])
    assert methods.kernels("all", "bfloat16") == ["xla", "cudnn"]
    assert methods.kernels("all", "float32") == ["xla"]
    assert methods.kernels("cudnn", "bfloat16") == ["cudnn"]
    with pytest.raises(UserError, match="cudnn on NVIDIA H200 in float32"):
        methods.kernels("cudnn", "float32")


class Device:
    """An allocator's books: every program's state stays, its peak comes and goes."""

    device_kind = "NVIDIA"

    def __init__(self):
        self.in_use = self.peak = 0

    def memory_stats(self):
        return {"bytes_in_use": self.in_use, "peak_bytes_in_use": self.peak}


class Step:
    """Stands in for a compiled step: `size` bytes of state, 10 · `size` at its peak."""

    def __init__(self, name, size, device, log):
        self.name, self.size, self.device, self.log = name, size, device, log
        self.calls, self.fails = 0, lambda call: False
        device.in_use += size

    def lower(self, state, arrays, batch):
        assert (state, arrays, batch) == (0, {}, "batch")
        return self

    def compile(self):
        return self

    def memory_analysis(self):
        return types.SimpleNamespace(
            argument_size_in_bytes=self.size,
            output_size_in_bytes=self.size,
            alias_size_in_bytes=self.size,
            temp_size_in_bytes=9 * self.size,
        )

    def cost_analysis(self):
        return {"bytes accessed": 20.0 * self.size}

    def __call__(self, state, arrays, batch):
        assert state == self.calls  # what the last step returned
        self.calls += 1
        self.log.append(self.name)
        if self.fails(self.calls):
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."
            )
        self.device.peak = max(self.device.peak, self.device.in_use + 9 * self.size)
        return self.calls, {"loss": [0.5]}


@pytest.fixture
def steps(monkeypatch):
    """Replaces compiling and the device; returns the steps made by (method, kernel), and a log."""
    sizes = {"mamp": 300, "nat": 200, "amr": 100}
    device, made, log = Device(), {}, []

    def training_step(config, steps):
        key = (config.method, config.attention_kernel)
        made[key] = Step(key, sizes[config.method], device, log)
        return made[key], 0, "batch"

    monkeypatch.setattr(jax, "devices", lambda: [device])
    monkeypatch.setattr(costs, "training_step", training_step)
    monkeypatch.setattr(costs, "linear_flops", lambda method, bodies: 5e9 * bodies)
    monkeypatch.setattr(costs, "forward_flops", lambda method, bodies: 6e9 * bodies)
    return made, log


ROWS = [methods.Row("mamp", "mamp"), methods.Row("nat", "nat"), methods.Row("amr", "amr")]


def test_measuring_compiles_first_then_rotates(steps):
    made, log = steps
    measured = methods.measure(ROWS, ["xla"], 2, "bfloat16", 3)
    names = [name for name, _ in log]
    assert names[:3] == ["amr", "nat", "mamp"]  # the first steps, from small to large
    assert names[3:6] == ["mamp", "nat", "amr"]
    assert names[6:9] == ["nat", "amr", "mamp"]
    assert names[9:] == ["amr", "mamp", "nat"]
    for m in measured:
        size = made[m.row.method, "xla"].size
        assert len(m.program.step_s) == 3
        assert m.program.memory_bytes == m.program.device_bytes == 10 * size
        assert (m.linear_gflops, m.compiler_gflops) == (10, 12)


def test_each_kernel_is_compared_with_itself(steps):
    measured = methods.measure(ROWS[:2], ["xla", "cudnn"], 2, "bfloat16", 2)
    times = {
        ("mamp", "xla"): [1.0, 3.0],
        ("mamp", "cudnn"): [0.5, 0.5],
        ("nat", "xla"): [2.0, 3.0],
        ("nat", "cudnn"): [1.5, 0.5],
    }
    for m in measured:
        m.program.step_s = times[m.row.name, m.attention]
    found = {(row["name"], row["attention"]): row for row in methods.summary(measured)}
    assert {key: row["step_ratio"] for key, row in found.items()} == {
        ("mamp", "xla"): 1,
        ("mamp", "cudnn"): 1,
        ("nat", "xla"): 1.5,
        ("nat", "cudnn"): 2,
    }
    assert found["nat", "xla"]["step_s_median"] == 2.5
    assert found["nat", "xla"]["step_s_quartiles"] == [2.25, 2.75]
    assert found["nat", "xla"]["memory_ratio"] == 2 / 3
    # Only one of two equally large programs can be seen in a peak that never falls.
    assert found["nat", "cudnn"]["device_bytes"] is None


def test_what_does_not_fit_says_so_and_the_rest_goes_on(steps, monkeypatch):
    make = costs.training_step

    def training_step(config, steps):
        if config.method == "mamp":
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")
        step, *rest = make(config, steps)
        step.fails = lambda call: config.method == "nat" and call == 3
        return step, *rest

    monkeypatch.setattr(costs, "training_step", training_step)
    measured = methods.measure(ROWS, ["xla"], 2, "bfloat16", 4)
    mamp, nat, amr = methods.summary(measured)
    assert [row["problem"] for row in (mamp, nat, amr)] == ["out of memory", "out of memory", None]
    assert mamp["memory_bytes"] is mamp["compile_s"] is mamp["memory_ratio"] is None
    assert nat["memory_bytes"] == 2000
    assert nat["step_s"] == []
    assert len(amr["step_s"]) == 4
    assert amr["step_ratio"] is amr["memory_ratio"] is None
    lines = methods.as_table([mamp, nat, amr]).splitlines()
    assert ["out of memory" in line for line in lines] == [False, True, True, False]
    json.dumps([mamp, nat, amr], allow_nan=False)


def test_other_errors_of_the_device_are_not_hidden(steps, monkeypatch):
    def training_step(config, steps):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(costs, "training_step", training_step)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        program.Program(methods.config_of(ROWS[0], 2, "float32", "xla"))


def tiny(full):
    """`config_of` for a model that compiles in a second or two."""

    def config_of(*args):
        config = full(*args)
        config.encoder.update(num_frames=24, width=8, depth=1, num_heads=1)
        config.model.update(decoder_width=8, decoder_depth=1, decoder_heads=1)
        return config

    return config_of


def test_a_small_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "config_of", tiny(methods.config_of))
    monkeypatch.setattr(costs, "forward_flops", lambda method, bodies: 7e9)  # saves compiling
    file = tmp_path / "out.json"
    command.main(["methods", "--methods=amr", "--sequences=2", "--rounds=3", f"--json={file}"])
    text = capsys.readouterr().out.splitlines()
    assert text[0] == "cpu, float32: 2 × 2 bodies a step; T 24, V 25, width 8, 1 blocks"
    table = text[text.index("round 3/3") + 1 :]
    assert table[0].split()[:4] == ["method", "attention", "step", "ms"]
    assert "device GB" not in table[0]  # a CPU keeps no books
    assert [line.split()[0] for line in table[1:3]] == ["mamp", "amr"]

    content = json.loads(file.read_text())
    assert content["benchmark"] == "methods"
    assert content["device"]["platform"] == "cpu"
    assert content["versions"]["jax"] == jax.__version__
    assert content["settings"]["bodies"] == 4
    mamp, amr = content["rows"]
    assert (mamp["name"], amr["name"], amr["attention"]) == ("mamp", "amr", "xla")
    assert mamp["step_ratio"] == mamp["memory_ratio"] == 1
    for row in (mamp, amr):
        assert len(row["step_s"]) == 3
        assert min(row["step_s"]) > 0
        assert row["memory_bytes"] > 0
        assert row["problem"] is None
        assert row["compiler_gflops"] == 7
    assert amr["linear_gflops"] < mamp["linear_gflops"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: WHAT"),
        (["method"], "invalid choice: 'method' .*'?methods'?"),
        (["methods", "--round=3"], "unrecognized arguments: --round=3"),
        (["methods", "--rounds=0"], "--rounds: found '0'; expected a whole number of at least 1"),
        (["methods", "--dtype=float16"], "--dtype: invalid choice: 'float16'"),
        (["methods", "--methods=mampp"], "--methods: unknown 'mampp'"),
        (["methods", "--attention=cudnn"], "--attention=cudnn on cpu"),
        (["methods", "--json=/nowhere/a.json"], "--json: found '/nowhere/a.json'; expected a file"),
    ],
)
def test_wrong_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error), error


def test_an_interrupted_run_leaves_no_file(tmp_path, monkeypatch, capsys):
    def measure(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "measure", measure)
    with pytest.raises(SystemExit) as ended:
        command.main(["methods", f"--json={tmp_path / 'out.json'}"])
    assert ended.value.code == 130
    assert "interrupted: no results were written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
