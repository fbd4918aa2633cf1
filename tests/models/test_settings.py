"""Config sections become modules, or errors that name the key."""

import jax.numpy as jnp
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from amr_jax.errors import UserError
from amr_jax.models import settings


class Thing(nn.Module):
    size: int
    sizes: tuple[int, ...] = (1,)
    dtype: object = jnp.float32


def test_a_section_becomes_a_module():
    for section in ({"size": 3, "sizes": [4, 5]}, ConfigDict({"size": 3, "sizes": (4, 5)})):
        thing = settings.construct(Thing, "config.thing", section, dtype=jnp.bfloat16)
        assert (thing.size, thing.sizes, thing.dtype) == (3, (4, 5), jnp.bfloat16)
        hash(thing)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"size": 3, "colour": 1},
            r"config\.thing\.colour: unknown key; expected 'size' or",
        ),
        ({"size": 3, "dtype": "float32"}, r"config\.thing\.dtype: unknown key"),
        ({"sizes": (1,)}, r"config\.thing\.size is missing"),
    ],
)
def test_keys_that_do_not_fit_are_named(section, message):
    with pytest.raises(UserError, match=message):
        settings.construct(Thing, "config.thing", section)


def test_dtypes():
    assert settings.compute_dtype("bfloat16") == jnp.bfloat16
    for name in ("auto", "float64"):
        with pytest.raises(UserError, match=rf"config\.dtype = '{name}': expected 'float32'"):
            settings.compute_dtype(name)
