"""From a section of a config to a module: what is unknown or does not fit is refused by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from amr_jax.errors import UserError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
_NOT_SETTINGS = {"parent", "name", "dtype", "attention_kernel", "encoder", "input_stream"}


def compute_dtype(name: str) -> Any:
    """The dtype that `config.dtype` names; parameters and losses stay float32 whatever it is."""
    if name not in DTYPES:
        raise UserError(f"config.dtype = {name!r}; expected one of: {', '.join(DTYPES)}.")
    return DTYPES[name]


def construct(module: type[nn.Module], section: str, settings: Mapping, **given: Any) -> nn.Module:
    """`module(**settings, **given)`, where `section` says which part of the config this is.

    Raises:
      UserError: a key that the module does not have, or one that it needs and does not get.
    """
    fields = {f.name: f for f in dataclasses.fields(module) if f.name not in _NOT_SETTINGS}
    unknown = sorted(set(settings) - set(fields))
    if unknown:
        raise UserError(
            f"unknown key {section}.{unknown[0]}; expected one of: {', '.join(sorted(fields))}."
        )
    needed = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    missing = sorted(needed - set(settings))
    if missing:
        raise UserError(f"{section}.{missing[0]} is missing; it has no default.")
    # Modules are static arguments of jit: their fields must hash.
    hashable = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return module(**hashable, **given)
