"""USDRL: decorrelated features of four views, neither a mask nor a momentum encoder (AAAI 2025)."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.methods.method import Method, Views
from amr_jax.models.projection import Projector
from amr_jax.ops import augment, decorrelation, distort, presence

NUM_VIEWS = 4


def similarity_loss(z: Sequence[jax.Array], counted: jax.Array) -> jax.Array:
    """How far three views are from the fourth, and from their own mean; a sum of squared errors.

    Args:
      z: four views, each (B, D) float32.
      counted: (B,) bool; each error is a mean over these bodies and the features.
    """
    *three, fourth = z
    centre = sum(three) / len(three)
    errors = [jnp.square(one - other) for one in three for other in (fourth, centre)]
    return sum(presence.mean(error, counted[:, None]) for error in errors)


class USDRL(Method):
    """Pulls views of a clip together, and keeps features spread and uncorrelated over the batch.

    Each view is a crop whose joints are all sheared or partly corrupted. All its tokens are
    encoded, and become one feature at each of three levels, with a projector of its own:
      instance: the mean over all tokens;
      temporal: means over the joints of each time, their largest value over times;
      spatial: means over the times of each joint, their largest value over joints.
    Means and largest values run over patches that show the body. A body counts if all of its views
    show it.

    In the paper, a level has an encoder of its own (of whole frames, of whole joints), the
    instance joins both, and the encoder differs; the loss, its weights and the distortions are the
    authors' code's.

    Attributes:
      projector_width: features of the layers of the projectors; the instance's last has twice that.
      temporal_weight, spatial_weight: of these levels, relative to the instance's.
      similarity_weight: of `similarity_loss`.
      variance_weight, covariance_weight: of `decorrelation.variance_hinge` and `covariance`, sums
        over views.
      correlation_weight: of `decorrelation.barlow`, a sum over pairs of views.
      off_diagonal: of correlations between different features in it.
      view_corruption: probability that a view is corrupted and not sheared.
      corrupted_joints: share of the joints that are corrupted, see `distort.random_corruption`.
      view_shear: see `distort.random_shear`.
    """

    projector_width: int
    temporal_weight: float
    spatial_weight: float
    similarity_weight: float
    variance_weight: float
    covariance_weight: float
    correlation_weight: float
    off_diagonal: float
    view_corruption: float
    corrupted_joints: float
    view_shear: float

    across_bodies = True  # all terms but the similarity are statistics of the batch

    @property
    def view_frames(self) -> tuple[int, ...]:
        """Frames of each view."""
        return (self.encoder.num_frames,) * NUM_VIEWS

    def views(
        self, key: jax.Array, clip: jax.Array, length: jax.Array, **view: Any
    ) -> tuple[Views, Views]:
        """Four views of one sequence, each with its own crop, rotation and distortion."""
        stream, parents = view["stream"], view["parents"]
        confidence = view["confidence"]

        def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            keys = jax.random.split(key)
            joints = view | {"stream": "joint"}
            drawn, here = augment.train_view(keys[0], clip, length, **joints)
            drawn = self.distorted(keys[1], drawn, confidence)
            here = presence.of_view(here, stream, parents)
            return augment.to_stream(drawn, stream, parents, confidence), here

        clips, present = jax.vmap(one)(jax.random.split(key, NUM_VIEWS))
        return tuple(clips), tuple(present)

    def distorted(self, key: jax.Array, clip: jax.Array, confidence: bool) -> jax.Array:
        """The clip with corrupted joints, or sheared."""
        keys = jax.random.split(key, 3)
        number = round(self.corrupted_joints * clip.shape[-2])
        corrupted = distort.random_corruption(keys[1], clip, number, confidence)
        sheared = distort.random_shear(keys[2], clip, self.view_shear, confidence)
        return jnp.where(jax.random.bernoulli(keys[0], self.view_corruption), corrupted, sheared)

    def features(self, tokens: jax.Array, here: jax.Array) -> dict[str, jax.Array]:
        """The feature of each level, (..., D) float32; 0 where no patch shows the body.

        Args:
          tokens: (..., N, D).
          here: (..., N) bool, the patches that show the body.
        """
        grid = self.encoder.num_times, self.encoder.num_joints
        tokens = tokens.astype(jnp.float32).reshape(*here.shape[:-1], *grid, -1)
        here = here.reshape(*here.shape[:-1], *grid, 1)

        def largest(means: jax.Array, known: jax.Array) -> jax.Array:
            found = jnp.where(known, means, -jnp.inf).max(-2)
            return jnp.where(known.any(-2), found, 0)

        return {
            "instance": presence.mean(tokens, here, (-3, -2)),
            "temporal": largest(presence.mean(tokens, here, -2), here.any(-2)),
            "spatial": largest(presence.mean(tokens, here, -3), here.any(-3)),
        }

    def terms(self, z: Sequence[jax.Array], counted: jax.Array) -> dict[str, jax.Array]:
        """The unweighted terms of the loss of one level, of its projected views, each (B, D)."""
        correlations = [
            decorrelation.cross_correlation(one, other, counted)
            for one, other in itertools.combinations(z, 2)
        ]
        return {
            "similarity": similarity_loss(z, counted),
            "variance": sum(decorrelation.variance_hinge(one, counted) for one in z),
            "covariance": sum(decorrelation.covariance(one, counted) for one in z),
            "correlation": sum(decorrelation.barlow(c, self.off_diagonal) for c in correlations),
        }

    @nn.compact
    def __call__(
        self,
        clips: tuple[jax.Array, ...],
        present: tuple[jax.Array, ...],
        joints: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: four views, each (B, T, V, C) float32, metres.
          present: of each (B, T, V) bool, see `ops.presence`.
          joints: (B, V) bool, which joints the body's data set has; None: all.

        Returns:
          The loss, and metrics: `loss`; its terms, each the weighted sum over levels; `feature_std`
          of the instance before the projector, to watch for a collapse. Random streams:
          `drop_path` if `encoder.drop_path` is positive.
        """
        # The four views of a body are rows of one batch for the encoder.
        together = jnp.stack(clips, axis=1)  # (B, 4, T, V, C)
        here = jnp.stack([self.present_patches(one) for one in present], axis=1)  # (B, 4, N)
        joints = None if joints is None else jnp.repeat(joints, NUM_VIEWS, axis=0)
        rows = together.reshape(-1, *together.shape[2:])
        tokens = self.encoder(rows, train=True, joints=joints)
        features = self.features(tokens.reshape(*here.shape, -1), here)
        counted = here.any(-1).all(-1)  # (B,)

        weights = {
            "instance": 1.0,
            "temporal": self.temporal_weight,
            "spatial": self.spatial_weight,
        }
        found = {}
        for level, feature in features.items():
            width = self.projector_width
            widths = (width, width, 2 * width if level == "instance" else width)
            projector = Projector(widths, self.dtype, last_bias=False, name=f"{level}_projector")
            z = [projector(feature[:, view], counted) for view in range(NUM_VIEWS)]
            found[level] = self.terms(z, counted)
        metrics = {
            term: sum(weights[level] * found[level][term] for level in weights)
            for term in found["instance"]
        }
        loss = (
            self.similarity_weight * metrics["similarity"]
            + self.variance_weight * metrics["variance"]
            + self.covariance_weight * metrics["covariance"]
            + self.correlation_weight * metrics["correlation"]
        )
        loss = jnp.where(counted.any(), loss, 0)
        std = decorrelation.feature_std(features["instance"][:, 0], counted)
        return loss, {"loss": loss, **metrics, "feature_std": std}
