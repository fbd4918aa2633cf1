"""GFP: general feature prediction; small networks compute the targets (2025)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.masked import MaskedMethod, mean_squared_error
from amr_jax.models import layers
from amr_jax.models.decoder import PoolingDecoder
from amr_jax.ops import decorrelation, patches, presence, targets


class TargetMlp(nn.Module):
    """The target network of one level: three linear layers, GELU between; (…, values) -> (…, D)."""

    hidden: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for name in ("fc1", "fc2"):
            x = nn.gelu(layers.dense(self.hidden, self.dtype, name)(x), approximate=False)
        return layers.dense(self.width, self.dtype, "fc3")(x)


class GFP(MaskedMethod):
    """Predicts features of motion at several scales; encoder and target networks train together.

    Every level cuts the motion of the body into cells, `levels` patches of one joint; a last level
    is the whole body. A small network turns each cell into a feature, which the decoder predicts;
    terms on variance and covariance prevent the collapse of the features. The paper does not state
    the following, chosen here: two blocks a level (the linear layers then cost the 4.1 GFLOPs that
    it reports), GELU in the target networks, motion divided by its root mean square over the body,
    and a gradient of the prediction term into both sides. A cell counts if motion is known in a
    frame of it; unknown motion is 0.

    Attributes, in addition to those of `MaskedMethod`:
      decoder_depth: blocks of each level.
      levels: patches in time of one cell of each level.
      feature_width: width of the targets.
      hidden, global_hidden: hidden width of the target networks of the levels and of the body.
      prediction_weight, covariance_weight, variance_weight: of the three terms.
    """

    levels: tuple[int, ...]
    feature_width: int
    hidden: int
    global_hidden: int
    prediction_weight: float
    covariance_weight: float
    variance_weight: float

    across_bodies = True  # variance and covariance are those of the batch

    @property
    def num_predicted(self) -> int:
        """Predictions for a body, over all levels."""
        return sum(self.encoder.num_patches // level for level in self.levels) + 1

    def level_targets(
        self, clips: jax.Array, present: jax.Array
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """The targets of each level, (B, N/level, feature_width) float32, the whole body last.

        And which of them count, (B, N/level).
        """
        known = presence.of_motion(present, 1)[..., None]
        motion = jnp.where(known, targets.motion(self.coordinates(clips), axis=-3, stride=1), 0)
        square = presence.mean(jnp.square(motion), known, (1, 2, 3), keepdims=True)
        motion = motion / jnp.sqrt(square + 1e-8)

        def cut(values):
            lengths = [level * self.encoder.patch_len for level in self.levels]
            cells = [patches.flatten(patches.patchify(values, length)) for length in lengths]
            return [*cells, values.reshape(len(values), 1, -1)]

        cells, counted = cut(motion), [cell.any(-1) for cell in cut(known)]
        features = []
        for i, values in enumerate(cells):
            hidden = self.hidden if i < len(self.levels) else self.global_hidden
            network = TargetMlp(hidden, self.feature_width, self.dtype, name=f"target_{i}")
            features.append(network(values).astype(jnp.float32))
        return features, counted

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
          The loss, and metrics: `loss`, its terms `prediction`, `covariance`, `variance` (means
          over levels), `target_std`. Random streams as in `AMR`.
        """
        ids_keep = self.draw_mask(clips, present, joints)
        tokens = self.encoder(clips, ids_keep, train=True)
        decoder = self.make_decoder(
            PoolingDecoder,
            num_times=self.encoder.num_times,
            values=self.feature_width,
            levels=self.levels,
        )
        predictions = decoder(tokens, ids_keep, joints)
        features, counted = self.level_targets(clips, present)

        cells = [here[..., None] for here in counted]
        flat = [
            (feature.reshape(-1, self.feature_width), here.reshape(-1))
            for feature, here in zip(features, counted, strict=True)
        ]
        metrics = {
            "prediction": _mean(map(mean_squared_error, predictions, features, cells)),
            "covariance": _mean(decorrelation.covariance(*level) for level in flat),
            "variance": _mean(decorrelation.variance_hinge(*level) for level in flat),
            "target_std": _mean(decorrelation.feature_std(*level) for level in flat),
        }
        loss = (
            self.prediction_weight * metrics["prediction"]
            + self.covariance_weight * metrics["covariance"]
            + self.variance_weight * metrics["variance"]
        )
        return loss, {"loss": loss, **metrics}


def _mean(values) -> jax.Array:
    return jnp.stack(list(values)).mean()
