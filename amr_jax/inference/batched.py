"""A trained model as one program over whole batches, without loops, sorting or indexing.

It computes what `apply` computes, up to rounding, from operations that other formats know, too:
frames and bodies are selected by products with rows of zeros and ones. All bodies are encoded,
absent ones with them, in float32 whatever the model's dtype is.
"""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.inference.apply import Input, Model
from amr_jax.models.heads import READOUTS
from amr_jax.ops import augment
from amr_jax.ops.body_frame import BodyFrame
from amr_jax.skeleton import layouts

_SHORTEST = 1e-3  # metres, as in `ops.body_frame`


def outputs(model: Model, joints: jax.Array, length: jax.Array, readout: str = "mean") -> jax.Array:
    """Logits (b, K), or features (b, F) without a head; arguments as of `apply.features`."""
    encoder, variables = model.encoder.clone(dtype=jnp.float32), model.variables
    num_bodies = joints.shape[2]
    clips, here = _views(model, joints, length)
    params = {"params": variables["params"]["encoder"]}
    tokens = encoder.apply(params, clips.reshape(-1, *clips.shape[2:]))
    if model.head:
        each = model.head.of_body(tokens)
    else:
        each = READOUTS[readout](tokens, encoder.num_joints)
    each = each.reshape(-1, num_bodies, each.shape[-1])  # (b, M, F)
    here = here.astype(jnp.float32)[..., None]
    if model.bodies == "packed":
        pooled = (each * here).sum(axis=1) / jnp.maximum(here.sum(axis=1), 1)
    else:
        if model.bodies == "repeat":
            of_first = (each * _first(here, axis=1)).sum(axis=1, keepdims=True)
            # Nobody is there: all bodies are zeros, and alike.
            each = jnp.where((here > 0) | (here.sum(axis=1, keepdims=True) == 0), each, of_first)
        pooled = each.sum(axis=1) / num_bodies
    if not model.head:
        return pooled
    head = {name: trees["head"] for name, trees in variables.items() if "head" in trees}
    return model.head.apply(head, pooled)


