"""The models that the package ships: `amr_jax/zoo/`, files of `model_file` and their registry."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import amr_jax
from amr_jax.errors import UserError, did_you_mean

FOLDER = Path(amr_jax.__file__).parent / "zoo"
_NAME = re.compile(r"[\w-]+")


@functools.cache
def registry() -> Mapping[str, Mapping[str, Any]]:
    """What is known of each model by its name: zoo.json."""
    return json.loads((FOLDER / "zoo.json").read_text(encoding="utf-8"))


def find(name: str) -> Path:
    """The file of a shipped model.

    Raises:
      UserError: there is none of this name.
    """
    if name not in registry():
        raise UserError(
            f"{name}: found no such file or folder, nor a shipped model; expected the workdir of a "
            f"run or of an evaluation, a model file, hf://USER/REPO, or one of: "
            f"{', '.join(registry())}.{did_you_mean(name, registry())}"
        )
    return FOLDER / registry()[name]["file"]


def could_be(name: str) -> bool:
    """Whether `name` has the form of a model's name: no path, no ending."""
    return _NAME.fullmatch(name) is not None


def table() -> str:
    """The table of docs/zoo.md."""
    head = ("model", "trained on", "method", "joints", "parameters", "file", "accuracy", "sha256")
    rows = [head, ["---"] * len(head)]
    for name, row in registry().items():
        size = f"{row['bytes'] / 1e6:.1f} MB"
        rows.append(
            [
                f"`{name}`",
                row["data"],
                row["method"],
                row["joints"],
                f"{row['parameters']:,}",
                size,
                row["accuracy"],
                f"`{row['sha256'][:12]}…`",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
