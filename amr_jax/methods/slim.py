"""SLiM: masked features without a decoder, and views of several lengths (arXiv 2603.10648)."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from amr_jax.methods.method import Method, Views, half_cosine
from amr_jax.models.projection import DinoHead
from amr_jax.ops import augment, decorrelation, distort, masking, presence, prototypes, tube_mask
from amr_jax.ops.unit_length import unit_length

# Distortions of the two global views and of local ones: the probability and σ (metres) of normal
# noise, and the probability that an axis is dropped.
_GLOBAL = ((1.0, 0.01, 0.0), (0.1, 0.05, 0.2))
_LOCAL = (0.5, 0.01, 0.0)
# Multiples of it, modulo 1, are spread evenly however many there are.
_GOLDEN = (5**0.5 - 1) / 2


class SLiM(Method):
    """A student learns the prototypes that a momentum teacher assigns to whole views and patches.

    Of a clip there are two global views and, within the interval of each, shorter local ones. The
    teacher sees the global views, whole. The student sees one global view of each body with hidden
    patches, the other one whole, and all local ones with hidden patches, where the encoder's mask
    token stands for what is hidden. Two heads turn class tokens and patch tokens into logits over
    prototypes. For a batch of B bodies, S student views and K prototypes:
      p, the teacher's targets: `sinkhorn_knopp` of its logits over τ_t, (B, 2, K) for class tokens,
        (B, N, K) for the patches of the view that the student sees with hidden ones.
      class_loss: mean cross-entropy of each student view's class token with p of each global view,
        but for a global view with itself.
      koleo: of the class tokens of the student's global views, the mean over the two.
      patch_loss: mean cross-entropy over the hidden patches of a view, then over bodies.
      loss = class_weight · class_loss + koleo_weight · koleo + patch_weight · patch_loss.
    What is absent counts in none of them. docs/methods.md says what the paper leaves open.

    Attributes, in addition to those of `Method`:
      head_hidden, head_out, num_prototypes: sizes of the two heads, see `DinoHead`.
      local_parts: of each local view within a global one: its frames are T / part.
      local_min, local_max: bounds of its interval, as shares of the global view's.
      view_mirror: for every joint the joint on the other side; (): views are not mirrored.
      parts: joints of each body part, along the body. limbs: joints whose bones scale alike.
      bone_change: bones scale by factors within 1 ± this.
      distortion: probability of each of mirror, bone lengths and rotation.
      masking: 'tube' (`ops.tube_mask`) or 'random'.
      mask_ratios: least and largest share of a view that is hidden; they are spread evenly.
      student_temperature; teacher_temperature_start, teacher_temperature: of the softmaxes; the
        teacher's rises in the first `teacher_warmup`, a share of the training.
      sinkhorn_iterations: of `sinkhorn_knopp`.
      class_weight, koleo_weight, patch_weight: of the terms.
      momentum_start, momentum_end: of the teacher, see `half_cosine`.
    """

    head_hidden: int
    head_out: int
    num_prototypes: int
    local_parts: tuple[int, ...]
    local_min: tuple[float, ...]
    local_max: tuple[float, ...]
    view_mirror: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]
    limbs: tuple[tuple[int, ...], ...]
    bone_change: float
    distortion: float
    masking: str
    mask_ratios: tuple[float, float]
    student_temperature: float
    teacher_temperature_start: float
    teacher_temperature: float
    teacher_warmup: float
    sinkhorn_iterations: int
    class_weight: float
    koleo_weight: float
    patch_weight: float
    momentum_start: float
    momentum_end: float

    momentum_encoder = True
    across_bodies = True
    streams = ("mask", "drop_path")

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted, on average."""
        return round(self.encoder.num_patches * sum(self.mask_ratios) / 2)

    @property
    def view_frames(self) -> tuple[int, ...]:
        """Two global views; then, from long to short, the local ones of the first and second."""
        frames = self.encoder.num_frames
        return (frames, frames, *(frames // part for part in sorted(self.local_parts * 2)))

    def momentum(self, progress: jax.Array) -> jax.Array:
        """The momentum of the teacher at this share of the training."""
        return half_cosine(self.momentum_start, self.momentum_end, progress)

    def views(
        self, key: jax.Array, clip: jax.Array, length: jax.Array, **view: Any
    ) -> tuple[Views, Views]:
        """Draws the views of one sequence; see `Method.views` and `view_frames`."""
        frames, local = self.view_frames, len(self.local_parts)
        key, of_noise = jax.random.split(key)
        # All at once: every call of a random function takes long to compile.
        chances = Chances.draw(key, (len(frames),), len(self.limbs))

        of_global = view["min_fraction"], view["max_fraction"]
        shares = sorted(zip(self.local_parts, self.local_min, self.local_max, strict=True))
        # Of each length first those within the first global view.
        places = sorted((part, g, i) for g in range(2) for i, (part, *_) in enumerate(shares))
        low, high = np.array([of_global] * 2 + [shares[i][1:] for *_, i in places]).T
        within = np.array([g for _, g, _ in places])
        fraction = low + (high - low) * chances.fraction
        start, cropped = augment.interval_within(
            0, length, fraction[:2], chances.place[:2], view["min_frames"]
        )
        inner = augment.interval_within(
            start[within], cropped[within], fraction[2:], chances.place[2:], 1
        )
        start, cropped = (jnp.concatenate(x) for x in zip((start, cropped), inner, strict=True))
        noise = jnp.array([*_GLOBAL, *[_LOCAL] * 2 * local])

        # The views one after another, as one clip: all that is of a view is given to its frames.
        of_view = np.repeat(np.arange(len(frames)), frames)
        places = jnp.concatenate([jnp.arange(size) for size in frames])
        chances, start, cropped, noise, sizes = jax.tree.map(
            lambda x: x[of_view], (chances, start, cropped, noise, jnp.array(frames))
        )
        confidence, stream, parents = view["confidence"], view["stream"], view["parents"]
        x, here = augment.crops_with_presence(clip, start, cropped, sizes, places, confidence)
        x, here = self.distorted(of_noise, chances, noise, x, here, **view)
        clips, present = (jnp.split(values, np.cumsum(frames)[:-1]) for values in (x, here))
        return (
            tuple(augment.to_stream(x, stream, parents, confidence) for x in clips),
            tuple(presence.of_view(here, stream, parents) for here in present),
        )

    def distorted(
        self,
        key: jax.Array,
        chances: "Chances",
        noise: jax.Array,
        x: jax.Array,
        present: jax.Array,
        *,
        max_angles: tuple[float, float, float],
        parents: tuple[int, ...],
        confidence: bool,
        **_: Any,
    ) -> tuple[jax.Array, jax.Array]:
        """Frames of joints, each distorted as the view that it is of, and their presence.

        Args:
          key: of noise.
          chances: of every frame, (F, …); all other random numbers.
          noise: (F, 3), as `_LOCAL`.
          x, present: (F, M, V, C) and (F, M, V), see `augment.crops_with_presence`.
          max_angles, parents, confidence: as of `augment.train_view`.
        """
        mirrored, scaled, turned = (chances.distorted < self.distortion).T[..., None]  # (F, 1)
        if self.view_mirror:
            swapped = present[..., jnp.array(self.view_mirror)]
            x = jnp.where(mirrored[..., None, None], augment.mirror(x, self.view_mirror), x)
            present = jnp.where(mirrored[..., None], swapped, present)
        change = jnp.where(scaled, self.bone_change * (2 * chances.limbs - 1), 0)
        of_limb = np.full(len(parents), len(self.limbs))
        for i, joints in enumerate(self.limbs):
            of_limb[list(joints)] = i
        factors = 1 + jnp.pad(change, ((0, 0), (0, 1)))[:, of_limb]  # (F, V)
        x = distort.scale_bones(x, factors[:, None], parents, confidence)
        if any(max_angles):
            angles = jnp.where(turned, jnp.array(max_angles) * (2 * chances.angles - 1), 0)
            x = jax.vmap(functools.partial(augment.rotate, confidence=confidence))(x, angles)
        probability, sigma, dropped = noise.T
        places, _ = augment.split(x, confidence)
        sigma = jnp.where(chances.noise < probability, sigma, 0)
        of_frames = functools.partial(jnp.expand_dims, axis=(1, 2, 3))
        drawn = of_frames(sigma) * jax.random.normal(key, places.shape)
        x = distort.add_noise(x, drawn, confidence)
        axis = (chances.axis * places.shape[-1]).astype(jnp.int32)
        axis = of_frames(jnp.where(chances.dropped < dropped, axis, -1))
        return distort.drop_axis(x, axis, confidence), present

    def draw_masked(self, bodies: int) -> jax.Array:
        """Which of the two global views of each body has hidden patches, (B, 2) bool."""
        second = jax.random.bernoulli(self.make_rng("mask"), 0.5, (bodies, 1))
        return jnp.concatenate([~second, second], axis=1)

    def draw_hidden(self, joints: jax.Array, num_times: tuple[int, ...]) -> list[jax.Array]:
        """Draws masks of S views from the random stream `mask`, (B, patches of the view) bool.

        Args:
          joints: (B, V) bool, the joints of which patches are hidden.
          num_times: patches in time of each view.
        """
        key, key_ratio = jax.random.split(self.make_rng("mask"))
        # Of each view its own start; spread over bodies, whatever the size of the batch.
        spread = jax.random.uniform(key_ratio, (len(num_times),))
        spread = (spread + jnp.arange(len(joints))[:, None] * _GOLDEN) % 1  # (B, S)
        low, high = self.mask_ratios
        times, most = jnp.array(num_times), max(num_times)
        cells = times * joints.sum(1)[:, None]
        budget = jnp.round((low + (high - low) * spread) * cells).astype(jnp.int32)

        def one(key, budget, times, joints):
            if self.masking == "random":
                among = (jnp.arange(most) < times)[:, None] & joints
                return masking.random_hidden(key, budget, among)
            return tube_mask.semantic_tubes(key, budget, times, self.parts, joints, most)

        of_views = jax.vmap(one, in_axes=(0, 0, 0, None))
        keys = jax.random.split(key, budget.shape)
        hidden = jax.vmap(of_views, in_axes=(0, 0, None, 0))(keys, budget, times, joints)
        return [
            hidden[:, view, :size].reshape(len(joints), -1) for view, size in enumerate(num_times)
        ]

    @nn.compact
    def __call__(
        self,
        clips: tuple[jax.Array, ...],
        present: tuple[jax.Array, ...],
        joints: jax.Array | None = None,
        progress: jax.Array | float = 1.0,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch of bodies.

        Args:
          clips: the views, in the order of `view_frames`, (B, T, V, C) float32, metres.
          present: their presence (B, T, V) bool, see `ops.presence`.
          joints: (B, V) bool, which joints the body's data set has; None: all.
          progress: share of the training that is done, 0 to 1.

        Returns:
          The loss, and metrics: `loss` and its terms; `feature_std`, of the student's class tokens
          over bodies, mean over features, and `class_usage`, `patch_usage`, the entropy of the
          teacher's mean assignment over its largest value: both fall to 0 if features collapse.

        Random streams: `mask`; `drop_path` if `encoder.drop_path` is positive.
        """
        # The student sees one global view of each body with hidden patches, the other one whole.
        has = jnp.ones((len(clips[0]), self.encoder.num_joints), bool) if joints is None else joints
        is_masked = self.draw_masked(len(has))  # (B, 2)
        num_times = tuple(x.shape[1] // self.encoder.patch_len for x in clips[1:])
        hidden, *of_local = self.draw_hidden(has, num_times)  # (B, N), …
        whole, here = jnp.stack(clips[:2], 1), jnp.stack(present[:2], 1)  # (B, 2, T, V, …)
        tokens, summaries = self.encode(whole, hidden[:, None] & is_masked[..., None], joints)
        local = [
            self.encode(x, own, joints)[1]
            for x, own in zip(*map(_of_one_length, (clips[2:], of_local)), strict=True)
        ]
        every = jnp.concatenate([summaries, *local], axis=1)  # (B, S, D)
        shown = [x.any((2, 3)) for x in (here, *_of_one_length(present[2:]))]
        shown_whole, shown = shown[0], jnp.concatenate(shown, axis=1)  # (B, 2), (B, S)
        masked = functools.partial(_masked_one, is_masked)
        counted = hidden & self.present_patches(masked(here))  # (B, N)
        sizes = self.head_hidden, self.head_out, self.num_prototypes
        class_head, patch_head = (
            DinoHead(*sizes, self.dtype, name=name) for name in ("class_head", "patch_head")
        )
        logits, patch_logits = class_head(every), patch_head(masked(tokens))

        # The teacher sees the global views whole.
        seen, seen_summaries = self.teach(whole, joints)
        heads = self.momentum_heads("class_head", "patch_head")
        seen_logits = _applied(class_head, heads, seen_summaries)  # (B, 2, K)
        seen_patch_logits = _applied(patch_head, heads, masked(seen))  # (B, N, K)
        tau, iterations = self.temperature(progress), self.sinkhorn_iterations
        p = prototypes.sinkhorn_knopp(seen_logits, tau, iterations, shown_whole)
        p_patch = prototypes.sinkhorn_knopp(seen_patch_logits, tau, iterations, counted)

        summaries = summaries.astype(jnp.float32)
        entropy = prototypes.cross_entropy(p_patch, patch_logits, self.student_temperature)
        terms = {
            "class_loss": class_loss(p, logits, self.student_temperature, shown_whole, shown),
            "koleo": koleo(summaries, shown_whole),
            "patch_loss": presence.mean(presence.mean(entropy, counted, 1), counted.any(1)),
        }
        weights = self.class_weight, self.koleo_weight, self.patch_weight
        loss = sum(weight * term for weight, term in zip(weights, terms.values(), strict=True))
        return loss, {
            "loss": loss,
            **terms,
            "feature_std": decorrelation.feature_std(summaries, shown_whole),
            "class_usage": prototypes.usage(jax.nn.softmax(seen_logits / tau), shown_whole),
            "patch_usage": prototypes.usage(jax.nn.softmax(seen_patch_logits / tau), counted),
        }

    def encode(
        self, clips: jax.Array, hidden: jax.Array, joints: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """The student's tokens (B, n, N, D) and class tokens (B, n, D) of n views of each body.

        Args:
          clips: (B, n, T, V, C).
          hidden: (B, n, N) bool, the patches that the mask token replaces.
          joints: see `__call__`.
        """
        encode = functools.partial(self.encoder.encode, train=True, hidden=_as_bodies(hidden))
        return _each(encode, clips, joints)

    def teach(self, clips: jax.Array, joints: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """As `encode`, by the momentum encoder, of views that it sees whole."""
        return _each(functools.partial(self.momentum_tokens, method="encode"), clips, joints)

    def temperature(self, progress: jax.Array | float) -> jax.Array:
        """τ_t at this share of the training."""
        first, last = self.teacher_temperature_start, self.teacher_temperature
        done = jnp.minimum(progress / self.teacher_warmup, 1) if self.teacher_warmup else 1.0
        return jnp.float32(first + (last - first) * done)


class Chances(NamedTuple):
    """Uniform numbers in [0, 1) for views, (…) each.

    Attributes:
      fraction, place: of the interval. noise, dropped, axis: of noise and of the axis that is left
        out. distorted: (…, 3), of mirror, bones and rotation. angles: (…, 3). limbs: (…, L).
    """

    fraction: jax.Array
    place: jax.Array
    noise: jax.Array
    dropped: jax.Array
    axis: jax.Array
    distorted: jax.Array
    angles: jax.Array
    limbs: jax.Array

    @classmethod
    def draw(cls, key: jax.Array, shape: tuple[int, ...], num_limbs: int) -> "Chances":
        """Draws all of them."""
        x = jax.random.uniform(key, (*shape, 11 + num_limbs))
        x, vectors = jnp.moveaxis(x[..., :5], -1, 0), jnp.split(x[..., 5:], (3, 6), axis=-1)
        return cls(*x, *vectors)


def class_loss(
    p: jax.Array, logits: jax.Array, temperature: float, shown_whole: jax.Array, shown: jax.Array
) -> jax.Array:
    """Mean cross-entropy of each view with both global ones, but for a global one with itself.

    Args:
      p: (B, 2, K), targets of the global views.
      logits: (B, S, K), the global views first. temperature: of their softmax.
      shown_whole, shown: (B, 2) and (B, S) bool, the views in which there is a body.

    Returns:
      A scalar; 0 where there is nobody.
    """
    entropy = prototypes.cross_entropy(p[:, None], logits[:, :, None], temperature)  # (B, S, 2)
    pairs = shown[:, :, None] & shown_whole[:, None]
    return presence.mean(entropy, pairs & ~jnp.eye(*entropy.shape[1:], dtype=bool))


def koleo(summaries: jax.Array, counted: jax.Array) -> jax.Array:
    """KoLeo of the features (B, n, D) of each of n views, the mean over these."""
    unit = unit_length(summaries)
    return jax.vmap(prototypes.koleo, in_axes=1)(unit, counted).mean()


def _of_one_length(views: Sequence[jax.Array]) -> list[jax.Array]:
    """Arrays (B, T, …) of views, those of the same T in one, (B, n, T, …), the longest first."""
    lengths = sorted({x.shape[1] for x in views}, reverse=True)
    return [jnp.stack([x for x in views if x.shape[1] == length], 1) for length in lengths]


def _as_bodies(x: jax.Array) -> jax.Array:
    """(B, n, …) -> (B · n, …): a body's views stay together, and on its device."""
    return x.reshape(-1, *x.shape[2:])


def _each(encode: Callable, clips: jax.Array, joints: jax.Array | None) -> Any:
    """`encode(clips, joints=joints)` of each of n views of each body, (B, n, T, V, C)."""
    bodies, number = clips.shape[:2]
    joints = None if joints is None else jnp.repeat(joints, number, axis=0)
    found = encode(_as_bodies(clips), joints=joints)
    return jax.tree.map(lambda x: x.reshape(bodies, number, *x.shape[1:]), found)


def _masked_one(is_masked: jax.Array, x: jax.Array) -> jax.Array:
    """Of two views (B, 2, …) the one that `is_masked`, (B, 2): (B, …)."""
    first = is_masked[:, 0].reshape(-1, *[1] * (x.ndim - 2))
    return jnp.where(first, x[:, 0], x[:, 1])


def _applied(head: DinoHead, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """What the momentum copy of a head makes of x; `params` by the names of the heads."""
    return head.clone(parent=None, name=None).apply({"params": params[head.name]}, x)
