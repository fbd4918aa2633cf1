"""The same wall-clock time of training for every row: how many epochs that is, by a short run.

A row's short run is pre-training as it will be, data, reports and checkpoints included, but for the
steps of a dispatch: they begin with few, and grow until enough time is measured. As everywhere,
what compiles does not count (`metrics.TrainingClock`). What it found is written down, so that a row
that is started again trains for as many epochs as it began with.
"""

import json
import math
import os

import ml_collections
from etils import epath

from amr_jax import pretrain
from amr_jax.data import datasets, records
from amr_jax.errors import UserError
from amr_jax.run import console, metrics, workdir
from amr_jax.studies import rows

FILE = "calibration.json"
_FOLDER = "calibration"
_DISPATCHES = 6  # of which the first one or two compile
_STEPS = 5  # of a dispatch of the first run: on a slow machine, long ones outlast the budget
_ENOUGH_SECONDS = 20.0  # timed; of a small budget, a tenth is enough


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
    """Finds by short runs how many epochs `seconds` are, and writes it down.

    Args:
      config: the row's pre-training config.
      seconds: of training.
      folder: the row's. It gets the file; the short runs' folder in it is taken away at the end.

    Returns:
      The epochs.
    """
    trials = epath.Path(folder) / _FOLDER
    enough = min(_ENOUGH_SECONDS, seconds / 10)
    steps, epochs, last = min(_STEPS, config.steps_per_dispatch), 1, {"timed_seconds": 0.0}
    while last["timed_seconds"] < enough:
        epochs = max(epochs, _epochs_of(_DISPATCHES * steps, config))
        console.say(f"calibration: {epochs} epochs, to see how many are {seconds:,.0f} s")
        short = ml_collections.ConfigDict(config.copy_and_resolve_references())
        short.steps_per_dispatch = steps
        rows.set_epochs(short, epochs)
        trial = trials / f"{epochs}_{steps}"
        pretrain.run(short, trial)
        last = metrics.read_metrics(trial)[-1]
        # Should that have been too short: by half longer than what it took seems to ask for.
        growth = 1.5 * enough / max(last["timed_seconds"], enough / 20)
        if steps < config.steps_per_dispatch:
            steps = min(math.ceil(steps * growth), config.steps_per_dispatch)
        else:
            epochs = math.ceil(epochs * growth)
    found = {
        "seconds": seconds,
        "timed_seconds": last["timed_seconds"],
        "timed_steps": last["timed_steps"],
        "steps_per_epoch": last["step"] / last["epoch"],
    }
    rate = last["timed_steps"] / last["timed_seconds"]
    found["epochs"] = epochs_for(seconds, rate, found["steps_per_epoch"])
    workdir.write(epath.Path(folder) / FILE, json.dumps(found, indent=2) + "\n")
    trials.rmtree()
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


def _epochs_of(steps: int, config: ml_collections.ConfigDict) -> int:
    """Whole epochs that hold so many steps."""
    # A sequence has at least one body: there are no fewer units than sequences.
    return math.ceil(steps * config.batch_size / len(training_records(config)))
