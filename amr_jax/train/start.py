"""A run that starts from the encoder of another run, `config.start_from`."""

import os

import jax
import jax.numpy as jnp
import ml_collections

from amr_jax.run import checkpoint, paths
from amr_jax.run import workdir as workdirs
from amr_jax.train.step import TrainState

# What an encoder sees, beside its own sizes: settings of the section `input`.
_SEEN = ("stream", "centre", "body_frame")


def with_encoder_of(
    config: ml_collections.ConfigDict, before: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """The config with the encoder's sizes, and what it sees, of a run with the config `before`."""
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    config.encoder = before.encoder
    for key in _SEEN:
        config.input[key] = before.input[key]
    return config


def resolved(
    config: ml_collections.ConfigDict, folder: os.PathLike | str
) -> ml_collections.ConfigDict:
    """`with_encoder_of` the run that `config.start_from` names; without one, the config as it is.

    A run that has begun in `folder` keeps what it has: the other run may be gone by then.

    Raises:
      UserError: no such run.
    """
    if not config.get("start_from"):
        return config
    source = paths.absolute(config.start_from)
    begun = checkpoint.has_one(folder)
    config = with_encoder_of(config, workdirs.read_config(folder if begun else source))
    config.start_from = os.fspath(source)
    return config


def load(
    state: TrainState, config: ml_collections.ConfigDict, folder: os.PathLike | str
) -> tuple[TrainState, str | None]:
    """The first state with the encoder that the run starts from, and a line that tells it.

    A run that has begun in `folder` goes on from its own checkpoint, and nothing is loaded. Of a
    run whose moving average is what protocols evaluate (`judged`), it is the average.

    Raises:
      UserError: no such run, or no whole checkpoint of it.
    """
    if not config.start_from or checkpoint.has_one(folder):
        return state, config.start_from
    encoder, before, step = checkpoint.load_encoder(config.start_from)
    checkpoint.check_same(encoder, state.params["encoder"], config.start_from)
    encoder = jax.tree.map(_placed_as, encoder, state.params["encoder"])
    # A copy: the state is donated, and a buffer cannot be donated twice.
    average = jax.tree.map(jnp.copy, encoder) if state.average else {}
    state = state.replace(params={**state.params, "encoder": encoder}, average=average)
    return state, f"{config.start_from}, step {step:,} ({before.method} on {before.dataset})"


def _placed_as(array, like: jax.Array) -> jax.Array:
    """An array of the host, equal on every process, on the devices of another one."""
    return jax.make_array_from_callback(array.shape, like.sharding, lambda index: array[index])
