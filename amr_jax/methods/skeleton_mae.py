"""SkeletonMAE: hidden joints reconstructed with mask tokens and self-attention over all patches."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.masked import MaskedReconstruction, mean_squared_error
from amr_jax.models.decoder import SelfAttentionDecoder
from amr_jax.ops import masking, patches


class SkeletonMAE(MaskedReconstruction):
    """Predicts every patch; the loss runs over the hidden patches.

    The baselines of the AMR paper are settings of it: `num_decoded` (Baseline 1, decoder masking)
    and `pool` (Baseline 2, downsampling).

    Attributes, in addition to those of `MaskedReconstruction`:
      num_decoded: hidden patches, drawn uniformly, that are decoded and predicted; None: all.
      pool: r of the downsampling: the decoder averages its tokens over `pool` patches in time and
        predicts patches `pool` times as long; 1: none.
    """

    num_decoded: int | None
    pool: int

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted."""
        return self.num_decoded or self.encoder.num_patches // self.pool

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
          The loss, and metrics: `loss`. Random streams as in `AMR`.
        """
        ids_keep = self.draw_mask(clips, present, joints)
        tokens = self.encoder(clips, ids_keep, train=True)
        loss = self.reconstruction_loss(clips, present, joints, tokens, ids_keep)
        return loss, {"loss": loss}

    def reconstruction_loss(
        self,
        clips: jax.Array,
        present: jax.Array,
        joints: jax.Array | None,
        tokens: jax.Array,
        ids_keep: jax.Array,
    ) -> jax.Array:
        """Mean squared error of the hidden frames, where the target is known.

        Args:
          clips: (B, T, V, C). present: (B, T, V). joints: (B, V) or None.
          tokens: (B, N_v, D), the encoded visible patches.
          ids_keep: (B, N_v), their ids.
        """
        target, known = self.target_patches(clips, present, self.pool)
        decoder = self.make_decoder(
            SelfAttentionDecoder,
            num_times=self.encoder.num_times,
            values=math.prod(target.shape[3:]),
            pool=self.pool,
        )
        if not self.num_decoded:
            prediction = decoder(tokens, ids_keep, joints=joints).reshape(target.shape)
            hidden = self.hidden_frames(ids_keep, self.pool)
            return mean_squared_error(prediction, target, known & hidden)
        ids_decode = masking.draw_hidden(
            self.make_rng("mask"), ids_keep, self.encoder.num_patches, self.num_decoded, joints
        )
        prediction = decoder(tokens, ids_keep, ids_decode)
        target, known = (
            jnp.take_along_axis(patches.flatten(x), ids_decode[..., None], axis=1)
            for x in (target, jnp.broadcast_to(known, target.shape))
        )
        return mean_squared_error(prediction, target, known)
