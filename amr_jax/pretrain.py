"""Pre-training: the one loop, for every method.

  python -m amr_jax.pretrain --config=configs/amr.py:ntu60_xsub --workdir=DIR [--config.x.y=…]

The same command with the same workdir goes on where the last start ended.
"""

import math
import os
import time
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from amr_jax import (
    checkpoint,
    datasets,
    input_pipeline,
    methods,
    metrics,
    optim,
    records,
    sharding,
    train_step,
    workdir,
)
from amr_jax.errors import UserError, command

# What may differ between two starts of one run: none of it changes a number.
FREE_KEYS = {"data_dir", "checkpoint", "input.mode"}


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy with every 'auto' decided for the devices at hand, and settings checked together."""
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    if config.dtype == "auto":
        config.dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    for key, choices in {
        "dtype": ("float32", "bfloat16"),
        "input.mode": ("resident", "stream"),
        "input.bodies": ("packed", "all"),
        "input.second_body": ("zeros", "repeat"),
    }.items():
        value = config
        for part in key.split("."):
            value = value[part]
        if value not in choices:
            raise UserError(f"config.{key}={value!r}: expected one of {', '.join(choices)}.")
    if config.input.second_body == "repeat" and config.input.bodies != "all":
        raise UserError("config.input.second_body='repeat' needs config.input.bodies='all'.")
    for key in ("epochs", "steps_per_dispatch", "optim.accumulate"):
        value = config.optim.accumulate if key == "optim.accumulate" else config[key]
        if value < 1:
            raise UserError(f"config.{key}={value}: expected at least 1.")
    return config


def make_input(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh):
    """The training split as the config asks for it: (input, number of units, description)."""
    dataset = datasets.get(config.dataset)
    split = records.Records(
        config.data_dir,
        dataset.records,
        "train",
        dataset.layout.centre if config.input.centre else None,
        config.input.max_frames,
    )
    if (split.num_joints, split.num_channels) != (
        config.encoder.num_joints,
        config.encoder.channels,
    ):
        raise UserError(
            f"config.encoder.num_joints={config.encoder.num_joints}, "
            f"channels={config.encoder.channels}: the records of {config.dataset} have "
            f"{split.num_joints} joints with {split.num_channels} channels."
        )
    resident = config.input.mode == "resident"
    bodies = split.load() if resident else None
    present, max_length = (bodies.present, int(bodies.length.max())) if bodies else split.scan()
    slots = input_pipeline.unit_slots(present, config.input.bodies, config.input.second_body)
    order = input_pipeline.Order(len(slots), config.batch_size, config.seed)
    text = (
        f"{config.dataset} train: {len(present):,} sequences, {int(present.sum()):,} bodies; "
        f"{config.input.mode}, {config.input.bodies}"
    )
    if resident:
        return input_pipeline.Resident(bodies, slots, order, mesh), len(slots), text
    return input_pipeline.Streamed(split, slots, order, mesh, max_length), len(slots), text


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
      UserError: wrong settings; a loss that is not finite; a checkpoint that cannot be saved.
    """
    config = resolve(config)
    mesh = sharding.make_mesh(devices)
    sharding.check_batch(mesh, config.batch_size, "batch_size")
    if config.batch_size % (mesh.size * config.optim.accumulate):
        raise UserError(
            f"config.optim.accumulate={config.optim.accumulate}: config.batch_size="
            f"{config.batch_size} does not split into that many parts over {mesh.size} devices."
        )
    method = methods.build(config)
    data, num_units, data_text = make_input(config, mesh)
    workdir.start(folder, config, FREE_KEYS)

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
    checkpoints = checkpoint.Checkpoints(folder, config.checkpoint.keep)
    try:
        first_step = 0
        if checkpoints.latest_step() is not None:
            state = checkpoints.restore(state)
            first_step = int(state.step)
        _say(_banner(config, method, mesh, state, data_text, first_step, total_steps))
        if first_step < total_steps:
            loop = Loop(config, folder, mesh, per_epoch, total_steps)
            dispatch = train_step.make_dispatch(method, optimizer, data.clips, config, mesh)
            state = loop.run(state, first_step, data, dispatch, checkpoints)
        checkpoints.wait()
    finally:
        checkpoints.close()
    _say(f"done: {total_steps:,} steps; checkpoint in {folder}")
    return state


