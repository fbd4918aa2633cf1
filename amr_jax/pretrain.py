"""Pre-training, for every method.

  python -m amr_jax.pretrain --config=configs/amr.py:ntu60_xsub --workdir=DIR [--config.x.y=…]

The same command with the same workdir resumes from the last checkpoint.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("pretrain")


import argparse
import functools
import os
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
import optax
from flax import linen as nn

from amr_jax import methods
from amr_jax.config import base, checks, settings, sizes
from amr_jax.data import batches, datasets, mixture
from amr_jax.errors import UserError
from amr_jax.models import attention
from amr_jax.pictures.training import Pictures
from amr_jax.report import page, pretraining
from amr_jax.run import checkpoint, console, distributed, sharding
from amr_jax.run import workdir as workdirs
from amr_jax.run.run import Run, describe_devices
from amr_jax.train import forecast, length, loop, optim, programs, start
from amr_jax.train import step as train_step

# Keys that may differ between two starts of one run: they change results by rounding at most.
FREE_KEYS = {
    "data_dir", "checkpoint", "fsdp", "input.mode", "steps_per_dispatch", "writers",
}  # fmt: skip


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A complete, checked copy; values that depend on devices or other settings are filled in.

    Raises:
      UserError: an unknown method or key; a value out of bounds.
    """
    tree = base.of_method(config.method)
    config = settings.completed(config, tree)
    if config.dtype == "auto":
        config.dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    if config.attention_kernel == "auto":
        config.attention_kernel = attention.for_backend()
    if config.optim.min_lr is None:
        config.optim.min_lr = config.optim.lr / 2
    settings.check(config, tree)
    return config


def as_begun(
    config: ml_collections.ConfigDict, folder: os.PathLike | str
) -> ml_collections.ConfigDict:
    """The config with which to go on in `folder`: `sizes.as_begun`, if a run has begun there."""
    if not checkpoint.has_one(folder):
        return config
    return sizes.as_begun(config, workdirs.read_config(folder))


def open_records(config: ml_collections.ConfigDict) -> mixture.Source:
    """The training split; `UserError` if it does not fit the encoder of the config."""
    dataset = datasets.get(config.dataset)
    split = dataset.open_split(config.data_dir, config.input.split, config.input)
    encoder, has = config.encoder, dataset.has_confidence
    if (split.num_joints, split.num_channels, has) != (
        encoder.num_joints,
        encoder.channels,
        encoder.confidence,
    ):
        raise UserError(
            f"config.encoder.num_joints={encoder.num_joints}, channels={encoder.channels}, "
            f"confidence={encoder.confidence}: the records of {config.dataset} have "
            f"{split.num_joints} joints with {split.num_channels} channels, "
            f"{'the last of which' if has else 'none of which'} is a confidence."
        )
    return split


def load_input(
    config: ml_collections.ConfigDict, split: mixture.Source, mesh: jax.sharding.Mesh
) -> batches.Resident | batches.Streamed:
    """The batches that the config asks for; every process calls this and reads its part."""
    return batches.load(
        split,
        mesh,
        mode=config.input.mode,
        storage=config.input.storage,
        bodies=config.input.bodies,
        second_body=config.input.second_body,
        mixture=config.input.mixture,
        batch_size=config.batch_size,
        seed=config.seed,
    )


def make_optimizer(
    config: ml_collections.ConfigDict, plan: loop.Plan
) -> optax.GradientTransformation:
    """AdamW over the steps of a plan, by the section `optim` of a resolved config."""
    frozen_steps = round((config.optim.freeze_epochs or 0) * plan.steps_per_epoch)
    return optim.of_pretraining(
        length.schedule(config.optim, plan),
        config.optim,
        config.encoder.depth,
        plan.schedule_steps,
        frozen_steps,
    )


