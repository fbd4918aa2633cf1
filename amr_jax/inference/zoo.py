"""The models that the package ships: `amr_jax/zoo/`, files of `model_file` and their registry."""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import amr_jax
from amr_jax.data import datasets
from amr_jax.errors import UserError, did_you_mean
from amr_jax.inference.apply import Model

FOLDER = Path(amr_jax.__file__).parent / "zoo"
_NAME = re.compile(r"[\w-]+")  # no path, no ending


@functools.cache
def registry() -> Mapping[str, Mapping[str, Any]]:
    """What is known of each model by its name: zoo.json."""
    return json.loads((FOLDER / "zoo.json").read_text(encoding="utf-8"))


def find(name: str) -> Path | None:
    """The file of a shipped model; None for what cannot be a name of one.

    Raises:
      UserError: there is none of this name.
    """
    if not _NAME.fullmatch(name):
        return None
    if name not in registry():
        raise UserError(
            f"{name}: no such file or folder, and no shipped model of this name; expected the "
            "workdir of a run or of an evaluation, a model file, hf://USER/REPO, or one of: "
            f"{', '.join(registry())}.{did_you_mean(name, registry())}"
        )
    return FOLDER / f"{name}.safetensors"


def shareable(model: Model, **facts: Any) -> Model:
    """The model without the folders that its provenance names, and with more facts in it."""
    told = {**model.provenance, **facts}
    for part in (told, origin := dict(told.get("pretraining") or {})):
        if "dataset" in part:
            part["dataset"] = datasets.short(part["dataset"])
    origin.pop("workdir", None)
    return dataclasses.replace(model, provenance={**told, "pretraining": origin})
