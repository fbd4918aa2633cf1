"""SkeletonMAE: masked joint reconstruction with mask tokens and self-attention over all patches."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax import targets
from amr_jax.methods.masked import MaskedReconstruction, mean_squared_error
from amr_jax.models.decoder import SelfAttentionDecoder


class SkeletonMAE(MaskedReconstruction):
    """Predicts every patch; the loss runs over the hidden ones.

    Attributes: those of `MaskedReconstruction`.
    """

    normalisation: str = "patch"

    @nn.compact
    def __call__(
        self, clips: jax.Array, deterministic: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies, (B, T, V, C) float32 in metres.

        Args:
          clips: (B, T, V, C) float32, metres.
          deterministic: True switches stochastic depth off; the mask stays random.

        Returns:
          The loss, and metrics: `loss`. Random streams as in `AMR`.
        """
        ids_keep = self.draw_mask(clips)
        tokens, _ = self.encoder(clips, ids_keep, deterministic)
        prediction = SelfAttentionDecoder(
            num_times=self.encoder.num_times,
            num_joints=self.encoder.num_joints,
            values=self.encoder.patch_len * self.encoder.channels,
            width=self.decoder_width,
            depth=self.decoder_depth,
            num_heads=self.decoder_heads,
            mlp_ratio=self.decoder_mlp_ratio,
            dtype=self.dtype,
            name="decoder",
        )(tokens, ids_keep)
        target = targets.reconstruction_target(
            clips, self.encoder.patch_len, self.target, self.normalisation
        ).reshape(prediction.shape)
        hidden = self.hidden_patches(ids_keep).reshape(*prediction.shape[:2], 1)
        loss = mean_squared_error(prediction, target, jnp.broadcast_to(hidden, target.shape))
        return loss, {"loss": loss}
