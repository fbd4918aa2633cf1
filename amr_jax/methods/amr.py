"""AMR: adaptive masked reconstruction (Exploring Adaptive Masked Reconstruction, CVPR 2026)."""

import math

import jax
from flax import linen as nn

from amr_jax.methods.masked import MaskedReconstruction, mean_squared_error
from amr_jax.models.decoder import QueryDecoder
from amr_jax.ops import motion_energy, patches, presence


class AMR(MaskedReconstruction):
    """Hides most patches, encodes the rest, predicts fewer and larger ones, weighted by motion.

    Symbols of the paper and their names here, for a batch of B bodies:
      X: `clips`, (B, T, V, C). T: `encoder.num_frames`; V: `encoder.num_joints`; C:
        `encoder.channels`; in the shapes of X_p and X_t only the coordinates, without a confidence.
      l: `encoder.patch_len`; T_e = T/l: `encoder.num_times`; N = T_e·V: `encoder.num_patches`.
      N_v: `num_kept`, visible patches; H_v: `h_v`, the encoded visible patches, (B, N_v, width).
      r: `r`; N_t = N/r: `num_predicted`; H_q: the parameter `queries` of the decoder.
      X_p: `x_p`, the prediction, and X_t: `x_t`, the target, (B, T_e/r, V, r·l, C).
      n: one of `windows`; S, T_w, e_s, e_t, w(e_s), its curvature k: see `motion_energy`.
      W: `w`, the weight of every predicted frame, (B, T_e/r, V, r·l, 1).
    The paper says nothing of frames in which the body is absent: they do not count (`present`).

    Attributes, in addition to those of `MaskedReconstruction`:
      r: how many times larger, in time, a predicted patch is.
      decoder_self_attention: adds self-attention among queries (MCA+MSA in the paper).
      windows, weighting, k, epsilon, energy_threshold: see `motion_energy.motion_weights`.
      loss_on: `all` predicted frames, or only the `masked` (hidden) ones.
    """

    r: int
    decoder_self_attention: bool
    windows: tuple[int, ...]
    weighting: str
    k: float
    epsilon: float
    energy_threshold: str
    loss_on: str

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted."""
        return self.encoder.num_patches // self.r

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
          The loss, and metrics: `loss`, `mse` (the unweighted loss), `weight` (mean of W).

        Random streams: `mask`; `drop_path` if `encoder.drop_path` is positive.
        """
        # Masking and encoding.
        ids_keep = self.draw_mask(clips, present, joints)
        h_v = self.encoder(clips, ids_keep, train=True)

        # Decoder decoupling: one query for each large patch, r patches long.
        x_t, counted = self.target_patches(clips, present, self.r)
        decoder = self.make_decoder(
            QueryDecoder,
            num_times=self.encoder.num_times // self.r,
            values=math.prod(x_t.shape[3:]),
            self_attention=self.decoder_self_attention,
        )
        x_p = decoder(h_v).reshape(x_t.shape)

        # Motion energy, fused over the temporal windows.
        w = motion_energy.motion_weights(
            self.coordinates(clips),
            present,
            self.windows,
            self.weighting,
            self.k,
            self.epsilon,
            self.energy_threshold,
        )
        w = patches.patchify(w[..., None], self.r * self.encoder.patch_len)
        weight = presence.mean(w, counted)

        # Focal reconstruction.
        if self.loss_on == "masked":
            counted &= self.hidden_frames(ids_keep, self.r)
        loss = mean_squared_error(x_p, x_t, counted, w)
        mse = mean_squared_error(x_p, x_t, counted)
        return loss, {"loss": loss, "mse": mse, "weight": weight}
