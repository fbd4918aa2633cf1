"""Base classes of the methods that mask: mask, decoder, target, loss."""

from typing import Any

import jax
import jax.numpy as jnp

from amr_jax.config import checks
from amr_jax.methods.method import Method
from amr_jax.models.decoder import Decoder
from amr_jax.ops import masking, patches, presence, targets


def mean_squared_error(
    prediction: jax.Array,
    target: jax.Array,
    counted: jax.Array,
    weight: jax.Array | None = None,
) -> jax.Array:
    """mean ‖√W ⊙ (X_p − X_t)‖², in float32 whatever the dtype of the prediction.

    Args:
      prediction, target: X_p and X_t, of one shape.
      counted: broadcastable to that shape; the mean runs over the elements where it is True.
      weight: W, broadcastable likewise; None: 1 everywhere.

    Returns:
      A scalar; 0 if nothing counts.
    """
    error = jnp.square(prediction.astype(jnp.float32) - target)
    if weight is not None:
        error = weight * error
    return presence.mean(error, counted)


class MaskedMethod(Method):
    """Base of the methods that hide patches and decode what is visible.

    Attributes, in addition to those of `Method`:
      mask_ratio: share of patches that is hidden.
      num_visible: exact number of visible patches instead; None: by the ratio.
      round_visible: rounding of that number, see `checks.num_visible`.
      masking: `random`, or `motion_aware` with temperature `tau`.
      decoder_depth, decoder_width, decoder_heads, decoder_mlp_ratio: of the decoder's blocks.
    """

    mask_ratio: float
    num_visible: int | None
    round_visible: str
    masking: str
    tau: float
    decoder_depth: int
    decoder_width: int
    decoder_heads: int
    decoder_mlp_ratio: float

    streams = ("mask", "drop_path")

    @property
    def num_kept(self) -> int:
        """Patches of a body that stay visible."""
        return checks.num_visible(
            self.encoder.num_patches, self.mask_ratio, self.num_visible, self.round_visible
        )

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted."""
        return self.encoder.num_patches

    def make_decoder(self, kind: type[Decoder], **fields: Any) -> Decoder:
        """A decoder of this kind with the sizes of the config; `fields` are its other fields."""
        return kind(
            num_joints=self.encoder.num_joints,
            width=self.decoder_width,
            depth=self.decoder_depth,
            num_heads=self.decoder_heads,
            mlp_ratio=self.decoder_mlp_ratio,
            dtype=self.dtype,
            residual_dtype=self.encoder.residual_dtype,
            attention_kernel=self.attention_kernel,
            name="decoder",
            **fields,
        )

    def draw_mask(
        self, clips: jax.Array, present: jax.Array, joints: jax.Array | None = None
    ) -> jax.Array:
        """Ids of the visible patches, (B, num_kept), from the random stream `mask`."""
        x = patches.patchify(self.coordinates(clips), self.encoder.patch_len)
        here = patches.patchify(present[..., None], self.encoder.patch_len)
        key = self.make_rng("mask")
        return masking.draw(key, x, here, self.num_kept, self.masking, self.tau, joints)

    def hidden_frames(self, ids_keep: jax.Array, r: int) -> jax.Array:
        """Where the frames of predicted patches were hidden: (B, T_e/r, V, r·l, 1) bool."""
        encoder = self.encoder
        hidden = masking.is_hidden(ids_keep, encoder.num_patches)
        hidden = hidden.reshape(-1, encoder.num_times, encoder.num_joints)
        hidden = jnp.repeat(hidden, encoder.patch_len, axis=1)  # (B, T, V)
        return patches.patchify(hidden[..., None], r * encoder.patch_len)


class MaskedReconstruction(MaskedMethod):
    """Base of the methods that predict hidden joints or their motion.

    Attributes, in addition to those of `MaskedMethod`:
      target, normalisation, motion_stride: see `targets.reconstruction_target`.
    """

    target: str
    normalisation: str
    motion_stride: int

    def target_patches(
        self, clips: jax.Array, present: jax.Array, r: int
    ) -> tuple[jax.Array, jax.Array]:
        """X_t, the values to predict, (B, T_e/r, V, r·l, C), and where they are known, (…, 1)."""
        return targets.reconstruction_target(
            self.coordinates(clips),
            present,
            r * self.encoder.patch_len,
            self.target,
            self.normalisation,
            self.motion_stride,
        )
