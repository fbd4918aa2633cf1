"""S-JEPA: predicts the representation of what is hidden, not its coordinates (ECCV 2024)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods import momentum
from amr_jax.methods.masked import MaskedMethod
from amr_jax.models.decoder import SelfAttentionDecoder
from amr_jax.models.settings import require
from amr_jax.ops import augment


def distribution_loss(
    prediction: jax.Array,
    target: jax.Array,
    centre: jax.Array,
    mask: jax.Array,
    target_temperature: float,
    prediction_temperature: float,
) -> jax.Array:
    """Cross-entropy over the feature axis between a sharpened target and a prediction, float32.

    Args:
      prediction, target: (B, N, D).
      centre: (D,), taken off the targets.
      mask: (B, N); the mean runs over the patches where it is True.
      target_temperature, prediction_temperature: divide the logits.

    Returns:
      A scalar.
    """
    p = jax.nn.softmax((target.astype(jnp.float32) - centre) / target_temperature)
    log_q = jax.nn.log_softmax(prediction.astype(jnp.float32) / prediction_temperature)
    return -(p * log_q).sum(-1).mean(where=mask)


class SJEPA(MaskedMethod):
    """Encodes the visible patches of a transformed view, predicts a target encoder's tokens.

    The target encoder is a moving average of the encoder and sees the whole clip as it came; the
    encoder sees it rotated, shifted and mirrored at random. Whether both should see the same view
    is not stated: `shared_view`. Nor is where the mask comes from: here, from the clip as it came,
    also for a mirrored view. With both mirrored alike, and the mask to it, NW-UCLA gave far less
    (README). The centre of the targets is a moving average in the collection `state`.

    Attributes, beside those of `MaskedMethod`:
      view_angles: radians about x, y, z, the bounds of a random rotation; zeros: none.
      view_shift: metres (in an image, body sizes), the bound of a random translation along each
        axis; 0: none. Moving a body changes neither its bones nor its motion: those streams are
        left as they are.
      view_mirror: the joint on the other side for every joint: half of the views are left-right
        flipped; (): none.
      shared_view: the target encoder sees the transformed view, too.
      target_temperature, prediction_temperature: of the two softmaxes.
      centre_momentum: share that the centre keeps of itself at a step.
      momentum_start, momentum_end: see `momentum.cosine`.
    """

    masking: str = "motion_aware"
    view_angles: tuple[float, float, float] = (0.3, 0.3, 0.3)
    view_shift: float = 0.1
    view_mirror: tuple[int, ...] = ()
    shared_view: bool = False
    target_temperature: float = 0.06
    prediction_temperature: float = 0.1
    centre_momentum: float = 0.9
    momentum_start: float = 0.9999
    momentum_end: float = 1.0

    momentum_encoder = True
    streams = ("mask", "drop_path", "view")

    def momentum(self, progress: jax.Array) -> jax.Array:
        """Share that the target encoder keeps of itself at an update."""
        return momentum.cosine(self.momentum_start, self.momentum_end, progress)

    def validate(self) -> None:
        """Raises `UserError`, naming keys and sizes, before anything compiles."""
        super().validate()
        momentum.validate(self)
        for name in ("target_temperature", "prediction_temperature"):
            value = getattr(self, name)
            require(value > 0, f"config.model.{name} = {value}; expected more than 0.")
        require(
            0 <= self.centre_momentum < 1,
            f"config.model.centre_momentum = {self.centre_momentum}; expected 0 or more and "
            "below 1.",
        )
        require(
            sorted(self.view_mirror) in ([], list(range(self.encoder.num_joints))),
            f"config.model.view_mirror = {self.view_mirror}; expected each of the "
            f"{self.encoder.num_joints} joints once, or ().",
        )

    def view(self, clips: jax.Array) -> jax.Array:
        """The clips (B, T, V, C), each transformed at random."""

        def one(key, clip):
            keys, view = jax.random.split(key, 3), clip
            confidence = self.encoder.confidence
            if any(self.view_angles):
                view = augment.random_rotate(keys[0], view, self.view_angles, confidence)
            if self.view_mirror:
                view = augment.random_mirror(keys[1], view, self.view_mirror)
            if self.view_shift and self.input_stream == "joint":
                shifted = augment.random_shift(keys[2], view, self.view_shift, confidence)
                view = jnp.where(clip.any(), shifted, view)  # an absent body stays zero
            return view

        return jax.vmap(one)(jax.random.split(self.make_rng("view"), len(clips)), clips)

    @nn.compact
    def __call__(
        self, clips: jax.Array, deterministic: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: (B, T, V, C) float32, metres.
          deterministic: True switches stochastic depth off; mask and view stay random.

        Returns:
          The loss, and metrics: `loss`, `target_std` (of the targets over bodies and patches, mean
          over features). Random streams: those of `AMR`, and `view`.
        """
        ids_keep = self.draw_mask(clips)
        view = self.view(clips)
        tokens, _ = self.encoder(view, ids_keep, deterministic)
        settings = {**self.decoder_settings(), "values": self.encoder.width}
        prediction = SelfAttentionDecoder(**settings)(tokens, ids_keep)

        target = self.momentum_tokens(view if self.shared_view else clips).astype(jnp.float32)
        centre = self.variable("state", "centre", jnp.zeros, (self.encoder.width,))
        loss = distribution_loss(
            prediction,
            target,
            centre.value,
            self.hidden_patches(ids_keep).reshape(len(clips), -1, 1)[..., 0],
            self.target_temperature,
            self.prediction_temperature,
        )
        if self.is_mutable_collection("state") and not self.is_initializing():
            keep = self.centre_momentum
            centre.value = keep * centre.value + (1 - keep) * target.mean((0, 1))
        return loss, {"loss": loss, "target_std": target.std((0, 1)).mean()}
