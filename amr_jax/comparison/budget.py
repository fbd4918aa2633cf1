"""The same wall-clock time of training for every row: how many epochs that is, by a short run.

A row's short run is pre-training as it will be, data and reports included, for a few dispatches; as
everywhere, what compiles does not count (`metrics.TrainingClock`). What it found is written down,
so that a row that is started again trains for as many epochs as it began with.
"""

import json
import math
import os

import ml_collections
from etils import epath

from amr_jax import datasets, metrics, pretrain, records, workdir
from amr_jax.comparison import rows
from amr_jax.errors import UserError

FILE = "calibration.json"
_FOLDER = "calibration"
_DISPATCHES = 6  # of which the first one or two compile


def epochs_for(seconds: float, steps_per_s: float, steps_per_epoch: float) -> float:
    """How many epochs `seconds` of training are.

    Raises:
      UserError: less than one.
    """
    epochs = seconds * steps_per_s / steps_per_epoch
    if epochs < 1:
        raise UserError(
            f"config.seconds={seconds}: {epochs:.2f} epochs at {steps_per_s:.2f} steps a second; "
            f"expected at least one epoch, {math.ceil(steps_per_epoch / steps_per_s)} seconds."
        )
    return round(epochs, 3)


def stored(folder: os.PathLike | str) -> float | None:
    """The epochs decided for the row in `folder`; None if they are not yet."""
    path = epath.Path(folder) / FILE
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())["epochs"]
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not readable ({error!r}); expected what an earlier start measured. Delete "
            f"{folder} to begin this row anew."
        ) from error


def measure(config: ml_collections.ConfigDict, seconds: float, folder: os.PathLike | str) -> float:
    """Runs the short run and writes down, in the row's `folder`, how many epochs `seconds` are.

    Args:
      config: the row's pre-training config.
      seconds: of training.
      folder: the row's; the short run's own folder in it is taken away at the end.

    Returns:
      The epochs.
    """
    short, trial = _short(config), epath.Path(folder) / _FOLDER
    metrics.say(f"calibration: {short.epochs} epochs, to see how many are {seconds:,.0f} s")
    pretrain.run(short, trial)
    last = metrics.read_metrics(trial)[-1]
    if not last["timed_steps"]:
        raise UserError(
            f"{trial}: nothing was timed; expected several dispatches in {short.epochs} epochs. "
            "Choose a smaller steps_per_dispatch: config.overrides=('steps_per_dispatch=10',)."
        )
    found = {
        "seconds": seconds,
        "timed_seconds": last["timed_seconds"],
        "timed_steps": last["timed_steps"],
        "steps_per_epoch": last["step"] / last["epoch"],
    }
    rate = last["timed_steps"] / last["timed_seconds"]
    found["epochs"] = epochs_for(seconds, rate, found["steps_per_epoch"])
    workdir.write(epath.Path(folder) / FILE, json.dumps(found, indent=2) + "\n")
    trial.rmtree()
    return found["epochs"]


def training_records(config: ml_collections.ConfigDict) -> records.Records:
    """The records that a pre-training config trains on, opened and not read."""
    return records.Records(
        config.data_dir,
        datasets.get(config.dataset).records,
        config.input.split,
        None,
        config.input.max_frames,
    )


def _short(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The row's config for about `_DISPATCHES` dispatches, at least an epoch; saved at the end."""
    short = ml_collections.ConfigDict(config.copy_and_resolve_references())
    # A sequence has at least one body: there are no fewer units than sequences.
    sequences = _DISPATCHES * config.steps_per_dispatch * config.batch_size
    rows.set_epochs(short, math.ceil(sequences / len(training_records(config))))
    short.checkpoint.epochs = short.epochs
    return short
