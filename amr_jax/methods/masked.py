"""Base classes of the methods: encoder, mask, decoder, target, loss."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.config import checks
from amr_jax.models.decoder import Decoder
from amr_jax.models.encoder import Encoder
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


def cosine_momentum(start: float, end: float, progress: jax.Array) -> jax.Array:
    """The momentum m of average ← m · average + (1 − m) · encoder, along half a cosine.

    Args:
      start, end: m at the first and at the last step.
      progress: share of the training that is done, 0 to 1.
    """
    return end - (end - start) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


class MaskedMethod(nn.Module):
    """Base of the methods; each defines `__call__(clips, present, joints) -> (loss, metrics)`.

    Attributes:
      encoder: the shared encoder; it does not depend on anything below.
      mask_ratio: share of patches that is hidden.
      num_visible: exact number of visible patches instead; None: by the ratio.
      round_visible: rounding of that number, see `checks.num_visible`.
      masking: `random`, or `motion_aware` with temperature `tau`.
      decoder_depth, decoder_width, decoder_heads, decoder_mlp_ratio: of the decoder's blocks.
      input_stream: the stream of the clips (`augment.to_stream`), for methods that transform them.
        Masks, targets and motion energy are computed from that stream.
      dtype: compute dtype of the decoder.
      attention_kernel: see `models.attention`.
    """

    encoder: Encoder
    mask_ratio: float
    num_visible: int | None
    round_visible: str
    masking: str
    tau: float
    decoder_depth: int
    decoder_width: int
    decoder_heads: int
    decoder_mlp_ratio: float
    input_stream: str
    dtype: Any
    attention_kernel: str

    # Parts of the contract (methods/__init__.py) that few methods change; not settings.
    streams = ("mask", "drop_path")
    across_bodies = False
    momentum_encoder = False

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
            attention_kernel=self.attention_kernel,
            name="decoder",
            **fields,
        )

    def coordinates(self, clips: jax.Array) -> jax.Array:
        """The clips (..., C) without the channel of confidence, if there is one."""
        return clips[..., : self.encoder.num_coordinates]

    def draw_mask(
        self, clips: jax.Array, present: jax.Array, joints: jax.Array | None = None
    ) -> jax.Array:
        """Ids of the visible patches, (B, num_kept), from the random stream `mask`."""
        x = patches.patchify(self.coordinates(clips), self.encoder.patch_len)
        here = patches.patchify(present[..., None], self.encoder.patch_len)
        key = self.make_rng("mask")
        return masking.draw(key, x, here, self.num_kept, self.masking, self.tau, joints)

    def present_patches(self, present: jax.Array) -> jax.Array:
        """Which patches show the body in at least one frame: (B, T, V) -> (B, N) bool."""
        here = patches.patchify(present[..., None], self.encoder.patch_len)
        return here.any((-2, -1)).reshape(-1, self.encoder.num_patches)

    def hidden_frames(self, ids_keep: jax.Array, r: int) -> jax.Array:
        """Where the frames of predicted patches were hidden: (B, T_e/r, V, r·l, 1) bool."""
        encoder = self.encoder
        hidden = masking.is_hidden(ids_keep, encoder.num_patches)
        hidden = hidden.reshape(-1, encoder.num_times, encoder.num_joints)
        hidden = jnp.repeat(hidden, encoder.patch_len, axis=1)  # (B, T, V)
        return patches.patchify(hidden[..., None], r * encoder.patch_len)

    def momentum_tokens(self, clips: jax.Array, joints: jax.Array | None = None) -> jax.Array:
        """Tokens of whole clips by the momentum copy of the encoder, (B, N, D); no gradient."""
        # The copy starts equal to the encoder, and does not exist yet during `init`.
        params = (
            self.encoder.variables["params"]
            if self.is_initializing()
            else self.variables["average"]["encoder"]
        )
        copy = self.encoder.clone(parent=None, name=None)
        return jax.lax.stop_gradient(copy.apply({"params": params}, clips, joints=joints))


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
