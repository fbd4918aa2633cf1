"""GFP: general feature prediction; small networks compute the targets (2025)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.masked import MaskedMethod, mean_squared_error
from amr_jax.models import layers
from amr_jax.models.decoder import PoolingDecoder
from amr_jax.ops import patches, targets


def variance_loss(features: jax.Array, gamma: float = 1.0) -> jax.Array:
    """Hinge on the standard deviation of each feature, mean of max(0, γ − std): (n, D) -> ()."""
    std = jnp.sqrt(features.var(0) + 1e-4)
    return jnp.maximum(0.0, gamma - std).mean()


def covariance_loss(features: jax.Array) -> jax.Array:
    """Sum of the squared covariances of different features, divided by D: (n, D) -> ()."""
    n, width = features.shape
    centred = features - features.mean(0)
    covariance = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / max(n - 1, 1)
    squares = jnp.square(covariance)
    return (squares.sum() - jnp.trace(squares)) / width


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
    and a gradient of the prediction term into both sides.

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

    def level_targets(self, clips: jax.Array) -> list[jax.Array]:
        """The targets of each level, (B, N/level, feature_width), the whole body last; float32."""
        motion = targets.motion(self.coordinates(clips), axis=-3)
        motion = motion / jnp.sqrt(jnp.square(motion).mean((1, 2, 3), keepdims=True) + 1e-8)
        cells = [
            patches.flatten(patches.patchify(motion, level * self.encoder.patch_len))
            for level in self.levels
        ]
        cells.append(motion.reshape(len(clips), 1, -1))
        features = []
        for i, values in enumerate(cells):
            hidden = self.hidden if i < len(self.levels) else self.global_hidden
            network = TargetMlp(hidden, self.feature_width, self.dtype, name=f"target_{i}")
            features.append(network(values).astype(jnp.float32))
        return features

    @nn.compact
    def __call__(self, clips: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: (B, T, V, C) float32, metres.

        Returns:
          The loss, and metrics: `loss`, its terms `prediction`, `covariance`, `variance` (means
          over levels), `target_std`. Random streams as in `AMR`.
        """
        ids_keep = self.draw_mask(clips)
        tokens = self.encoder(clips, ids_keep, train=True)
        decoder = self.make_decoder(
            PoolingDecoder,
            num_times=self.encoder.num_times,
            values=self.feature_width,
            levels=self.levels,
        )
        predictions = decoder(tokens, ids_keep)
        features = self.level_targets(clips)

        flat = [feature.reshape(-1, self.feature_width) for feature in features]
        metrics = {
            "prediction": _mean(map(mean_squared_error, predictions, features)),
            "covariance": _mean(map(covariance_loss, flat)),
            "variance": _mean(map(variance_loss, flat)),
            "target_std": _mean(feature.std(0).mean() for feature in flat),
        }
        loss = (
            self.prediction_weight * metrics["prediction"]
            + self.covariance_weight * metrics["covariance"]
            + self.variance_weight * metrics["variance"]
        )
        return loss, {"loss": loss, **metrics}


def _mean(values) -> jax.Array:
    return jnp.stack(list(values)).mean()
