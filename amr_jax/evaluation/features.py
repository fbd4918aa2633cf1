"""Features of a frozen encoder: one vector per sequence."""

import functools
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.data.split import ABSENT, DeviceSplit
from amr_jax.evaluation import packing
from amr_jax.models import heads
from amr_jax.run import console, sharding

_WAIT_EVERY_S = 0.5  # for the devices, so that the time left is theirs
# Bodies of a batch that a CPU encodes together. Their activations stay in its caches; those of a
# whole batch go through memory in every layer, and take half as long again (docs/benchmarks.md).
_TOGETHER_ON_CPU = 2

# (key, clip (L, V, C) zero-padded, length) -> (T, V, C): the encoder's input for one body.
View = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def batches(sequence: np.ndarray, num_sequences: int, size: int) -> list[np.ndarray]:
    """All bodies in batches of one static size, the last one padded.

    Args:
      sequence: (B,) sequence of each body.
      num_sequences: S.
      size: bodies of a batch.

    Returns:
      Arrays (2, size) int32: body numbers and their sequences; `ABSENT` and S for padding.
    """
    shortfall = -len(sequence) % size
    body = np.append(np.arange(len(sequence)), np.full(shortfall, ABSENT))
    sequence = np.append(sequence, np.full(shortfall, num_sequences))
    return np.split(np.stack([body, sequence]).astype(np.int32), len(body) // size, axis=1)


def extract(
    encoder: nn.Module,
    params: Any,
    split: DeviceSplit,
    view: View,
    key: jax.Array,
    *,
    readout: str,
    batch_size: int,
    bodies: str,
) -> jax.Array:
    """A read-out of all tokens, without a mask, and its mean over a sequence's bodies.

    Every body is encoded once, at any batch size and on any number of devices.

    Args:
      encoder, params: the frozen encoder; parameters replicated over the mesh.
      split: the bodies.
      view: see `View`. All bodies of a sequence get one key, hence one crop and one rotation.
      key: folded with each sequence's number; differs between epochs.
      readout: of the tokens of a body, one of `heads.READOUTS`.
      batch_size: bodies encoded at once, rounded up to a multiple of the number of devices; affects
        only memory and speed.
      bodies: the mean runs over these, see `packing.bodies_of`.

    Returns:
      (S, F) float32, replicated.
    """
    mesh, host = split.mesh, split.host
    counted = packing.bodies_of(host, bodies)
    every, num_sequences = np.concatenate(counted), len(counted)
    times = np.bincount(every[every != ABSENT], minlength=len(host.length)).astype(np.float32)
    size = min(batch_size, len(host.sequence))
    # Simulated devices of one CPU, as in tests, share their batches as GPUs do.
    on_cpu = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
    together = min(_TOGETHER_ON_CPU, size) if on_cpu else None
    multiple = together or mesh.size
    size = -(-size // multiple) * multiple

    # An absent body is zeros in every view, so its features are computed once.
    how = {"encoder": encoder, "readout": readout}
    blank = _blank(params, num_joints=split.frames.shape[1], **how)
    sums = jnp.zeros((num_sequences, *blank.shape), jnp.float32, device=sharding.replicated(mesh))
    absent = np.array([(own == ABSENT).sum() for own in counted], np.float32)
    number = np.array([len(own) for own in counted], np.float32)
    times, absent, number = sharding.put((times, absent, number), sharding.replicated(mesh))
    work, waited = batches(host.sequence, num_sequences, size), time.monotonic()
    with console.progress_bar("features, batch", len(work)) as advance:
        for batch in work:
            batch = sharding.put(batch, sharding.replicated(mesh))
            sums = _add_batch(
                sums, params, split, batch, times, key, view=view, together=together, **how
            )
            if time.monotonic() - waited > _WAIT_EVERY_S:
                sums.block_until_ready()
                waited = time.monotonic()
            advance()
    # Simulated devices of one CPU share a pool of threads, and two extractions at the same time can
    # deadlock: each holds threads that the collectives of the other wait for.
    return jax.block_until_ready((sums + absent[:, None] * blank) / number[:, None])


def _read(encoder: nn.Module, params: Any, clips: jax.Array, readout: str) -> jax.Array:
    """Features (B, F) of clips (B, T, V, C)."""
    return heads.READOUTS[readout](encoder.apply({"params": params}, clips), clips.shape[2])


@functools.partial(jax.jit, static_argnames=("encoder", "readout", "num_joints"))
def _blank(params: Any, *, encoder: nn.Module, readout: str, num_joints: int) -> jax.Array:
    """(F,) features of an absent body."""
    shape = (1, encoder.num_frames, num_joints, encoder.channels)
    return _read(encoder, params, jnp.zeros(shape, jnp.float32), readout)[0]


@functools.partial(
    jax.jit,
    static_argnames=("encoder", "readout", "view", "together"),
    donate_argnames=("sums",),
)
def _add_batch(
    sums: jax.Array,
    params: Any,
    split: DeviceSplit,
    batch: jax.Array,
    times: jax.Array,
    key: jax.Array,
    *,
    encoder: nn.Module,
    readout: str,
    view: View,
    together: int | None,
) -> jax.Array:
    """Encodes one batch of bodies and adds each one's features to its sequence's row of `sums`.

    Body b counts `times[b]` times. `together` bodies are encoded at once, one group after the
    other; None: the whole batch.
    """
    body, sequence = batch
    clips, length = split.clips(body)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, sequence)
    clips = jax.vmap(view)(keys, clips, length)
    if together is None:
        features = _read(encoder, params, clips, readout)
    else:
        groups = clips.reshape(-1, together, *clips.shape[1:])
        features = jax.lax.map(lambda group: _read(encoder, params, group, readout), groups)
        features = features.reshape(len(clips), -1)
    features = times[body][:, None] * features
    # 'drop': padding has no row.
    sums = sums.at[sequence].add(features, mode="drop")
    return jax.lax.with_sharding_constraint(sums, sharding.replicated(split.mesh))
