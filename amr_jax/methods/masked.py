"""What all methods share: the encoder, the mask, the decoder's sizes, and their checks."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models.attention import KERNELS
from amr_jax.models.encoder import Encoder
from amr_jax.models.settings import require, require_choice, require_divides
from amr_jax.ops import masking, targets


def mean_squared_error(
    prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Mean of the squared error in float32, over all elements or those where `mask` is True."""
    return jnp.square(prediction.astype(jnp.float32) - target).mean(where=mask)


class MaskedMethod(nn.Module):
    """Base of the methods; `__call__(clips) -> (loss, metrics)` is theirs.

    Attributes:
      encoder: the shared encoder; it does not depend on anything below.
      mask_ratio: share of patches hidden.
      num_visible: exact number of visible patches instead; 0 or None: by the ratio.
      masking: `random`, or `motion_aware` with temperature `tau`.
      decoder_depth, decoder_width, decoder_heads, decoder_mlp_ratio: of the decoder's blocks.
      input_stream: which of `augment.STREAMS` the clips are, for methods that transform them. All
        that is computed from clips (masks, targets, motion energy) is computed from that stream.
      dtype: compute dtype of the decoder.
      attention_kernel: see `models.attention`.
    """

    encoder: Encoder
    mask_ratio: float = 0.9
    num_visible: int | None = 0
    masking: str = "random"
    tau: float = 0.8
    decoder_depth: int = 5
    decoder_width: int = 256
    decoder_heads: int = 8
    decoder_mlp_ratio: float = 4.0
    input_stream: str = "joint"
    dtype: Any = jnp.float32
    attention_kernel: str = "xla"

    # Parts of the contract (methods/__init__.py) that few methods change; no settings.
    streams = ("mask", "drop_path")
    across_bodies = False
    momentum_encoder = False

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
        require_choice("config.attention_kernel", self.attention_kernel, KERNELS)
        require(
            self.attention_kernel != "cudnn" or self.dtype == jnp.bfloat16,
            "config.attention_kernel = 'cudnn' needs config.dtype = 'bfloat16'.",
        )

    def require_pooling(self, key: str, times: int) -> None:
        """Raises `UserError`, naming config.model.`key`, unless `times` divides T_e."""
        frames = f"{self.encoder.num_frames} / {self.encoder.patch_len}"
        require_divides(
            f"config.model.{key}",
            times,
            f"config.encoder.num_frames / patch_len = {frames}",
            self.encoder.num_times,
        )

    def decoder_settings(self, r: int = 1) -> dict[str, Any]:
        """The fields of a decoder that predicts patches `r` times as long as the encoder's."""
        return {
            "num_times": self.encoder.num_times,
            "num_joints": self.encoder.num_joints,
            "values": r * self.encoder.patch_len * self.encoder.num_coordinates,
            "width": self.decoder_width,
            "depth": self.decoder_depth,
            "num_heads": self.decoder_heads,
            "mlp_ratio": self.decoder_mlp_ratio,
            "dtype": self.dtype,
            "attention_kernel": self.attention_kernel,
            "name": "decoder",
        }

    def coordinates(self, clips: jax.Array) -> jax.Array:
        """The clips (..., C) without the confidence, if they have it."""
        return clips[..., : self.encoder.num_coordinates]

    def draw_mask(self, clips: jax.Array) -> jax.Array:
        """Ids of the visible patches, (B, num_kept), from the random stream `mask`."""
        patches = targets.patchify(self.coordinates(clips), self.encoder.patch_len)
        return masking.draw(self.make_rng("mask"), patches, self.num_kept, self.masking, self.tau)

    def hidden_patches(self, ids_keep: jax.Array) -> jax.Array:
        """(B, T_e, V) bool, True where a patch is hidden."""
        num_patches = self.encoder.num_patches
        hidden = jax.vmap(lambda ids: masking.is_masked(ids, num_patches))(ids_keep)
        return hidden.reshape(-1, self.encoder.num_times, self.encoder.num_joints)

    def large_patches(self, of_frames: jax.Array, r: int) -> jax.Array:
        """(B, T, V), one value for every frame of a joint -> (B, N/r, r·l·C), one per element."""
        shape = (*of_frames.shape, self.encoder.num_coordinates)
        spread = jnp.broadcast_to(of_frames[..., None], shape)
        patches = targets.patchify(spread, r * self.encoder.patch_len)
        return patches.reshape(len(patches), -1, patches.shape[-1])

    def hidden_elements(self, ids_keep: jax.Array, r: int) -> jax.Array:
        """(B, N/r, r·l·C) bool, True where a coordinate of a large patch was hidden."""
        hidden = self.hidden_patches(ids_keep)
        return self.large_patches(jnp.repeat(hidden, self.encoder.patch_len, axis=1), r)

    def momentum_tokens(self, clips: jax.Array) -> jax.Array:
        """What the momentum copy of the encoder makes of whole clips, (B, N, D); no gradient."""
        # Before there is a copy, it is equal to the encoder.
        params = (
            self.encoder.variables["params"]
            if self.is_initializing()
            else self.variables["average"]["encoder"]
        )
        copy = self.encoder.clone(parent=None, name=None)
        tokens, _ = copy.apply({"params": params}, clips)
        return jax.lax.stop_gradient(tokens)


class MaskedReconstruction(MaskedMethod):
    """Base of the methods that predict what was hidden as joints or their motion.

    Attributes, beside those of `MaskedMethod`:
      target, normalisation: see `targets.reconstruction_target`.
    """

    target: str = "joint"
    normalisation: str = "none"

    def validate(self) -> None:
        """Raises `UserError`, naming keys and sizes, before anything compiles."""
        super().validate()
        require_choice("config.model.target", self.target, targets.TARGETS)
        require_choice("config.model.normalisation", self.normalisation, targets.NORMALISATIONS)

    def target_patches(self, clips: jax.Array, r: int = 1) -> jax.Array:
        """What is to be predicted: (B, N/r, r·l·C) float32, no gradient."""
        patch_len, places = r * self.encoder.patch_len, self.coordinates(clips)
        require(
            patch_len >= 2 or self.normalisation != "patch_timestamps",
            "config.model.normalisation = 'patch_timestamps' normalises over the frames of a "
            "predicted patch, which has one here; expected at least 2 (config.encoder.patch_len).",
        )
        values = targets.reconstruction_target(places, patch_len, self.target, self.normalisation)
        return values.reshape(len(values), -1, values.shape[-1])
