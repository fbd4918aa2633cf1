"""Pre-training: the one loop, for every method.

  python -m amr_jax.pretrain --config=configs/amr.py:ntu60_xsub --workdir=DIR [--config.x.y=…]

The same command with the same workdir goes on where the last start ended.
"""

import collections
import contextlib
import math
import os
import time
from collections.abc import Sequence
from typing import NoReturn

import jax
import ml_collections
import numpy as np

from amr_jax import methods
from amr_jax.data import datasets, division, input_pipeline, records
from amr_jax.errors import Preempted, UserError
from amr_jax.ops import augment
from amr_jax.run import (
    checkpoint,
    console,
    distributed,
    lock,
    metrics,
    paths,
    preemption,
    sharding,
    workdir,
)
from amr_jax.run.cli import run_with_config
from amr_jax.train import optim
from amr_jax.train import step as train_step

# What may differ between two starts of one run: none of it changes more than rounding.
FREE_KEYS = {"data_dir", "checkpoint", "fsdp", "input.mode"}


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy with every 'auto' decided for the devices at hand, and settings checked together."""
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    if config.dtype == "auto":
        config.dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    for key, choices in {
        "dtype": ("float32", "bfloat16"),
        "input.mode": ("resident", "stream"),
        "input.storage": ("int16", "float32"),
        "input.bodies": ("packed", "all"),
        "input.second_body": ("zeros", "repeat"),
        "input.stream": augment.STREAMS,
    }.items():
        if config[key] not in choices:
            raise UserError(f"config.{key}={config[key]!r}: expected one of {', '.join(choices)}.")
    if config.input.second_body == "repeat" and config.input.bodies != "all":
        raise UserError("config.input.second_body='repeat' needs config.input.bodies='all'.")
    for key, lowest, highest in (
        ("epochs", 1, math.inf),
        ("steps_per_dispatch", 1, math.inf),
        ("checkpoint.epochs", 1, math.inf),
        ("checkpoint.keep", 1, math.inf),
        ("input.max_frames", 1, math.inf),
        ("augment.min_frames", 1, math.inf),
        ("augment.min_fraction", 0, config.augment.max_fraction),
        ("augment.max_fraction", 0, 1),
        ("optim.accumulate", 1, math.inf),
        ("optim.clip_norm", 0, math.inf),
        ("optim.ema_decay", 0, 1 - 1e-9),
        ("optim.warmup_epochs", 0, config.epochs - 1),
        ("optim.min_lr", 0, config.optim.lr),
    ):
        value = config[key]
        if not lowest <= value <= highest:
            bounds = f"{lowest} to {highest}" if highest < math.inf else f"at least {lowest}"
            raise UserError(f"config.{key}={value}: expected {bounds}.")
    return config


def open_records(config: ml_collections.ConfigDict) -> records.Records:
    """The training split, which fits the config's encoder; else `UserError` says why not."""
    dataset = datasets.get(config.dataset)
    split = records.Records(
        config.data_dir,
        dataset.records,
        config.input.split,
        dataset.layout.centre if config.input.centre else None,
        config.input.max_frames,
    )
    encoder, has = config.encoder, dataset.has_confidence
    if (split.num_joints, split.num_channels, has) != (
        encoder.num_joints,
        encoder.channels,
        encoder.confidence,
    ):
        raise UserError(
            f"config.encoder.num_joints={encoder.num_joints}, channels={encoder.channels}, "
            f"confidence={encoder.confidence}: the records of {config.dataset} have "
            f"{split.num_joints} joints with {split.num_channels} channels, the last of which is "
            f"{'a' if has else 'no'} confidence."
        )
    return split


def make_input(config: ml_collections.ConfigDict, split: records.Records, mesh: jax.sharding.Mesh):
    """The split as the config asks for it; every process reads a part of it, and has to call.

    Returns:
      The input, how many units and sequences there are, and a text: which sequences they are.
    """
    resident = config.input.mode == "resident"
    if resident:
        divided = division.load(split, mesh)
        present, names = divided.present, divided.names
    else:
        present, lengths, names = division.scan(split, mesh)
    slots = input_pipeline.unit_slots(present, config.input.bodies, config.input.second_body)
    order = input_pipeline.Order(len(slots), config.batch_size, config.seed)
    if resident:
        data = input_pipeline.Resident(divided, slots, order, config.input.storage)
    else:
        longest = int(lengths.max())
        data = input_pipeline.Streamed(split, slots, order, mesh, longest, config.input.storage)
    return data, len(slots), len(present), records.described(names, present)