def _views(model: Model, joints: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The encoder's input (b, M, T, V, C), and which bodies are there (b, M)."""
    size, encoder = model.input, model.encoder
    real = jnp.arange(size.max_frames) < length[:, None]
    joints = jnp.where(real[:, :, None, None, None], joints, 0)
    found = _found(joints, size.channels)  # (b, L, M, V)
    occupied = found.any(axis=(2, 3))
    joints = _normalised(size, joints, found)
    weights = _resampling(occupied, encoder.num_frames, size.test_fraction)
    view = jnp.einsum("btl,blmvc->tbmvc", weights, joints)  # time first, as `to_stream` takes it
    view = augment.to_stream(view, size.stream, size.parents, encoder.confidence)
    return jnp.transpose(view, (1, 2, 0, 3, 4)), found.any(axis=(1, 3))


def _found(joints: jax.Array, channels: str) -> jax.Array:
    """`normalise.found` of a batch, (b, L, M, V)."""
    if channels == "xyz":
        body = (joints != 0).any(axis=(3, 4))[..., None]
        return body & jnp.ones(joints.shape[3], bool)
    placed = (joints[..., :2] != 0).any(axis=-1)
    return placed & (joints[..., 2] > 0) if channels == "xyc" else placed


def _first(here: jax.Array, axis: int) -> jax.Array:
    """1 at the first entry along the axis that is not 0, 0 elsewhere; float32."""
    here = here.astype(jnp.float32)
    return here * (jnp.cumsum(here, axis=axis) == 1)


def _normalised(size: Input, joints: jax.Array, found: jax.Array) -> jax.Array:
    """`normalise.normalise` of a batch."""
    slot = _first(found.any(axis=(1, 3)), axis=1)  # (b, M), the first actor
    seen = jnp.einsum("bm,blmv->blv", slot, found.astype(jnp.float32))
    of_actor = jnp.asarray(found[..., None], jnp.float32) * joints
    actor = jnp.einsum("bm,blmvc->blvc", slot, of_actor)
    is_place = jnp.arange(joints.shape[-1]) < layouts.num_coordinates(size.channels)
    scale = 1.0 if size.channels == "xyz" else _body_size(actor[..., :2], seen)
    if size.centre is not None:
        origin = jnp.where(is_place, _origin(size, actor, seen), 0)
        joints = jnp.where(found[..., None], joints - origin[:, None, None, None], 0)
    elif size.channels != "xyz":
        joints = jnp.where(found[..., None], joints, 0)
    if size.channels != "xyz":
        return joints / jnp.where(is_place, scale, 1)
    if size.body_frame == "none":
        return joints
    slots = jnp.einsum("bm,blmvc->blvc", slot, joints)
    axes = _axes(BodyFrame.of(size.body_frame, size.joints), slots, seen)
    return jnp.einsum("blmvc,bdc->blmvd", joints, axes)


def _origin(size: Input, actor: jax.Array, seen: jax.Array) -> jax.Array:
    """The origin that `normalise.move_origin` takes, (b, C)."""
    centre = np.atleast_1d(size.centre)
    share = np.zeros(len(size.joints), np.float32)
    share[centre] = 1 / len(centre)
    together = (seen * (share > 0)).sum(axis=-1) > len(centre) - 0.5  # (b, L)
    of_centre = jnp.einsum("bl,blvc,v->bc", _first(together, 1), actor, share)
    frame = _first(seen.any(axis=-1), axis=1)
    count = jnp.maximum(jnp.einsum("bl,blv->b", frame, seen), 1)
    of_all = jnp.einsum("bl,blvc->bc", frame, actor) / count[:, None]
    return jnp.where(together.any(axis=1)[:, None], of_centre, of_all)


def _body_size(actor: jax.Array, seen: jax.Array) -> jax.Array:
    """`normalise.body_size` of actors (b, L, V, 2), as (b, 1, 1, 1, 1)."""
    seen = seen[..., None]
    middle = actor.sum(axis=2, keepdims=True) / jnp.maximum(seen.sum(axis=2, keepdims=True), 1)
    squares = (jnp.square(actor - middle) * seen).sum(axis=(1, 2, 3))
    found = jnp.sqrt(squares / jnp.maximum(seen.sum(axis=(1, 2, 3)), 1))
    return jnp.where(found > 0, found, 1)[:, None, None, None, None]


def _axes(how: BodyFrame, actor: jax.Array, seen: jax.Array) -> jax.Array:
    """`body_frame.rotation` of actors (b, L, V, 3), as (b, 3, 3)."""
    up, right = np.zeros((2, actor.shape[2]), np.float32)
    up[[how.left_shoulder, how.right_shoulder]] = 0.5
    up[[how.left_hip, how.right_hip]] = -0.5
    right[[how.right_shoulder, how.right_hip]] = 1
    right[[how.left_shoulder, how.left_hip]] = -1
    here = (actor != 0).any(axis=(2, 3)).astype(jnp.float32)  # (b, L)
    each = jnp.einsum("dv,blvc->blcd", np.stack([up, right]), actor)
    count = here.sum(axis=1)
    if how.kind == "mean":
        both = each.sum(axis=1) / jnp.maximum(count, 1)[:, None, None]
    else:  # the median of the first three frames; of fewer, the last is repeated
        rank = jnp.cumsum(here, axis=1) - 1
        a, b, c = (
            jnp.einsum(
                "bl,blcd->bcd",
                here * (rank == jnp.clip(count - 1, 0, k)[:, None]).astype(jnp.float32),
                each,
            )
            for k in range(3)
        )
        both = jnp.maximum(jnp.minimum(a, b), jnp.minimum(jnp.maximum(a, b), c))
    up, right = both[..., 0], both[..., 1]
    if how.kind == "yaw":
        up = up * 0 + np.array([0, 1, 0], np.float32)
    y = up / jnp.maximum(_norm(up), _SHORTEST)
    right = right - (right * y).sum(axis=-1, keepdims=True) * y
    x = right / jnp.maximum(_norm(right), _SHORTEST)
    axes = jnp.stack([x, y, _cross(x, y)], axis=1)
    defined = (_norm(up) > _SHORTEST) & (_norm(right) > _SHORTEST)
    return jnp.where(defined[:, None], axes, np.eye(3, dtype=np.float32))


def _cross(x: jax.Array, y: jax.Array) -> jax.Array:
    (a, b, c), (d, e, f) = (tuple(v[..., i] for i in range(3)) for v in (x, y))
    return jnp.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=-1)


def _norm(vector: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.square(vector).sum(axis=-1, keepdims=True))


def _resampling(occupied: jax.Array, num_frames: int, fraction: float) -> jax.Array:
    """The matrices (b, T, L) of `augment.centre_crop_resize` over the occupied frames (b, L)."""
    # What `centre_crop_resize` computes from the length, for each length that there can be.
    lengths = np.arange(occupied.shape[1] + 1)[:, None]
    start = ((1 - fraction) * lengths / 2).astype(np.int32)
    cropped = lengths - 2 * start
    numerator = np.maximum((2 * np.arange(num_frames) + 1) * cropped - num_frames, 0)  # (L + 1, T)
    low = numerator // (2 * num_frames)
    high = np.clip(low + 1, 0, np.maximum(cropped - 1, 0))
    part = numerator % (2 * num_frames) / (2 * num_frames)

    occupied = occupied.astype(jnp.float32)
    count = occupied.sum(axis=1, keepdims=True)
    is_length = (lengths[:, 0].astype(np.float32) == count).astype(jnp.float32)  # (b, L + 1)
    rank = jnp.cumsum(occupied, axis=1) - 1  # of an occupied frame among those

    def of_length(table):  # (L + 1, T) -> (b, T, 1)
        return jnp.matmul(is_length, table.astype(np.float32))[..., None]

    def at(frames):  # rows of zeros with a one at these frames, (b, T, L)
        return (rank[:, None] == of_length(frames)).astype(jnp.float32) * occupied[:, None]

    part = of_length(part)
    return (1 - part) * at(start + low) + part * at(start + high)
