"""STARS: a short contrastive stage with nearest neighbours on an encoder trained by masking."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.method import Method, Views
from amr_jax.models.projection import Projector
from amr_jax.ops import augment, contrast, decorrelation, presence
from amr_jax.ops.unit_length import unit_length


class STARS(Method):
    """Two views of each body; the neighbour of one view's features predicts the other's.

    z is the projection of the mean token, p the prediction from z, both of length 1. nn(z) is the
    most similar entry of a queue of earlier z that is of another sequence. The loss is
    ½ InfoNCE(nn(z₁), p₂) + ½ InfoNCE(nn(z₂), p₁) over the bodies of the batch. The queue is in the
    collection `state`. Nothing is hidden. How the published views are drawn is not known to us;
    here they are crops and rotations as in pre-training, half of them mirrored.

    Attributes, in addition to those of `Method`:
      projector_hidden: hidden width of the projector (three layers). features: width of z and p.
      predictor_hidden: hidden width of the predictor (two layers).
      queue: entries of the queue.
      temperature: of the softmax over the batch.
      view_mirror: for every joint the joint on the other side; half of the views are flipped left
        to right. (): none.
    """

    projector_hidden: int
    features: int
    predictor_hidden: int
    queue: int
    temperature: float
    view_mirror: tuple[int, ...]

    across_bodies = True

    @property
    def view_frames(self) -> tuple[int, ...]:
        """Two views, both as long as the encoder's clips."""
        return (self.encoder.num_frames,) * 2

    def views(
        self, key: jax.Array, clip: jax.Array, length: jax.Array, **view: Any
    ) -> tuple[Views, Views]:
        """Two crops of a sequence, each rotated, and mirrored in half of the cases."""

        def one(key):
            key, own = jax.random.split(key)
            mirrored = (
                augment.random_mirror(own, clip, self.view_mirror) if self.view_mirror else clip
            )
            return augment.train_view(key, mirrored, length, **view)

        return tuple(zip(*map(one, jax.random.split(key)), strict=True))

    @nn.compact
    def __call__(
        self,
        clips: tuple[jax.Array, jax.Array],
        present: tuple[jax.Array, jax.Array],
        joints: jax.Array | None = None,
        sequences: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: two views (B, T, V, C) float32, metres.
          present: their presence (B, T, V) bool, see `ops.presence`.
          joints: (B, V) bool, which joints the body's data set has; None: all.
          sequences: (B,) int32, the sequence of each body; None: each has one of its own.

        Returns:
          The loss, and metrics: `loss`; `feature_std`, of the mean tokens over bodies, mean over
          features; `neighbours`, the share of bodies that the queue has a neighbour for.
        """
        counted = present[0].any((1, 2)) & present[1].any((1, 2))
        if sequences is None:
            sequences = jnp.arange(len(counted), dtype=jnp.int32)
        means = [self._mean_tokens(*view, joints) for view in zip(clips, present, strict=True)]
        widths = (self.projector_hidden, self.projector_hidden, self.features)
        projector = Projector(widths, self.dtype, name="projector")
        predictor = Projector((self.predictor_hidden, self.features), self.dtype, name="predictor")
        z = [projector(x, counted) for x in means]
        p = [unit_length(predictor(x, counted)) for x in z]
        z = [unit_length(x) for x in z]

        entries = self.variable("state", "queue", jnp.zeros, (self.queue, self.features))
        ids = self.variable("state", "ids", jnp.full, (self.queue,), contrast.EMPTY, jnp.int32)
        pointer = self.variable("state", "pointer", jnp.zeros, (), jnp.int32)
        neighbours = [contrast.nearest(entries.value, ids.value, x, sequences) for x in z]
        first, second = (
            contrast.info_nce(key, prediction, self.temperature, counted)
            for key, prediction in zip(neighbours, reversed(p), strict=True)
        )
        loss = (first + second) / 2
        others = (ids.value != contrast.EMPTY) & (ids.value != sequences[:, None])
        found = presence.mean(others.any(-1).astype(jnp.float32), counted)
        if self.is_mutable_collection("state") and not self.is_initializing():
            entries.value, ids.value, pointer.value = contrast.enqueue(
                entries.value, ids.value, pointer.value, z[0], sequences, counted
            )
        std = decorrelation.feature_std(means[0], counted)
        return loss, {"loss": loss, "feature_std": std, "neighbours": found}

    def _mean_tokens(
        self, clips: jax.Array, present: jax.Array, joints: jax.Array | None
    ) -> jax.Array:
        """The mean over the tokens of patches that show the body, (B, D) float32."""
        tokens = self.encoder(clips, train=True, joints=joints).astype(jnp.float32)
        return presence.mean(tokens, self.present_patches(present)[..., None], 1)
