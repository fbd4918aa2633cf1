"""Equal training time for every row: a short run measures how many epochs fit into it.

The short run is the row's pre-training, with its data, reports and checkpoints, except that steps
per dispatch start small and grow until enough time is measured. Compilation does not count
(`console.Progress`). The result is saved, so that a resumed row trains for the same number of
epochs.
"""

import json
import math
import os

import ml_collections
from etils import epath

from amr_jax import pretrain
from amr_jax.errors import UserError
from amr_jax.run import console, metrics, workdir
from amr_jax.studies import rows

FILE = "calibration.json"
_FOLDER = "calibration"
_DISPATCHES = 6  # the first one or two compile
_STEPS = 5  # per dispatch of the first run: long dispatches may exceed the budget
_ENOUGH_SECONDS = 20.0  # timed; a tenth of a smaller budget


def epochs_for(seconds: float, steps_per_s: float, steps_per_epoch: float) -> float:
    """The number of epochs that take `seconds` of training.

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
    """The saved number of epochs of the row in `folder`; None if there is none."""
    path = epath.Path(folder) / FILE
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())["epochs"]
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not readable ({error!r}); expected the result of an earlier short run. "
            f"Delete {folder} to restart this row."
        ) from error


def measure(config: ml_collections.ConfigDict, seconds: float, folder: os.PathLike | str) -> float:
    """Measures by short runs how many epochs take `seconds`, and saves the number.

    Args:
      config: pre-training config of the row.
      seconds: training time.
      folder: folder of the row, for the file. The folder of the short runs in it is removed.

    Returns:
      The epochs.
    """
    trials = epath.Path(folder) / _FOLDER
    enough = min(_ENOUGH_SECONDS, seconds / 10)
    steps, epochs, last = min(_STEPS, config.steps_per_dispatch), 1, {"timed_seconds": 0.0}
    while last["timed_seconds"] < enough:
        epochs = max(epochs, _epochs_of(_DISPATCHES * steps, config))
        console.say(f"calibration: {epochs} epochs, to measure how many take {seconds:,.0f} s")
        short = ml_collections.ConfigDict(config.copy_and_resolve_references())
        short.steps_per_dispatch = steps
        rows.set_epochs(short, epochs)
        trial = trials / f"{epochs}_{steps}"
        pretrain.run(short, trial)
        last = metrics.read_metrics(trial)[-1]
        # If that was too short, the next run is half as long again as this rate asks for.
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


def _epochs_of(steps: int, config: ml_collections.ConfigDict) -> int:
    """The least number of epochs with at least `steps` steps."""
    # A sequence has at least one body, so there are at least as many units as sequences.
    return math.ceil(steps * config.batch_size / len(pretrain.open_records(config)))
