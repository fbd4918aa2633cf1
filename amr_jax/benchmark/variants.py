"""The variants of AMR's training step that `benchmark step` compares, each with its program."""

import dataclasses
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import ml_collections

from amr_jax import methods as registry
from amr_jax import pretrain
from amr_jax.benchmark import options
from amr_jax.benchmark.methods import DATASET
from amr_jax.benchmark.program import Program
from amr_jax.config import base as base_config
from amr_jax.config.files import override
from amr_jax.config.settings import require_choice
from amr_jax.errors import UserError
from amr_jax.studies import costs

BASE = "default"

# Real bodies of a training sequence of NTU-60 x-sub, on average.
BODIES_PER_SEQUENCE = 1.17


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
      build: (config, steps) → what is timed: a `Program`, or what has its attributes.
      method, bodies, attention: in the config.
    """

    name: str
    build: Callable[[ml_collections.ConfigDict, int], Any]
    method: str = "amr"
    bodies: str = "packed"
    attention: str = "xla"


def in_one_dispatch(config: ml_collections.ConfigDict, steps: int) -> Program:
    """All steps in one dispatch, as the training loop does it."""
    return Program(config, steps)


def a_dispatch_each(config: ml_collections.ConfigDict, steps: int) -> Program:
    """A dispatch for each step; they follow each other without waiting."""
    return Program(config, 1, steps)


def augmentation_alone(config: ml_collections.ConfigDict, steps: int) -> Program:
    """The steps' augmentation and nothing else.

    A step on ready-made clips would be the other way to find its share, but the difference of two
    steps is smaller than their noise. Alone, nothing else hides it, and its result goes through
    memory: what this says is rather too much.
    """
    return Program(config, steps, make=costs.augmentation)


def in_torch(fused: bool) -> Callable:
    """The published step in PyTorch, on the clips that the other variants start from."""

    def build(config, steps):
        clips, _ = costs.random_batch(config, steps)  # (steps, bodies, T, 1, V, C)
        num_kept = registry.build(config).num_kept
        threads = options.usable_cores()
        return torch_mamp().TorchStep(config, clips[:, :, :, 0], num_kept, fused, threads)

    return build


def torch_mamp() -> ModuleType:
    """The module that needs PyTorch; `UserError` where that is absent."""
    try:
        from amr_jax.benchmark import torch_mamp
    except ImportError as error:
        if error.name != "torch":
            raise
        raise UserError(
            "--torch: PyTorch is not installed; pip install -e '.[torch]', or leave the flag out."
        ) from error
    return torch_mamp


def all_variants(attentions: Sequence[str], with_torch: bool) -> list[Variant]:
    """All rows; the first of the `attentions` is the default's."""
    first, *others = attentions
    rows = [
        Variant(BASE, in_one_dispatch, attention=first),
        Variant("one step a dispatch", a_dispatch_each, attention=first),
        Variant("all body slots", in_one_dispatch, bodies="all", attention=first),
        *(Variant(f"amr w/ {x}", in_one_dispatch, attention=x) for x in others),
        Variant("augmentation", augmentation_alone, attention=first),
        Variant("mamp", in_one_dispatch, "mamp", attention=first),
        *(
            Variant(f"mamp w/ {other}", in_one_dispatch, "mamp", attention=other)
            for other in others
        ),
    ]
    if with_torch:
        rows += [
            Variant("torch mamp", in_torch(False), "mamp"),
            Variant("torch mamp w/ fused attention", in_torch(True), "mamp"),
        ]
    return rows


def select(rows: Sequence[Variant], names: str) -> list[Variant]:
    """The rows that --variants asks for, and the default; `all`: all of them."""
    if names == "all":
        return list(rows)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        require_choice("--variants", name, tuple(row.name for row in rows))
    return [row for row in rows if row.name in (*wanted, BASE)]


def config_of(
    variant: Variant, sequences: int, dtype: str, overrides: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """The resolved config of a variant, for `sequences` sequences a step.

    Args:
      overrides: as `encoder.depth=4`, of every variant's config.
    """
    config = base_config.pretraining(variant.method, DATASET)
    del config.model.masking  # SkeletonMAE's; each method's own default is right
    config.input.bodies = variant.bodies
    packed = round(BODIES_PER_SEQUENCE * sequences)
    config.batch_size = packed if variant.bodies == "packed" else sequences
    config.dtype = dtype
    config.attention_kernel = variant.attention
    override(config, overrides)
    return pretrain.resolve(config)


def sequences_of(config: ml_collections.ConfigDict) -> float:
    """Sequences of the data set that a step trains on: of packed bodies, on average."""
    packed = config.input.bodies == "packed"
    return config.batch_size / BODIES_PER_SEQUENCE if packed else config.batch_size
