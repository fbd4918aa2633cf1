"""Imports published weights as a pre-training workdir, and exports them from one."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from amr_jax.config import base as base_config
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.inference.pytorch import files, mamp
from amr_jax.run import checkpoint
from amr_jax.run.run import Run

# Methods whose published weights have this form.
METHODS = ("mamp", "skeleton_mae")

DATA_DIR = "~/tensorflow_datasets"  # as in configs

# The step of the imported checkpoint: amr_jax has trained none.
STEP = 0

# The crops of the published pre-training configs.
_AUGMENT = {"min_fraction": 0.5, "max_fraction": 1.0, "min_frames": 64}


def import_run(
    source: os.PathLike | str,
    folder: os.PathLike | str,
    dataset: str,
    *,
    method: str = "mamp",
    num_heads: int = 8,
    data_dir: str = DATA_DIR,
    key: str | None = None,
) -> ml_collections.ConfigDict:
    """Makes the workdir of a pre-training run from published weights; returns its config.

    Args:
      source: the published weights, see `files.read`.
      folder: the workdir, new or empty.
      dataset: the training data, a key of `data.datasets`; evaluations load records accordingly.
      method: one of METHODS.
      num_heads: of every block.
      data_dir: default folder of the records for evaluations.
      key: which weights of the file; None: it has only one model.

    Raises:
      UserError: weights that do not fit the data set or `num_heads`; a folder that holds a run.
    """
    row, weights = datasets.get(dataset), files.read(source, mamp.ANCHOR, key)
    state = weights.arrays
    params, left_out = mamp.from_state_dict(state, str(source))
    sections = mamp.sections(state, num_heads, str(source))
    encoder = sections["encoder"] | {"confidence": row.has_confidence}
    found = encoder["num_joints"], encoder["channels"]
    if found != (row.layout.num_joints, len(row.channels)):
        raise UserError(
            f"{source}: weights for {found[0]} joints with {found[1]} channels; {dataset} has "
            f"{row.layout.num_joints} joints ({row.layout.name}) with {len(row.channels)}."
        )
    # What evaluation reads of the config of a pre-training run, and the sizes of the decoder.
    config = ml_collections.ConfigDict(
        {
            "method": method,
            "dataset": dataset,
            "data_dir": str(data_dir),
            "dtype": "float32",
            "matmul_precision": "highest",
            "input": {
                "stream": "joint",
                "centre": row.centre,
                "body_frame": "none",
                "max_frames": row.max_frames,
            },
            "augment": {**_AUGMENT, "max_angles": base_config.max_angles(row)},
            "optim": {"ema_decay": 0.0},
            "encoder": encoder,
            "model": sections["model"],
            "imported": {
                "file": str(Path(source).absolute()),
                "key": weights.key,
                "left_out": sorted(left_out),
                "notes": weights.notes,
            },
        }
    )
    if checkpoint.has_one(folder):
        raise UserError(f"{folder}: holds a run with checkpoints already; choose a new --workdir.")
    with Run.open(folder, config, keep=1, holds_work=checkpoint.has_one) as run:
        run.record()
        # What `checkpoint.load_encoder` reads of a `TrainState`; no training resumes from it.
        run.save(STEP, {"step": np.int32(STEP), "params": params, "average": {}})
    _report_import(source, folder, config, params)
    return config


def export_run(
    folder: os.PathLike | str, target: os.PathLike | str, step: int | None = None
) -> dict[str, np.ndarray]:
    """Writes the weights of a checkpoint under the published names; returns them.

    Exports the encoder of any method, and the decoder if it has the published form: mask tokens and
    one prediction per patch.

    Args:
      folder: the workdir of a pre-training run.
      target: see `files.write`.
      step: of the checkpoint; None: the newest.

    Raises:
      UserError: the run or the checkpoint does not exist; the file cannot be written.
    """
    params, config, step = checkpoint.load_params(folder, step)
    return export_params(
        params,
        target,
        channels=config.encoder.channels,
        source=f"{folder}, step {step:,} ({config.method}); {config.encoder.num_heads} heads",
    )


def export_params(
    params: Mapping[str, Any], target: os.PathLike | str, *, channels: int, source: str
) -> dict[str, np.ndarray]:
    """Exports parameters as `export_run` does.

    Args:
      params: `encoder` and others; the message names those that published models do not have.
      target: see `files.write`.
      channels: C of the encoder.
      source: description of the parameters, for the message.

    Raises:
      UserError: an encoder of a form that published models do not have.
    """
    _require_published_form(params["encoder"], source)
    decoder, patch = params.get("decoder", {}), params["encoder"]["patch_embed"]["kernel"]
    predicted = decoder["pred"]["bias"].shape if "pred" in decoder else None
    has_decoder = "mask_token" in decoder and predicted == patch.shape[:1]
    parts = ("encoder", "decoder") if has_decoder else ("encoder",)
    state = mamp.to_state_dict({name: params[name] for name in parts}, channels=channels)
    files.write(target, state)
    print(f"{target}: {_count(state.values())}, the {' and the '.join(parts)} of {source}")
    left_out = sorted(params.keys() - set(parts))
    if left_out:
        print(f"left out, as published models have no such part: {', '.join(left_out)}")
    return state


def _require_published_form(encoder: Mapping[str, Any], source: str) -> None:
    mlp = encoder["block_0"]["mlp"]
    found = {
        "config.encoder.position = 'rotary'": "time" not in encoder["position"],
        "a class token or registers": "leading_tokens" in encoder,
        "a mask token": "mask_token" in encoder,
        "config.encoder.mlp = 'swiglu'": mlp["fc1"]["bias"].shape != mlp["fc2"]["kernel"].shape[:1],
    }
    named = [text for text, is_so in found.items() if is_so]
    if named:
        raise UserError(
            f"the encoder of {source}: found {', '.join(named)}; "
            "expected an encoder without, as published models of MAMP and skeleton-MAE have none."
        )


def _report_import(source, folder, config, params) -> None:
    for note in config.imported.notes:
        print(f"{source}: {note}")
    for name, part in params.items():
        print(f"{name}: {_count(jax.tree.leaves(part))}")
    print(", ".join(f"{key} {value}" for key, value in sorted(config.encoder.items())))
    if config.imported.left_out:
        print(f"left out of {source}: {', '.join(config.imported.left_out)}")
    print(
        f"evaluate it: python -m amr_jax.evaluate --config=configs/linear.py:{config.dataset} "
        f"--config.pretrained={folder} --workdir={folder}/linear"
    )


def _count(arrays: Collection[np.ndarray]) -> str:
    return f"{sum(array.size for array in arrays):,} weights in {len(arrays)} arrays"