def run(
    config: ml_collections.ConfigDict,
    folder: os.PathLike | str,
    devices: Sequence[jax.Device] | None = None,
) -> train_step.TrainState:
    """Trains to the end, or on to it, and returns the final state.

    Args:
      config: as a config file makes it.
      folder: the workdir.
      devices: to run on; default all.

    Raises:
      UserError: wrong settings; a workdir in use; a loss that is not finite; a checkpoint that
        cannot be saved.
      Preempted: told to end before the end; saved.
    """
    with preemption.Notice() as notice:
        return _run(config, folder, devices, notice)


def _run(config, folder, devices, notice: preemption.Notice) -> train_step.TrainState:
    started = time.monotonic()
    config, folder = resolve(config), paths.absolute(folder)
    mesh = sharding.make_mesh(devices, config.fsdp)
    sharding.check_batch(mesh, config.batch_size, "batch_size")
    if config.batch_size % (mesh.size * config.optim.accumulate):
        raise UserError(
            f"config.optim.accumulate={config.optim.accumulate}: config.batch_size="
            f"{config.batch_size} does not split into that many parts over {mesh.size} devices."
        )
    method = methods.build(config)
    if method.across_bodies and config.optim.accumulate > 1:
        raise UserError(
            f"config.optim.accumulate={config.optim.accumulate}: the loss of {config.method}, as "
            "configured, compares the bodies of a batch with each other, and parts would be "
            "smaller batches; expected 1."
        )
    if method.momentum_encoder and config.optim.ema_decay:
        raise UserError(
            f"config.optim.ema_decay={config.optim.ema_decay}: {config.method} keeps an average of "
            "its encoder by a rule of its own; expected 0."
        )
    split = open_records(config)
    workdir.agree(folder, config, split.summary())
    data, num_units, num_sequences, found = make_input(config, split, mesh)
    with config.unlocked():
        # Into the workdir with it: a run must not go on with other records than it began with.
        config.input.found = found
    with lock.hold(folder) as owned:
        workdir.start(folder, config, FREE_KEYS)
        return _train(
            config, folder, method, mesh, data, num_units, num_sequences, owned, notice, started
        )


def _train(
    config, folder, method, mesh, data, num_units, num_sequences, owned, notice, started
) -> train_step.TrainState:
    """What `run` does once the workdir is its own."""
    per_epoch = num_units / config.batch_size
    total_steps = max(1, round(config.epochs * per_epoch))
    optimizer = optim.adamw(
        optim.schedule(
            config.optim.lr,
            config.optim.min_lr,
            round(config.optim.warmup_epochs * per_epoch),
            total_steps,
        ),
        config.optim.weight_decay,
        config.optim.b1,
        config.optim.b2,
        config.optim.clip_norm,
    )
    state = train_step.init_state(method, optimizer, config, mesh)
    checkpoints = checkpoint.Checkpoints(folder, config.checkpoint.keep, owned.check)
    try:
        first_step = 0
        # A file system may show a folder's newest entries to one host before the others.
        distributed.agree({"checkpoints": checkpoints.steps()})
        if checkpoints.steps():
            state = checkpoints.restore(state)
            first_step = int(state.step)
        console.say(_banner(config, method, mesh, state, first_step, total_steps))
        if first_step < total_steps:
            loop = Loop(config, folder, num_units, num_sequences, total_steps)
            dispatch = train_step.make_dispatch(
                method, optimizer, data.clips, config, total_steps, mesh
            )
            state = loop.run(state, first_step, data, dispatch, checkpoints, notice, started)
        checkpoints.wait()
    finally:
        checkpoints.close()
    console.say(f"done: {total_steps:,} steps; checkpoint in {folder}")
    return state


