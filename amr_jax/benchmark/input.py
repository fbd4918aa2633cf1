"""What it takes to have a step's clips ready: resident or streamed, in 16 or 32 bits.

    python -m amr_jax.benchmark input [--bodies=16] [--data_dir=DIR --dataset=NAME] [--json=FILE]

The input is the training loop's own, on records: `--dataset`'s, or a small built-in set's, prepared
for the occasion. A step's time is that of its clips alone, augmented, on the device; beside it
stands the full AMR training step, which is what they must not hold up.
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
from amr_jax.benchmark import options, output, rounds
from amr_jax.benchmark.program import Program
from amr_jax.config import base as base_config
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.run import console, sharding
from amr_jax.studies import costs
from amr_jax.synthetic import writer

METHOD = "amr"
BUILT_IN = "ntu60_xsub"  # whose names the built-in records bear
INPUTS = tuple(itertools.product(("resident", "stream"), ("int16", "float32")))


def config_of(
    dataset: str, data_dir: str, bodies: int, mode: str, storage: str
) -> ml_collections.ConfigDict:
    """The resolved config of pre-training with one of `INPUTS`."""
    config = base_config.pretraining(METHOD, dataset)
    config.model = ml_collections.ConfigDict()  # the method's own defaults
    config.data_dir, config.batch_size = data_dir, bodies
    config.input.mode, config.input.storage = mode, storage
    return pretrain.resolve(config)


class Input:
    """One way to get the clips of a step, and what was measured of it.

    Attributes:
      mode, storage: one of `INPUTS`.
      resident_bytes: that lie on the device throughout.
      step_bytes: that go to the device for one step.
      step_s: seconds of a step's clips, one entry a round.
    """

    def __init__(self, config: ml_collections.ConfigDict, steps: int):
        self.mode, self.storage = config.input.mode, config.input.storage
        self.step_s: list[float] = []
        self.step_bytes = 0
        mesh = sharding.make_mesh(jax.devices()[:1])
        self._data = pretrain.load_input(config, pretrain.open_records(config), mesh).data
        self.resident_bytes = sum(x.nbytes for x in jax.tree.leaves(self._data.arrays))
        self._steps = steps
        self._clips = costs.augmenting(config, self._data.clips, mesh)

    def run(self, num_dispatches: int) -> None:
        """That many dispatches one after the other; the first, which starts readers, not timed."""
        steps = self._steps
        batches = self._data.batches(0, (num_dispatches + 1) * steps, steps)
        number = jax.numpy.int32(0)
        for i in range(num_dispatches + 1):
            if i == 1:
                start = time.perf_counter()
            batch = next(batches)
            number, clips = jax.block_until_ready(self._clips(number, self._data.arrays, batch))
        self.step_s.append((time.perf_counter() - start) / (num_dispatches * steps))
        self.step_bytes = sum(x.nbytes for x in jax.tree.leaves(batch)) // steps
        del clips


def measure(
    dataset: str, data_dir: str, bodies: int, steps: int, dispatches: int, num_rounds: int
) -> list[dict[str, Any]]:
    """All inputs in rounds, and the training step; an entry each, the step's last."""

    def config(mode, storage):
        return config_of(dataset, data_dir, bodies, mode, storage)

    inputs = []
    for mode, storage in INPUTS:
        inputs.append(Input(config(mode, storage), steps))
        inputs[-1].run(1)  # compiles
        inputs[-1].step_s.clear()
        console.say(f"{mode} {storage} is ready")
    training = Program(config(*INPUTS[0]))
    training.warm_up()
    console.say(training.problem or "the training step is compiled")
    for i in range(num_rounds):
        for one in rounds.rotated(inputs, i):
            one.run(dispatches)
        training.time_step()
        console.say(f"round {i + 1}/{num_rounds}")
    return summary(inputs, training, bodies)


