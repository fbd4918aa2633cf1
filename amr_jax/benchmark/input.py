"""Time to prepare the clips of a step: resident or streamed, in 16 or 32 bits.

    python -m amr_jax.benchmark input [--bodies=16] [--data_dir=DIR --dataset=NAME] [--json=FILE]

The input is the training loop's own, on the records of `--dataset` or of a small built-in set. A
step's time is that of its augmented clips alone, on the device. The full AMR training step, which
the input must not slow down, is timed in the same rounds.
"""

import argparse
import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

from amr_jax import prepare, pretrain
from amr_jax.benchmark import interface, timing
from amr_jax.config import files
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.run import cli, console, sharding
from amr_jax.studies import costs
from amr_jax.synthetic import writer

BUILT_IN = "ntu60_xsub"  # the data set whose records the built-in ones replace
INPUTS = tuple(itertools.product(("resident", "stream"), ("int16", "float32")))
STEPS, DISPATCHES = 10, 5  # steps per dispatch, and dispatches that are timed together

COLUMNS = {
    "input": interface.number("input"),
    "ms per step": interface.number("step_s_median", ",.2f", 1e-3),
    "quartiles": interface.quartiles("step_s_quartiles", ",.2f", 1e-3),
    "bodies/s": interface.number("bodies_per_s", ",.0f"),
    "to the first": interface.number("ratio", ".2f"),
    "of the step": interface.number("of_training_step", ".2%"),
    "MB resident": interface.number("resident_bytes", ",.1f", 1e6),
    "MB per step": interface.number("step_bytes", ",.3f", 1e6),
}


def config_of(
    dataset: str, data_dir: str, bodies: int, mode: str, storage: str
) -> ml_collections.ConfigDict:
    """The resolved config of AMR's pre-training with one of `INPUTS`."""
    config = files.get_config(f"amr:{dataset}")
    config.data_dir, config.batch_size = data_dir, bodies
    config.input.mode, config.input.storage = mode, storage
    return pretrain.resolve(config)


class Input:
    """One way to make the clips of a step.

    Attributes:
      name: one of `INPUTS`.
      resident_bytes: bytes that stay on the device.
      step_bytes: bytes that go to the device for one step.
      step_s: seconds per step, one entry per round.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        self.name = f"{config.input.mode} {config.input.storage}"
        self.step_s: list[float] = []
        self.step_bytes = 0
        mesh = sharding.make_mesh(jax.devices()[:1])
        self._data = pretrain.load_input(config, pretrain.open_records(config), mesh)
        self.resident_bytes = sum(x.nbytes for x in jax.tree.leaves(self._data.resident))
        self._clips = costs.augmenting(config, self._data.clips, mesh)

    def time_step(self) -> None:
        """Times the dispatches after a first one, which starts readers and compiles."""
        batches = self._data.batches(0, (DISPATCHES + 1) * STEPS, STEPS)
        number = jax.numpy.int32(0)
        for i in range(DISPATCHES + 1):
            if i == 1:
                start = time.perf_counter()
            batch = next(batches)
            number, clips = jax.block_until_ready(self._clips(number, self._data.resident, batch))
        self.step_s.append((time.perf_counter() - start) / (DISPATCHES * STEPS))
        self.step_bytes = sum(x.nbytes for x in jax.tree.leaves(batch)) // STEPS
        del clips


def measure(dataset: str, data_dir: str, bodies: int, num_rounds: int) -> list[dict[str, Any]]:
    """Times all inputs and the training step in rounds; one entry each, the step's last."""
    configs = [config_of(dataset, data_dir, bodies, *which) for which in INPUTS]
    inputs = [Input(config) for config in configs]
    training = timing.Variant("training step", configs[0], sequences=bodies)
    training.compile(1)
    training.warm_up()
    console.say(training.problem or "the training step is compiled")
    timing.rounds([*inputs, training], num_rounds)
    return summary(inputs, training, bodies)


def summary(inputs: Sequence[Input], training: timing.Variant, bodies: int) -> list[dict[str, Any]]:
    """Medians, ratios to the first input, and shares of the training step."""
    found = []
    for one in (*inputs, training) if training.step_s else inputs:
        times = timing.statistics(one.step_s)
        entry = {"input": one.name, **times, "step_s": one.step_s}
        entry["bodies_per_s"] = bodies / times["step_s_median"]
        if one is not training:
            entry |= {
                "ratio": timing.ratio(one.step_s, inputs[0].step_s),
                "of_training_step": timing.ratio(one.step_s, training.step_s),
                "resident_bytes": one.resident_bytes,
                "step_bytes": one.step_bytes,
            }
        found.append(entry)
    return found


@contextlib.contextmanager
def built_in_records() -> Iterator[str]:
    """A data_dir with records of the built-in data as `BUILT_IN`; deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="amr_jax_benchmark_") as folder:
        raw = Path(folder) / "raw"
        writer.write(raw, performers=2, takes=2)
        prepare.prepare("ntu_rgbd60", raw, Path(folder) / "data")
        yield str(Path(folder) / "data")


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    parser.add("dataset", str, "", "data set; needs --data_dir")
    parser.add("data_dir", str, "", "where its records are")
    parser.add("bodies", cli.at_least(1), None, "per step (default: 16 on a CPU, else 256)")
    parser.add("rounds", cli.at_least(1), 5, "times that each input is timed")


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures and prints the table; returns the content of the JSON file."""
    if bool(flags.dataset) != bool(flags.data_dir):
        raise UserError("--dataset and --data_dir go together: give both, or neither.")
    bodies = flags.bodies or (16 if jax.default_backend() == "cpu" else 256)
    with contextlib.ExitStack() as stack:
        dataset, data_dir = flags.dataset, flags.data_dir
        if dataset:
            datasets.get(dataset)  # an unknown name ends here
        else:
            dataset, data_dir = BUILT_IN, stack.enter_context(built_in_records())
        found = measure(dataset, data_dir, bodies, flags.rounds)
    interface.print_table(found, COLUMNS)
    return {"bodies": bodies, "rows": found}
