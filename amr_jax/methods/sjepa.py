"""S-JEPA: predicts the representation of hidden patches, not their coordinates (ECCV 2024)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.masked import MaskedMethod
from amr_jax.methods.method import half_cosine
from amr_jax.models.decoder import SelfAttentionDecoder
from amr_jax.ops import augment, decorrelation, masking, presence


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
      centre: (D,), subtracted from the targets.
      mask: (B, N); the mean runs over the patches where it is True.
      target_temperature, prediction_temperature: of the two softmaxes.

    Returns:
      A scalar; 0 where no patch counts.
    """
    p = jax.nn.softmax((target.astype(jnp.float32) - centre) / target_temperature)
    log_q = jax.nn.log_softmax(prediction.astype(jnp.float32) / prediction_temperature)
    return presence.mean(-(p * log_q).sum(-1), mask)


class SJEPA(MaskedMethod):
    """Encodes visible patches of a transformed view, predicts the tokens of a target encoder.

    The target encoder is a moving average of the encoder and sees the whole, untransformed clip;
    the encoder sees the clip rotated, shifted and mirrored at random. The paper does not state
    whether both see the same view (here: `shared_view`), nor which clip the mask is drawn from
    (here: the untransformed one). The centre of the targets is a moving average in the collection
    `state`. Patches that do not show the body count neither in the loss nor in the centre.

    Attributes, in addition to those of `MaskedMethod`:
      view_angles: bounds of a random rotation about x, y, z in radians; zeros: none.
      view_shift: bound of a random translation along each axis in metres (in an image, in body
        sizes); 0: none. Applied only to the joint stream: bones and motion do not change with it.
      view_mirror: for every joint the joint on the other side; half of the views are flipped left
        to right. (): none.
      shared_view: whether the target encoder also sees the transformed view.
      target_temperature, prediction_temperature: of the two softmaxes.
      centre_momentum: momentum of the centre.
      momentum_start, momentum_end: of the target encoder, see `half_cosine`.
    """

    view_angles: tuple[float, float, float]
    view_shift: float
    view_mirror: tuple[int, ...]
    shared_view: bool
    target_temperature: float
    prediction_temperature: float
    centre_momentum: float
    momentum_start: float
    momentum_end: float

    momentum_encoder = True
    streams = ("mask", "drop_path", "view")

    def momentum(self, progress: jax.Array) -> jax.Array:
        """The momentum of the target encoder at this share of the training."""
        return half_cosine(self.momentum_start, self.momentum_end, progress)

    def view(self, clips: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The clips (B, T, V, C), each transformed at random, and their presence (B, T, V)."""

        def one(key, clip, here):
            keys, view = jax.random.split(key, 3), clip
            confidence = self.encoder.confidence
            if any(self.view_angles):
                view = augment.random_rotate(keys[0], view, self.view_angles, confidence)
            if self.view_mirror:
                both = jnp.concatenate([view, here[..., None]], axis=-1)
                both = augment.random_mirror(keys[1], both, self.view_mirror)
                view, here = both[..., :-1], both[..., -1] > 0
            if self.view_shift and self.input_stream == "joint":
                shifted = augment.random_shift(keys[2], view, self.view_shift, confidence)
                # What is absent remains zero, and so does an absent body of which all frames count.
                view = jnp.where(here[..., None] & clip.any(), shifted, view)
            return view, here

        return jax.vmap(one)(jax.random.split(self.make_rng("view"), len(clips)), clips, present)

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
          The loss, and metrics: `loss`, `target_std` (of the targets over bodies and patches, mean
          over features). Random streams: those of `AMR`, and `view`.
        """
        ids_keep = self.draw_mask(clips, present, joints)
        view, view_present = self.view(clips, present)
        tokens = self.encoder(view, ids_keep, train=True)
        predictor = self.make_decoder(
            SelfAttentionDecoder,
            num_times=self.encoder.num_times,
            values=self.encoder.width,
            pool=1,
        )
        prediction = predictor(tokens, ids_keep, joints=joints)

        seen, present = (view, view_present) if self.shared_view else (clips, present)
        target = self.momentum_tokens(seen, joints=joints).astype(jnp.float32)
        here = self.present_patches(present)  # (B, N)
        centre = self.variable("state", "centre", jnp.zeros, (self.encoder.width,))
        loss = distribution_loss(
            prediction,
            target,
            centre.value,
            here & masking.is_hidden(ids_keep, self.encoder.num_patches),
            self.target_temperature,
            self.prediction_temperature,
        )
        if self.is_mutable_collection("state") and not self.is_initializing():
            keep = jnp.where(here.any(), self.centre_momentum, 1.0)
            mean = presence.mean(target, here[..., None], (0, 1))
            centre.value = keep * centre.value + (1 - keep) * mean
        return loss, {"loss": loss, "target_std": decorrelation.feature_std(target, here)}