def run(
    config: ml_collections.ConfigDict,
    folder: os.PathLike | str,
    devices: Sequence[jax.Device] | None = None,
    command: str | None = None,
) -> train_step.TrainState:
    """Trains to the end, or resumes and trains to the end; returns the final state.

    Args:
      config: from a config file.
      folder: the workdir.
      devices: to run on; default all.
      command: the command line, for the report.

    Raises:
      UserError: wrong settings; a workdir in use; a loss that is not finite; a checkpoint that
        cannot be saved.
      Preempted: stopped by SIGTERM or Ctrl-C; saved.
    """
    config = resolve(start.resolved(as_begun(config, folder), folder))
    mesh = sharding.make_mesh(devices, config.fsdp)
    method = methods.build(config)
    checks.require_fits(config, method, mesh)
    split = open_records(config)
    free, keep = FREE_KEYS | length.free(folder), config.checkpoint.keep
    with Run.open(folder, config, free, split.summary(), keep, checkpoint.has_one) as run:
        data = load_input(config, split, mesh)
        units = data.num_units, len(data.host.label)
        plan = loop.Plan.of(config, *units)
        length.require_same_past(run.workdir, config, units, method)
        # A resumed run must train on the records that it began with.
        run.record({"input.found": data.host.describe()})

        optimizer = make_optimizer(config, plan)
        with console.progress_bar("compiling the initial state"):
            state = train_step.init_state(method, optimizer, config, mesh)
        state, source = start.load(state, config, folder)
        state = run.restore(state)
        facts = described(run, plan, method, mesh, state) | ({"start": source} if source else {})
        run.say(console.aligned(facts))
        if warning := forecast.large_for_data(state.params, plan.sequences):
            run.say(warning)
        content = functools.partial(pretraining.content, run.workdir, command, facts)
        if run.first_step == plan.total_steps:
            run.say(f"already finished: {run.workdir} holds all {plan.total_steps:,} steps.")
            page.write(run.workdir, content, replace=False)
            return state
        distributed.together(run.start_writers)
        dispatch = train_step.make_dispatch(
            method, optimizer, data.clips, config, plan.schedule_steps, mesh
        )
        seed = sharding.put(train_step.root(config.seed), sharding.replicated(mesh))
        dispatch = programs.Programs(dispatch, seed, mesh, functools.partial(tell, run))
        rates = np.asarray(length.schedule(config.optim, plan)(np.arange(plan.total_steps)))
        state = loop.train(run, plan, data, dispatch, state, rates, Pictures(run))
    console.say(f"done: {plan.total_steps:,} steps; checkpoint in {run.workdir}")
    page.write(run.workdir, content)
    return state


def tell(run: Run, program: jax.stages.Compiled, seconds: float) -> None:
    """Says how long a program took to compile, and what memory it needs."""
    text = f"compiled in {seconds:.1f} s"
    run.say(f"{text}; {needed}" if (needed := forecast.memory(program)) else text)


def described(
    run: Run,
    plan: loop.Plan,
    method: nn.Module,
    mesh: jax.sharding.Mesh,
    state: train_step.TrainState,
) -> dict[str, str]:
    """What is trained, on which data and devices: the banner of a run, text by name."""
    config = run.config
    count = {
        name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in state.params.items()
    }
    encoder, predicted = config.encoder, method.num_predicted
    num_patches = encoder.num_frames // encoder.patch_len * encoder.num_joints
    visible = f"{method.num_kept} visible, " if method.num_kept < num_patches else ""
    facts = {
        "devices": f"{describe_devices(mesh)}; data {mesh.shape['data']} × fsdp {config.fsdp}",
        "data": f"{config.dataset} {config.input.split}: {config.input.found}; "
        f"{config.input.mode} as {config.input.storage}, {config.input.bodies}, "
        f"{config.input.stream} stream",
        "batch": f"{config.batch_size} per step; dispatches of at most "
        f"{config.steps_per_dispatch} steps",
        "method": f"{config.method}, {config.dtype}",
        "patches": f"{num_patches} of {encoder.patch_len} frames of one joint"
        + (f"; {visible}{predicted} predicted" if predicted else ""),
        "size": forecast.size(config.size, plan.sequences),
        "parameters": f"{sum(count.values()):,} (encoder {count['encoder']:,})",
        "steps": f"{plan.total_steps:,} ({config.epochs} epochs)"
        + (f", resumed from {run.first_step:,}" if run.first_step else ""),
    }
    return {name: text for name, text in facts.items() if text}


def main(config: ml_collections.ConfigDict, flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.pretrain`."""
    run(config, flags.workdir, command=flags.command)