def summary(inputs: Sequence[Input], training: Program, bodies: int) -> list[dict[str, Any]]:
    """Medians, ratios to the first input, and shares of the training step; by rounds."""
    base, found = inputs[0].step_s, []
    for one in inputs:
        low, middle, high = rounds.quartiles(one.step_s)
        share = rounds.ratio(one.step_s, training.step_s) if training.step_s else None
        found.append(
            {
                "input": f"{one.mode} {one.storage}",
                "step_s_median": middle,
                "step_s_quartiles": [low, high],
                "bodies_per_s": bodies / middle,
                "ratio": rounds.ratio(one.step_s, base),
                "of_training_step": share,
                "resident_bytes": one.resident_bytes,
                "step_bytes": one.step_bytes,
                "step_s": one.step_s,
            }
        )
    if training.step_s:
        low, middle, high = rounds.quartiles(training.step_s)
        found.append(
            {
                "input": "training step",
                "step_s_median": middle,
                "step_s_quartiles": [low, high],
                "bodies_per_s": bodies / middle,
                "step_s": training.step_s,
            }
        )
    return found


def as_table(found: Sequence[dict[str, Any]]) -> str:
    """The entries of `summary` for the terminal."""

    def text(row, key, unit, form):
        return "" if row.get(key) is None else format(row[key] / unit, form)

    header = ("input", "ms a step", "quartiles", "bodies/s", "to the first", "of the step")
    header += ("MB resident", "MB a step")
    lines = []
    for row in found:
        low, high = (f"{1e3 * t:,.2f}" for t in row["step_s_quartiles"])
        lines.append(
            (
                row["input"],
                text(row, "step_s_median", 1e-3, ",.2f"),
                f"{low}–{high}",
                text(row, "bodies_per_s", 1, ",.0f"),
                text(row, "ratio", 1, ".2f"),
                text(row, "of_training_step", 1, ".2%"),
                text(row, "resident_bytes", 1e6, ",.1f"),
                text(row, "step_bytes", 1e6, ",.3f"),
            )
        )
    return output.table(header, lines)


@contextlib.contextmanager
def built_in_records(takes: int) -> Iterator[str]:
    """A data_dir with records of the built-in data under `BUILT_IN`; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="amr_jax_benchmark_") as folder:
        raw = Path(folder) / "raw"
        writer.write(raw, performers=2, takes=takes)
        prepare.prepare("ntu_rgbd60", raw, Path(folder) / "data")
        yield str(Path(folder) / "data")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    positive = output.positive
    parser.add_argument("--dataset", default="", help="config name; needs --data_dir")
    parser.add_argument("--data_dir", default="", help="where its records are")
    parser.add_argument(
        "--bodies", type=positive, help="a step (default: 16 on CPU, 256 on accelerators)"
    )
    parser.add_argument("--steps", type=positive, default=10, help="of a dispatch (default 10)")
    parser.add_argument(
        "--dispatches", type=positive, default=5, help="timed one after the other (default 5)"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="of all (default 5)")
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON."""
    if bool(flags.dataset) != bool(flags.data_dir):
        raise UserError("--dataset and --data_dir go together: give both, or neither.")
    bodies = flags.bodies or (16 if options.on_cpu() else 256)
    source = output.provenance("input")
    with contextlib.ExitStack() as stack:
        dataset, data_dir = flags.dataset, flags.data_dir
        if dataset:
            datasets.get(dataset)  # an unknown name ends here
        else:
            dataset, data_dir = BUILT_IN, stack.enter_context(built_in_records(takes=2))
        found = measure(dataset, data_dir, bodies, flags.steps, flags.dispatches, flags.rounds)
    console.say(as_table(found))
    if flags.json:
        settings = {
            "dataset": dataset,
            "bodies": bodies,
            "steps": flags.steps,
            "dispatches": flags.dispatches,
            "rounds": flags.rounds,
        }
        output.write_json(flags.json, {**source, "settings": settings, "rows": found})
        console.say(f"written: {flags.json}")
