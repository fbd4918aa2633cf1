"""Builds Flax modules from sections of a config."""

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.config.settings import one_of, require_choice
from amr_jax.errors import UserError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
_NOT_SETTINGS = {"parent", "name", "dtype", "attention_kernel", "encoder", "input_stream"}


def compute_dtype(name: str) -> Any:
    """The dtype that `config.dtype` names; parameters and losses stay float32 whatever it is."""
    require_choice("config.dtype", name, DTYPES)
    return DTYPES[name]


def matmul_precision(dtype: Any, precision: str) -> AbstractContextManager:
    """Within it, programs are traced whose float32 matrix products have this precision.

    Accelerators would round float32 operands to TF32 (10 bits) or bfloat16 (7 bits). Models that
    compute in bfloat16 are traced as they are: their products in float32 state a precision.

    Args:
      dtype: compute dtype of the model.
      precision: `highest`, full float32; or another choice of `config.matmul_precision`.
    """
    return jax.default_matmul_precision(precision if dtype == jnp.float32 else None)


def construct(module: type[nn.Module], section: str, settings: Mapping, **given: Any) -> nn.Module:
    """Builds `module(**settings, **given)`; messages call the settings `section`.

    Raises:
      UserError: a key that the module does not have, or one that it needs and does not get.
    """
    fields = {f.name: f for f in dataclasses.fields(module) if f.name not in _NOT_SETTINGS}
    for key in sorted(set(settings) - set(fields)):
        raise UserError(f"{section}.{key}: unknown key; expected {one_of(sorted(fields))}.")
    needed = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    for key in sorted(needed - set(settings)):
        raise UserError(f"{section}.{key} is missing.")
    # Modules are static arguments of jit: their fields must hash.
    return module(**{key: _hashable(value) for key, value in settings.items()}, **given)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value
