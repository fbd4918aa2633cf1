"""AMR: adaptive masked reconstruction (Exploring Adaptive Masked Reconstruction, CVPR 2026)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.masked import MaskedReconstruction, mean_squared_error
from amr_jax.models.decoder import QueryDecoder
from amr_jax.models.settings import require, require_choice, require_divides
from amr_jax.ops import motion_energy

LOSS_ON = ("all", "masked")


def focal_loss(
    prediction: jax.Array,
    target: jax.Array,
    weight: jax.Array,
    mask: jax.Array | None = None,
) -> jax.Array:
    """mean ‖√W ⊙ (X_p − X_t)‖², in float32, whatever the dtype of the prediction.

    Args:
      prediction, target, weight: X_p, X_t and W, of one shape (…, elements); W in [0, 1].
      mask: of that shape; the mean runs over the elements where it is True. None: all.

    Returns:
      A scalar.
    """
    error = weight * jnp.square(prediction.astype(jnp.float32) - target)
    return error.mean(where=mask)


class AMR(MaskedReconstruction):
    """Hides most patches, encodes the rest, predicts fewer and larger ones, weighs what moves.

    The paper's symbols, and where they are here:
      X: `clips`, (B, T, V, C), B bodies.
      T: `encoder.num_frames`; V: `encoder.num_joints`; C: `encoder.channels`, of which what is
        predicted has the coordinates, `encoder.num_coordinates`: all but a confidence.
      l: `encoder.patch_len`; T_e = T/l: `encoder.num_times`; X': `targets.patchify` of X.
      N = T_e·V: `encoder.num_patches`; N_v: `num_kept`; C_e: `encoder.width`.
      E_v: `out["embed"]` of the encoder, the embedded visible patches, (B, N_v, C_e).
      H_v: `h_v`, the same after the encoder's blocks.
      r: `r`; N_t = N/r: `num_predicted`; H_q: the decoder's parameter `queries`.
      X_p: `x_p`, predicted large patches, (B, N_t, r·l·C). X_t: `x_t`, their target.
      n: one of `windows`; S, T_w, e_s, e_t, w(e_s) and its curvature k: in `motion_energy`.
      W: `w`, in the shape of X_p.

    Attributes, beside those of `MaskedReconstruction`:
      r: how many times larger, in time, a predicted patch is.
      decoder_self_attention: adds self-attention among queries (the paper's MCA+MSA).
      windows, weighting, k, epsilon, energy_threshold: see `motion_energy.motion_weights`.
      loss_on: `all` predicted elements, or only those of `masked` patches.
    """

    target: str = "motion"
    normalisation: str = "patch"
    r: int = 6
    decoder_self_attention: bool = False
    windows: tuple[int, ...] = (4, 8, 12)
    weighting: str = "ratio"
    k: float = 0.01
    epsilon: float = 1e-8
    energy_threshold: str = "body"
    loss_on: str = "all"

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted."""
        return self.encoder.num_patches // self.r

    def validate(self) -> None:
        """Raises `UserError`, naming keys and sizes, before anything compiles."""
        super().validate()
        self.require_pooling("r", self.r)
        require_choice("config.model.weighting", self.weighting, motion_energy.WEIGHTINGS)
        require_choice(
            "config.model.energy_threshold",
            self.energy_threshold,
            motion_energy.ENERGY_THRESHOLDS,
        )
        require_choice("config.model.loss_on", self.loss_on, LOSS_ON)
        require(self.k > 0, f"config.model.k = {self.k}; expected more than 0.")
        require(self.epsilon > 0, f"config.model.epsilon = {self.epsilon}; expected more than 0.")
        require(len(self.windows) > 0, "config.model.windows is empty; expected e.g. (4, 8, 12).")
        for n in self.windows:
            require_divides(
                "config.model.windows: n",
                n,
                "config.encoder.num_frames",
                self.encoder.num_frames,
            )

    @nn.compact
    def __call__(
        self, clips: jax.Array, deterministic: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: (B, T, V, C) float32, metres.
          deterministic: True switches stochastic depth off; the mask stays random.

        Returns:
          The loss, and metrics: `loss`, `mse` (the same without weights), `weight` (mean of W).
          Needs the random streams `mask` and, where `encoder.drop_path` is positive, `drop_path`.
        """
        ids_keep = self.draw_mask(clips)
        h_v, _ = self.encoder(clips, ids_keep, deterministic)

        large = {**self.decoder_settings(self.r), "num_times": self.encoder.num_times // self.r}
        x_p = QueryDecoder(self_attention=self.decoder_self_attention, **large)(h_v)

        x_t = self.target_patches(clips, self.r)
        w = self.large_patches(
            motion_energy.motion_weights(
                self.coordinates(clips),
                self.windows,
                self.weighting,
                self.k,
                self.epsilon,
                self.energy_threshold,
            ),
            self.r,
        )
        mask = self.hidden_elements(ids_keep, self.r) if self.loss_on == "masked" else None

        loss = focal_loss(x_p, x_t, w, mask)
        mse = mean_squared_error(x_p, x_t, mask)
        return loss, {"loss": loss, "mse": mse, "weight": w.mean()}
