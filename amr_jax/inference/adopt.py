"""Makes the workdir of a pre-training run from a trained model, so that protocols go on from it."""

import os

import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.config import arguments, base
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.inference.apply import Model
from amr_jax.run import checkpoint
from amr_jax.run.run import Run

STEP = 0  # amr_jax has trained none in this workdir


def to_workdir(
    model: Model,
    folder: os.PathLike | str,
    dataset: str | None = None,
    data_dir: str | None = None,
) -> None:
    """Writes a run that holds the model's encoder; no training resumes from it.

    Args:
      model: its classifier, if any, stays behind.
      folder: the workdir, new or empty.
      dataset: a data set with the model's joints, whose defaults of augmentation evaluations use;
        None: the one that the model was trained on, or the first with these joints.
      data_dir: where evaluations find records; None: as in configs.

    Raises:
      UserError: no data set has these joints, or `dataset` has others; a folder with a run.
    """
    name = dataset or _dataset(model)
    row, size = datasets.get(name), model.input
    if (row.layout.name, row.channels) != (size.layout, size.channels):
        raise UserError(
            f"{name}: found joints of {row.layout.name} ({row.channels}); expected a data set with "
            f"those of the model, {size.layout} ({size.channels})."
        )
    if checkpoint.has_one(folder):
        raise UserError(f"{folder}: holds a run with checkpoints already; choose a new workdir.")
    origin = model.provenance.get("pretraining") or {}
    defaults = base.pretraining("amr", arguments.spell(name))
    config = ml_collections.ConfigDict(
        {
            "method": origin.get("method", "unknown"),
            "dataset": name,
            "data_dir": data_dir or defaults.data_dir,
            "dtype": jnp.dtype(model.encoder.dtype).name,
            "matmul_precision": defaults.matmul_precision,
            "input": {
                "stream": size.stream,
                "centre": size.centre is not None,
                "body_frame": size.body_frame,
                "max_frames": size.max_frames,
            },
            "augment": defaults.augment.to_dict(),
            "optim": {"ema_decay": 0.0},
            "encoder": {key: getattr(model.encoder, key) for key in base.ENCODER},
            "imported": {"pretraining": dict(origin)},
        }
    )
    with Run.open(folder, config, keep=1, holds_work=checkpoint.has_one) as run:
        run.record()
        params = {"encoder": model.variables["params"]["encoder"]}
        run.save(STEP, {"step": np.int32(STEP), "params": params, "average": {}})


def _dataset(model: Model) -> str:
    """A data set with the joints of a model."""
    origin = model.provenance.get("pretraining") or {}
    trained = [x for x in (model.provenance.get("dataset"), origin.get("dataset")) if x]
    for name in [*trained, *datasets.DATASETS]:
        try:
            row = datasets.get(name)
        except UserError:  # records of somebody else's
            continue
        if (row.layout.name, row.channels) == (model.input.layout, model.input.channels):
            return name
    raise UserError(
        f"no data set has the joints of the model, {model.input.layout} ({model.input.channels}); "
        "expected dataset=FOLDER, records of your own with these joints."
    )