class Loop:
    """Dispatches, reports and saves; holds what these three share."""

    def __init__(self, config, folder, num_units: int, num_sequences: int, total_steps: int):
        self._config, self._folder, self._total_steps = config, folder, total_steps
        self._per_epoch = num_units / config.batch_size
        self._sequences_per_step = num_sequences / self._per_epoch
        # Saved where dispatches end, so that a resumed run cuts its dispatches at the same steps.
        dispatch = config.steps_per_dispatch
        every = max(1, math.ceil(config.checkpoint.epochs * self._per_epoch / dispatch))
        self._save_every = every * dispatch
        # Of the last dispatches: was the one before done by the time that the batches were there?
        self._starved: collections.deque[bool] = collections.deque(maxlen=10)

    def run(self, state, first_step, data, dispatch, checkpoints, notice, started: float):
        """From `first_step` to the end; returns the last state.

        `started` is when the run was, by `time.monotonic`.

        Raises:
          Preempted: `notice` came; all is saved.
        """
        k = self._config.steps_per_dispatch
        writer = metrics.MetricWriter(self._folder, first_step)
        lines = metrics.read_metrics(self._folder)
        self._clock, self._wall = metrics.TrainingClock(lines), metrics.WallClock(lines)
        progress = console.Progress(self._total_steps, first_step, self._sequences_per_step)
        pending = None
        if notice.reached():
            self._end(first_step)
        batches = data.batches(first_step, self._total_steps, k)
        with contextlib.closing(writer):
            for steps in input_pipeline.dispatches(first_step, self._total_steps, k):
                if pending and len(steps) != len(pending[0]):
                    # This one compiles, which is not to count as time of the one before it.
                    self._report(writer, progress, *pending)
                    pending = None
                batch = next(batches)
                self._starved.append(pending is not None and is_done(pending[1]))
                asked = time.monotonic()
                # Whatever the step needs is on the devices by now; anything else is a mistake.
                with jax.transfer_guard("disallow"):
                    state, measured = dispatch(state, data.arrays, batch)
                if steps.start == first_step:
                    compiled = time.monotonic() - asked
                    jax.block_until_ready(measured)
                    console.say(
                        f"compiled in {compiled:.1f} s; the first {len(steps)} step(s) were done "
                        f"{time.monotonic() - started:.1f} s after the start"
                    )
                # The device is busy with this dispatch while the one before it is reported.
                if pending:
                    self._report(writer, progress, *pending)
                pending = (steps, measured)
                told_to_end = notice.reached()
                done = steps.stop == self._total_steps
                if steps.stop % self._save_every == 0 or told_to_end or done:
                    self._report(writer, progress, *pending)
                    pending = None
                    writer.flush()
                    checkpoints.save(steps.stop, state)
                if told_to_end and not done:
                    checkpoints.wait()
                    self._end(steps.stop)
        return state

    def _end(self, step: int) -> NoReturn:
        raise Preempted(
            f"told to end (SIGTERM): saved at step {step:,} of {self._total_steps:,} in "
            f"{self._folder}. Started again, the same command goes on from there."
        )

    def _report(self, writer, progress, steps: range, measured) -> None:
        """Writes the means over a dispatch; stops the run at a loss that is not finite."""
        measured = jax.device_get(measured)
        stop_unless_finite(measured, steps, self._folder)
        means = {name: float(np.mean(values)) for name, values in measured.items()}
        epoch = steps.stop / self._per_epoch
        text = f"epoch {epoch:.1f}/{self._config.epochs}  loss {means['loss']:.4f}"
        if sum(self._starved) > len(self._starved) / 2:
            text += "  (input is the bottleneck)"
        rate = progress.update(steps.stop, text)
        if rate is not None:
            means["sequences_per_s"] = rate
        means |= self._clock.update(steps)
        writer.write(steps.stop, {**means, "epoch": epoch, "time": self._wall.now()})


def is_done(measured: dict[str, jax.Array]) -> bool:
    """Whether the devices have computed all of it; does not wait."""
    return all(values.is_ready() for values in measured.values())


def stop_unless_finite(
    measured: dict[str, np.ndarray], steps: range, folder: os.PathLike | str
) -> None:
    """Raises `UserError` at the first of `steps` at which anything measured is not finite."""
    finite = np.all([np.isfinite(values) for values in measured.values()], axis=0)
    if finite.all():
        return
    first = int(np.argmin(finite))
    name = next(name for name, values in measured.items() if not np.isfinite(values[first]))
    raise UserError(
        f"the {name} of step {steps[first]:,} is {measured[name][first]}, not a finite number; "
        f"nothing of it was saved. The last checkpoint in {folder} is from before. Try a lower "
        "config.optim.lr, config.optim.clip_norm=1.0 or config.dtype=float32, in a new workdir."
    )


def _banner(config, method, mesh, state, first_step, total_steps) -> str:
    """What runs where."""
    count = {
        name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in state.params.items()
    }
    encoder = config.encoder
    num_patches = encoder.num_frames // encoder.patch_len * encoder.num_joints
    lines = {
        "devices": f"{mesh.size} × {jax.devices()[0].device_kind}, "
        f"{jax.process_count()} process(es); data {mesh.shape['data']} × fsdp {config.fsdp}",
        "data": f"{config.dataset} {config.input.split}: {config.input.found}; "
        f"{config.input.mode} as {config.input.storage}, {config.input.bodies}, "
        f"{config.input.stream} stream",
        "batch": f"{config.batch_size} a step, {config.steps_per_dispatch} steps a dispatch",
        "method": f"{config.method}, {config.dtype}",
        "patches": f"{num_patches} of {encoder.patch_len} frames of one joint; "
        f"{method.num_kept} visible, {method.num_predicted} predicted",
        "parameters": f"{sum(count.values()):,} (encoder {count['encoder']:,})",
        "steps": f"{total_steps:,} ({config.epochs} epochs)"
        + (f", going on from {first_step:,}" if first_step else ""),
    }
    return console.aligned(lines)


if __name__ == "__main__":
    run_with_config(
        run,
        workdir="the run's folder; the same one resumes it",
        several_hosts=True,
        saves_when_preempted=True,
    )
