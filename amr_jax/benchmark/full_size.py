"""The full-size configs whose steps are measured: those of configs/, on NTU-60 x-sub."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import ml_collections

from amr_jax import methods as registry
from amr_jax import pretrain
from amr_jax.config import files, settings
from amr_jax.models import attention

DATASET = "ntu60_xsub"
# Training sequences of the data set, real bodies per sequence on average, and epochs of the paper.
SEQUENCES, BODIES_PER_SEQUENCE, EPOCHS = 40_091, 1.17, 400

# The paper's order; any other method follows.
_ORDER = ("skeleton_mae", "mamp", "sjepa", "gfp", "nat", "amr")

Named = TypeVar("Named", bound=Any)  # anything with a `name`


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: the config file of `method`, with overrides such as `model.r=3`."""

    name: str
    method: str
    overrides: tuple[str, ...] = ()


def all_rows() -> list[Row]:
    """Every method, and NAT with its contrastive term."""
    first = [name for name in _ORDER if name in registry.METHODS]
    found = []
    for name in dict.fromkeys([*first, *registry.METHODS]):
        found.append(Row(name, name))
        if name == "nat":
            found.append(Row("nat w/ contrast", "nat", ("model.contrast=0.1",)))
    return found


def select(rows: Sequence[Named], names: str, flag: str, *always: str) -> list[Named]:
    """The rows that the flag names, `amr,mamp`, and those named `always`; 'all': every row."""
    if names == "all":
        return list(rows)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        settings.require_choice(flag, name, dict.fromkeys(row.name for row in rows))
    return [row for row in rows if row.name in (*wanted, *always)]


def config_of(
    row: Row, batch_size: int, dtype: str, attention: str, overrides: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """The resolved pre-training config of a row.

    Args:
      batch_size: bodies, or sequences with `input.bodies=all`.
      overrides: as on the command line, `encoder.depth=4`.

    Raises:
      UserError: an override that does not fit.
    """
    config = files.get_config(f"{row.method}:{DATASET}")
    config.update(batch_size=batch_size, dtype=dtype, attention_kernel=attention)
    files.override(config, (*row.overrides, *overrides), flag="--override=")
    return pretrain.resolve(config)


def kernels(dtype: str) -> tuple[str, ...]:
    """The attention kernels of this device: cuDNN's needs an NVIDIA GPU and bfloat16."""
    if jax.default_backend() == "tpu":
        return ("xla", "fused")
    has_cudnn = jax.devices()[0].device_kind.startswith("NVIDIA") and dtype == "bfloat16"
    return ("xla", "cudnn") if has_cudnn else (attention.for_backend(),)
