"""The full-size configs whose steps are measured: those of configs/, on NTU-60 x-sub."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from amr_jax import methods as registry
from amr_jax import pretrain
from amr_jax.config import files
from amr_jax.config.base import KERNELS
from amr_jax.errors import UserError

DATASET = "ntu60_xsub"

# The paper's order; any other method follows.
_ORDER = ("skeleton_mae", "mamp", "sjepa", "gfp", "nat", "amr")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: the config file of `method`, with the settings `model` changed."""

    name: str
    method: str
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def all_rows() -> list[Row]:
    """Every method, and NAT with its contrastive term."""
    first = [name for name in _ORDER if name in registry.METHODS]
    found = []
    for name in dict.fromkeys([*first, *registry.METHODS]):
        found.append(Row(name, name))
        if name == "nat":
            found.append(Row("nat w/ contrast", "nat", {"contrast": 0.1}))
    return found


def select(names: str, *always: str) -> list[Row]:
    """The rows that --methods names, and those named `always`; 'all': every row."""
    found = all_rows()
    if names == "all":
        return found
    wanted = [name.strip() for name in names.split(",")]
    known = [row.name for row in found]
    for name in wanted:
        if name not in known:
            raise UserError(f"--methods: unknown {name!r}; expected some of: {', '.join(known)}.")
    return [row for row in found if row.name in (*wanted, *always)]


def config_of(
    row: Row,
    batch_size: int,
    dtype: str,
    attention: str,
    overrides: Sequence[str] = (),
    **keys: Any,
) -> ml_collections.ConfigDict:
    """The resolved pre-training config of a row.

    Args:
      batch_size: bodies, or sequences with `input.bodies='all'`.
      overrides: as on the command line, `encoder.depth=4`.
      keys: further keys of the config.

    Raises:
      UserError: an override that does not fit.
    """
    config = files.get_config(f"{row.method}:{DATASET}")
    config.model.update(row.model)
    config.update(batch_size=batch_size, dtype=dtype, attention_kernel=attention, **keys)
    files.override(config, overrides, flag="--override=")
    return pretrain.resolve(config)


def kernels(choice: str, dtype: str) -> list[str]:
    """The attention kernels to measure here: `choice`, or with 'all' those that this device has."""
    device = jax.devices()[0]
    has_cudnn = device.device_kind.startswith("NVIDIA") and dtype == "bfloat16"
    if choice == "cudnn" and not has_cudnn:
        raise UserError(
            f"--attention=cudnn on {device.device_kind} in {dtype}: it needs an NVIDIA GPU and "
            "bfloat16; use --attention=xla."
        )
    if choice != "all":
        return [choice]
    return [kernel for kernel in KERNELS if kernel != "cudnn" or has_cudnn]
