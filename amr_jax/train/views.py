"""The augmentation of a training step, on the devices."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from amr_jax.data import datasets
from amr_jax.ops import augment
from amr_jax.run import sharding


def make_views(
    config: ml_collections.ConfigDict, mesh: Mesh, draw: Callable = augment.train_view
) -> Callable:
    """The augmentation of a step: (key, *`batches.Clips`) → views.

    Views are clips (B, T, V, C) and their presence (B, T, V), for B = b · slots bodies; those of a
    sequence share crop and rotation. Several views of a clip are tuples of such arrays. Where sets
    lack joints of others, (B, V) bool tells which they have: the third of the results.

    `draw` is `Method.views`; by default, that of a method with one view.
    """
    view = dict(
        num_frames=config.encoder.num_frames,
        confidence=config.encoder.confidence,
        stream=config.input.stream,
        parents=datasets.get(config.dataset).layout.parents,
        **config.augment,
    )

    def views(key, clips, lengths, joints=None, sequences=None):
        del sequences
        keys = jax.random.split(key, len(clips))
        found = jax.vmap(functools.partial(draw, **view))(keys, clips, lengths)
        found = jax.tree.map(
            lambda x: x.swapaxes(1, 2).reshape(-1, x.shape[1], *x.shape[3:]), tuple(found)
        )
        if config.input.absent_frames == "counted":
            found = found[0], jax.tree.map(jnp.ones_like, found[1])
        if joints is not None:
            joints = jnp.repeat(joints, clips.shape[2], axis=0)
            found = found[0], jax.tree.map(lambda x: x & joints[:, None], found[1]), joints
        return jax.lax.with_sharding_constraint(found, sharding.over_data(mesh))

    return views