class Loop:
    """Dispatches, reports and saves; holds what these three share."""

    def __init__(self, config, folder, mesh, per_epoch: float, total_steps: int):
        self._config, self._folder, self._mesh = config, folder, mesh
        self._per_epoch, self._total_steps = per_epoch, total_steps
        # Saved where dispatches end, so that a resumed run cuts its dispatches at the same steps.
        dispatch = config.steps_per_dispatch
        every = max(1, math.ceil(config.checkpoint.epochs * per_epoch / dispatch))
        self._save_every = every * dispatch

    def run(self, state, first_step, data, dispatch, checkpoints):
        """From `first_step` to the end; returns the last state."""
        k = self._config.steps_per_dispatch
        writer = metrics.MetricWriter(self._folder, first_step)
        unit = "bodies" if self._config.input.bodies == "packed" else "sequences"
        progress = metrics.Progress(self._total_steps, first_step, unit)
        pending = None
        batches = data.batches(first_step, self._total_steps, k)
        for steps in input_pipeline.dispatches(first_step, self._total_steps, k):
            state, measured = dispatch(state, data.arrays, next(batches))
            # The device is busy with this dispatch while the one before it is reported.
            if pending:
                self._report(writer, progress, *pending)
            pending = (steps, measured)
            if steps.stop % self._save_every == 0 or steps.stop == self._total_steps:
                self._report(writer, progress, *pending)
                pending = None
                checkpoints.save(steps.stop, state)
        writer.close()
        return state

    def _report(self, writer, progress, steps: range, measured) -> None:
        """Writes the means over a dispatch; stops the run at a loss that is not finite."""
        measured = jax.device_get(measured)
        bad = np.flatnonzero(~np.isfinite(measured["loss"]))
        if len(bad):
            raise UserError(
                f"the loss of step {steps[bad[0]]:,} is {measured['loss'][bad[0]]}, not a finite "
                f"number; nothing of it was saved. The last checkpoint in {self._folder} is from "
                "before. Try a lower config.optim.lr, config.optim.clip_norm=1.0 or "
                "config.dtype=float32, in a new workdir."
            )
        means = {name: float(np.mean(values)) for name, values in measured.items()}
        epoch = steps.stop / self._per_epoch
        text = f"epoch {epoch:.1f}/{self._config.epochs}  loss {means['loss']:.4f}"
        rate = progress.update(steps.stop, self._config.batch_size, text)
        if rate is not None:
            means["units_per_s"] = rate
        writer.write(steps.stop, {**means, "epoch": epoch, "time": time.time()})


def _banner(config, method, mesh, state, data_text, first_step, total_steps) -> str:
    """What runs where."""
    count = {
        name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in state.params.items()
    }
    encoder = config.encoder
    num_patches = encoder.num_frames // encoder.patch_len * encoder.num_joints
    lines = {
        "devices": f"{mesh.size} × {jax.devices()[0].device_kind}, "
        f"{jax.process_count()} process(es)",
        "data": data_text,
        "batch": f"{config.batch_size} a step, {config.steps_per_dispatch} steps a dispatch",
        "method": f"{config.method}, {config.dtype}",
        "patches": f"{num_patches} of {encoder.patch_len} frames of one joint; "
        f"{method.num_kept} visible, {method.num_predicted} predicted",
        "parameters": f"{sum(count.values()):,} (encoder {count['encoder']:,})",
        "steps": f"{total_steps:,} ({config.epochs} epochs)"
        + (f", going on from {first_step:,}" if first_step else ""),
    }
    return "\n".join(f"{name:<11}{text}" for name, text in lines.items())


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)


@command
def main(argv: list[str]) -> None:
    """Entry of the command."""
    if len(argv) > 1:
        raise UserError(f"unexpected arguments: {' '.join(argv[1:])}.")
    run(_CONFIG.value, _WORKDIR.value)


if __name__ == "__main__":
    _CONFIG = config_flags.DEFINE_config_file(
        "config", None, "config file and its argument", lock_config=True
    )
    _WORKDIR = flags.DEFINE_string("workdir", None, "the run's folder; the same one resumes it")
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
