"""Tiny bodies and encoders for the tests of protocols."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.data.split import Split, place
from amr_jax.evaluation.task import Task
from amr_jax.ops import augment
from amr_jax.run import sharding
from tests.models.params import encoder as build

FRAMES, JOINTS = 8, 4

ENCODER = build(num_frames=FRAMES, num_joints=JOINTS, width=8, depth=1, num_heads=2)


class Plain(nn.Module):
    """An encoder whose pooled features are the clip's mean coordinates: known without it."""

    num_frames: int = FRAMES
    channels: int = 3

    @nn.compact
    def __call__(self, clips):
        scale = self.param("scale", nn.initializers.ones, ())
        return scale * clips.reshape(clips.shape[0], -1, self.channels)


@functools.cache
def init(encoder: nn.Module) -> dict:
    """The encoder's parameters, on the host."""
    clips = jnp.zeros((1, FRAMES, JOINTS, 3))
    return jax.device_get(jax.jit(encoder.init)(jax.random.key(0), clips)["params"])


def mesh(num_devices: int) -> jax.sharding.Mesh:
    return sharding.make_mesh(jax.devices()[:num_devices])


def make_bodies(present, label=None, num_classes=3, seed=0, constant=None) -> Split:
    """Bodies of random coordinates and lengths.

    Args:
      present: (S, M) booleans.
      label: (S,); random by default.
      constant: (B,) values: body b has this one in all its coordinates.
    """
    generator = np.random.default_rng(seed)
    present = np.asarray(present, bool)
    lengths = generator.integers(1, 12, len(present))
    sequence = np.nonzero(present)[0].astype(np.int32)
    length = lengths[sequence].astype(np.int32)
    frames = generator.normal(size=(length.sum(), JOINTS, 3)).astype(np.float32)
    if constant is not None:
        frames = np.ones_like(frames) * np.repeat(constant, length)[:, None, None]
    if label is None:
        label = generator.integers(0, num_classes, len(present))
    return Split(
        frames=frames.astype(np.float32),
        own=np.arange(len(present)),
        length=length,
        present=present,
        label=np.asarray(label, np.int32),
        names=np.array([f"sequence {i}" for i in range(len(present))]),
        class_names=tuple(f"class {i}" for i in range(num_classes)),
    )


def bodies_of(split: Split) -> list[np.ndarray]:
    """Each body's frames, (length, V, C)."""
    return np.split(split.frames, np.cumsum(split.length)[:-1])


def first_frames(split: Split) -> np.ndarray:
    """(B, V, C): each body's first frame."""
    return np.stack([frames[0] for frames in bodies_of(split)])


def first_frame(key, clip, length):
    """A view that draws nothing and looks at the first frame alone."""
    del key, length
    return jnp.broadcast_to(clip[:1], (FRAMES, *clip.shape[1:]))


def train_view(key, clip, length):
    """A view that is cropped and rotated at random."""
    view, _ = augment.train_view(
        key,
        clip,
        length,
        num_frames=FRAMES,
        min_fraction=0.5,
        max_fraction=1.0,
        min_frames=1,
        max_angles=(0.3, 0.3, 0.3),
        stream="joint",
        parents=(),
    )
    return view


def make_task(
    train: Split, test: Split, encoder=None, devices=1, view=first_frame, pretrained=True
) -> Task:
    encoder = encoder or Plain()
    on = mesh(devices)
    return Task(
        encoder=encoder,
        params=sharding.put(init(encoder), sharding.replicated(on)),
        pretrained=pretrained,
        train=place(train, on),
        test=place(test, on),
        train_view=view,
        test_view=first_frame,
        num_classes=len(train.class_names),
    )


def neighbours_config(k: int = 1, whiten: bool = False) -> ml_collections.ConfigDict:
    """What `knn` and `retrieval` read."""
    how = {"seed": 0, "bodies": "packed", "second_body": "zeros", "encode_batch_size": 4}
    return ml_collections.ConfigDict({**how, "k": k, "whiten": whiten})
