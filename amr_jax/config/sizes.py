"""Sizes of models: small, base, large. Own data get the one that fits their number of sequences.

Why these (docs/own_data.md): on small real sets of up to 2,200 training sequences, twice the width
gained nothing at equal epochs; the papers' model is trained on 40,000 sequences and more. Between
these, the limits are a choice, not a measurement.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from amr_jax.config import settings

# The largest number of training sequences that each size is chosen for.
UP_TO = {"small": 2_500, "base": 20_000, "large": float("inf")}

# Encoder and decoder. Small: those of sets of one Kinect. Large: the papers', the defaults.
MODELS: Mapping[str, Mapping[str, Any]] = {
    "small": {
        "encoder.width": 96,
        "encoder.depth": 4,
        "encoder.num_heads": 4,
        "model.decoder_width": 96,
        "model.decoder_heads": 4,
        "model.decoder_depth": 2,
    },
    "base": {
        "encoder.width": 192,
        "encoder.depth": 4,
        "encoder.num_heads": 6,
        "model.decoder_width": 96,
        "model.decoder_heads": 4,
        "model.decoder_depth": 2,
    },
    "large": {
        "encoder.width": 256,
        "encoder.depth": 8,
        "encoder.num_heads": 8,
        "model.decoder_width": 256,
        "model.decoder_heads": 8,
        "model.decoder_depth": 5,
    },
}

SIZES: Mapping[str, Mapping[str, Any]] = {
    "small": {"batch_size": 32, "steps_per_dispatch": 20, **MODELS["small"]},
    "base": {"batch_size": 64, "steps_per_dispatch": 50, **MODELS["base"]},
    "large": {"batch_size": 128, "steps_per_dispatch": 50, **MODELS["large"]},
}


def fitting(sequences: int) -> str:
    """The size for a number of training sequences."""
    return next(size for size, most in UP_TO.items() if sequences <= most)


def of(size: str, sequences: int | None = None) -> dict[str, Any]:
    """The settings of a size, by key; of few sequences, a batch has no more (a power of two)."""
    chosen = dict(SIZES[size])
    if sequences and sequences < chosen["batch_size"]:
        chosen["batch_size"] = 1 << (sequences.bit_length() - 1)
    return chosen


def as_begun(
    config: ml_collections.ConfigDict, before: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """A config with which to go on with a run: with its sizes and its attention kernel.

    A run that began before sizes were chosen by the data had the large ones, unless its user had
    set others. The kernel replaces `auto`.

    Args:
      config: of this start.
      before: that of the run; read by `run.workdir`.
    """
    config = _with_kernel_of(config, before)
    if config.get("size") is None or "method" not in before or before.get("size") is not None:
        return config
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    was, now = settings.flat(before), settings.flat(config)
    for key, value in SIZES[config.size].items():
        usual = SIZES["large"][key]
        # The batch may be smaller than that of the size.
        if was.get(key) == usual and (now[key] == value or key == "batch_size"):
            config.update_from_flattened_dict({key: usual})
    config.size = None
    return config


def _with_kernel_of(
    config: ml_collections.ConfigDict, before: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """`config`, with the attention kernel of a run that has begun in place of `auto`."""
    kernel = before.get("attention_kernel", "auto")
    if config.get("attention_kernel") != "auto" or kernel == "auto":
        return config
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    config.attention_kernel = kernel
    return config
