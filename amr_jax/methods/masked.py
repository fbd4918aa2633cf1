"""What methods that hide patches and reconstruct them share: settings, checks, the mask."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax import masking, targets
from amr_jax.models.encoder import Encoder
from amr_jax.models.settings import require, require_choice, require_divides


def mean_squared_error(
    prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Mean of the squared error in float32, over all elements or those where `mask` is True."""
    return jnp.square(prediction.astype(jnp.float32) - target).mean(where=mask)


class MaskedReconstruction(nn.Module):
    """Base of the methods; `__call__(clips) -> (loss, metrics)` is theirs.

    Attributes:
      encoder: the shared encoder; it does not depend on anything below.
      mask_ratio: share of patches hidden.
      num_visible: exact number of visible patches instead; None or 0: by the ratio.
      masking: `random`, or `motion_aware` with temperature `tau`.
      decoder_depth, decoder_width, decoder_heads, decoder_mlp_ratio: of the decoder's blocks.
      target, normalisation: see `targets.reconstruction_target`.
      dtype: compute dtype of the decoder.
    """

    encoder: Encoder
    mask_ratio: float = 0.9
    num_visible: int | None = None
    masking: str = "random"
    tau: float = 0.75
    decoder_depth: int = 5
    decoder_width: int = 256
    decoder_heads: int = 8
    decoder_mlp_ratio: float = 4.0
    target: str = "joint"
    normalisation: str = "none"
    dtype: Any = jnp.float32

    @property
    def num_kept(self) -> int:
        """Patches of a body that stay visible."""
        return masking.num_visible(self.encoder.num_patches, self.mask_ratio, self.num_visible)

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted."""
        return self.encoder.num_patches

    def validate(self) -> None:
        """Raises `UserError`, naming keys and sizes, before anything compiles."""
        self.encoder.validate()
        num_patches = self.encoder.num_patches
        require(
            0 < self.mask_ratio < 1,
            f"config.model.mask_ratio = {self.mask_ratio}; expected between 0 and 1.",
        )
        require(
            0 < self.num_kept < num_patches,
            f"{self.num_kept} of {num_patches} patches would stay visible; expected 1 to "
            f"{num_patches - 1} (config.model.num_visible = {self.num_visible}, mask_ratio = "
            f"{self.mask_ratio}).",
        )
        require_choice("config.model.masking", self.masking, masking.MASKINGS)
        if self.masking == "motion_aware":
            require(self.tau > 0, f"config.model.tau = {self.tau}; expected more than 0.")
            require(
                self.encoder.num_times >= 2,
                "config.model.masking = 'motion_aware' compares patches in time and needs at least "
                f"two; config.encoder.num_frames / patch_len = {self.encoder.num_times}.",
            )
        for name in ("decoder_depth", "decoder_width"):
            value = getattr(self, name)
            require(value >= 1, f"config.model.{name} = {value}; expected at least 1.")
        require_divides(
            "config.model.decoder_heads",
            self.decoder_heads,
            "config.model.decoder_width",
            self.decoder_width,
        )
        require_choice("config.model.target", self.target, targets.TARGETS)
        require_choice("config.model.normalisation", self.normalisation, targets.NORMALISATIONS)

    def draw_mask(self, clips: jax.Array) -> jax.Array:
        """Ids of the visible patches, (B, num_kept), from the random stream `mask`."""
        patches = targets.patchify(clips, self.encoder.patch_len)
        return masking.draw(self.make_rng("mask"), patches, self.num_kept, self.masking, self.tau)

    def hidden_patches(self, ids_keep: jax.Array) -> jax.Array:
        """(B, T_e, V) bool, True where a patch is hidden."""
        num_patches = self.encoder.num_patches
        hidden = jax.vmap(lambda ids: masking.is_masked(ids, num_patches))(ids_keep)
        return hidden.reshape(-1, self.encoder.num_times, self.encoder.num_joints)
