"""NAT: joints normalised among timestamps, with or without a contrastive term."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from amr_jax.methods.method import half_cosine
from amr_jax.methods.skeleton_mae import SkeletonMAE
from amr_jax.ops import presence


def info_nce(
    features: jax.Array, targets: jax.Array, counted: jax.Array, temperature: float
) -> jax.Array:
    """InfoNCE: cross-entropy of recognising the target of each row by cosine similarity.

    Args:
      features, targets: (B, D), any scale; row i of `features` belongs to row i of `targets`.
      counted: (B,) bool; other rows are neither recognised nor told apart from.
      temperature: of the softmax over the targets.

    Returns:
      A scalar, float32; 0 if nothing counts.
    """
    features, targets = (x.astype(jnp.float32) for x in (features, targets))
    features, targets = (
        x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12) for x in (features, targets)
    )
    similarity = jnp.matmul(features, targets.T, precision=jax.lax.Precision.HIGHEST)
    logits = jnp.where(counted, similarity / temperature, jnp.finfo(jnp.float32).min)
    labels = jnp.arange(len(features))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return presence.mean(losses, counted)


class NAT(SkeletonMAE):
    """SkeletonMAE on joints normalised over time, separately for each axis of each joint.

    The normalisation keeps the targets of slow joints informative. With `contrast` ("w/ Con" in the
    paper), an InfoNCE term compares the mean of the visible tokens with the mean token that a
    momentum copy of the encoder computes from the whole sequence; the other bodies of the batch are
    the negatives. The paper leaves temperature, weight, momentum and projection heads open; here
    there are no heads. Both means run over patches that show the body: the frames without it would
    tell bodies apart. A body without a visible one does not take part.

    Attributes, in addition to those of `SkeletonMAE`:
      normalisation: `timestamps` (over all T frames) or `patch_timestamps` (over those of a patch).
      contrast: weight of the contrastive term; 0: none.
      temperature: of the contrastive term.
      momentum_start, momentum_end: see `half_cosine`.
    """

    contrast: float
    temperature: float
    momentum_start: float
    momentum_end: float

    @property
    def across_bodies(self) -> bool:
        """Whether the loss compares bodies with each other."""
        return self.contrast > 0

    @property
    def momentum_encoder(self) -> bool:
        """Whether the loop keeps a momentum copy of the encoder."""
        return self.contrast > 0

    def momentum(self, progress: jax.Array) -> jax.Array:
        """The momentum of the copy at this share of the training."""
        return half_cosine(self.momentum_start, self.momentum_end, progress)

    @nn.compact
    def __call__(
        self, clips: jax.Array, present: jax.Array, joints: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: (B, T, V, C) float32, metres.
          present: (B, T, V) bool, see `ops.presence`.
          joints: (B, V) bool, which joints the body's data set has; None: all.

        Returns:
          The loss, and metrics: `loss`, `reconstruction`; with the contrastive term also
          `contrast` and `target_std`. Random streams as in `AMR`.
        """
        ids_keep = self.draw_mask(clips, present, joints)
        tokens = self.encoder(clips, ids_keep, train=True)
        reconstruction = self.reconstruction_loss(clips, present, joints, tokens, ids_keep)
        metrics = {"reconstruction": reconstruction}
        loss = reconstruction
        if self.momentum_encoder:
            here = self.present_patches(present)
            seen = jnp.take_along_axis(here, ids_keep, axis=1)
            whole = self.momentum_tokens(clips, joints=joints).astype(jnp.float32)
            pooled = presence.mean(whole, here[..., None], axis=1)
            visible = presence.mean(tokens.astype(jnp.float32), seen[..., None], axis=1)
            counted = seen.any(1)
            contrast = info_nce(visible, pooled, counted, self.temperature)
            loss = reconstruction + self.contrast * contrast
            target_std = jnp.sqrt(presence.variance(pooled, counted[:, None], 0)).mean()
            metrics |= {"contrast": contrast, "target_std": target_std}
        return loss, {"loss": loss, **metrics}
