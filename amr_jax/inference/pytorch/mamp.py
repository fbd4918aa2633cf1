"""Published weights of MAMP and skeleton-MAE (PyTorch) ↔ parameters of amr_jax, in numpy.

Both published models have the same parameters; they differ in mask and target. A downstream model
has no decoder, and a `head` that amr_jax does not use. Names follow from ours (`_NAMES`).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from amr_jax.config.settings import refuse
from amr_jax.errors import BadFile

# The path of a parameter in our tree, and published shapes by it.
Path = tuple[str, ...]
Shapes = dict[Path, tuple[int, ...]]

# A weight that every published model has.
ANCHOR = "joints_embed.proj.weight"

_PATCH = ("encoder", "patch_embed", "kernel")

# From our names to the published ones: pattern and replacement, one after the other.
_NAMES = (
    ("encoder/patch_embed", "joints_embed.proj"),
    ("decoder/mask_token", "mask_token"),
    ("encoder/", ""),
    ("decoder/", "decoder_"),
    ("position/time", "temp_embed"),
    ("position/joint", "pos_embed"),
    ("block_", "blocks."),
    ("(kernel|scale)$", "weight"),
    ("/", "."),
)


def from_state_dict(
    state: Mapping[str, np.ndarray], source: str = "state dict"
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Converts published weights to parameters of amr_jax.

    Args:
      state: name -> float32 array, of a pre-trained or a downstream model.
      source: the file, for messages.

    Returns:
      params: `encoder`, and `decoder` if there is one; the arrays own their memory.
      left_out: the weights of a classifier, `head.…`, which amr_jax does not use.

    Raises:
      BadFile: a name is unknown or missing; a weight has another shape or dtype, or is not finite.
    """
    left_out = {key: value for key, value in state.items() if key.startswith("head.")}
    found = sections(state, num_heads=1, source=source)
    shapes = _shapes(found["encoder"], found["model"])
    known = {published_name(path): path for path in shapes}
    for key in sorted(state.keys() - known.keys() - left_out.keys()):
        found = f"the unknown name {key!r}"
        raise BadFile(source, found, "no other names than those of MAMP or skeleton-MAE")
    ours = {}
    for key, path in known.items():
        value = _get(state, key, source)
        expected = f"{shapes[path]} float32"
        if f"{value.shape} {value.dtype}" != expected:
            raise BadFile(source, f"{key} of {value.shape} {value.dtype}", expected)
        if not np.isfinite(value).all():
            raise BadFile(source, f"{key} with numbers that are not finite", "weights of a model")
        ours[path] = np.array(_to_ours(path, value), order="C")
    return unflatten_dict(ours), left_out


def to_state_dict(params: Mapping[str, Any], channels: int = 3) -> dict[str, np.ndarray]:
    """Converts parameters of amr_jax to published weights: the exact inverse of `from_state_dict`.

    Args:
      params: `encoder`, and `decoder` (of a `SelfAttentionDecoder`) or none.
      channels: C, which no shape shows.

    Raises:
      UserError: a parameter is missing, or has no counterpart, another shape or another dtype
        there; `channels` does not divide the values of a patch.
    """
    state = {}
    for path, value in flatten_dict(dict(params)).items():
        value = np.asarray(value)
        if path == _PATCH and len(value) % channels:
            refuse("channels", channels, f"a divisor of {len(value)}, the values of a patch")
        state[published_name(path)] = np.array(_to_theirs(path, value, channels), order="C")
    from_state_dict(state, "the parameters")  # checks names, shapes and dtypes
    return state


def published_name(path: Path) -> str:
    """The published name of a parameter: encoder/block_0/norm1/scale is blocks.0.norm1.weight."""
    name = "/".join(path)
    for ours, theirs in _NAMES:
        name = re.sub(ours, theirs, name)
    return name


def sections(
    state: Mapping[str, np.ndarray], num_heads: int = 8, source: str = "state dict"
) -> dict[str, dict[str, Any]]:
    """The sections `encoder` and `model` of the config of a published model.

    Args:
      state: name -> array.
      num_heads: of every block; no shape shows it. Published configs have 8.
      source: the file, for messages.

    Raises:
      BadFile: an array that shows a size is missing or has another number of axes.
      UserError: `num_heads` does not divide a width.
    """

    def axes(key: str, letters: str) -> tuple[int, ...]:
        shape = _get(state, key, source).shape
        if len(shape) != len(letters.split(", ")) or 0 in shape:
            raise BadFile(source, f"{key} of shape {shape}", f"({letters})")
        return shape

    def transformer(part: str, prefix: str, width: int) -> dict[str, Any]:
        if width % num_heads:
            refuse("num_heads", num_heads, f"a divisor of {width}, the {part}'s width")
        numbers = {m[1] for key in state if (m := re.match(rf"{prefix}blocks\.(\d+)\.", key))}
        hidden, _ = axes(f"{prefix}blocks.0.mlp.fc1.weight", "hidden, D")
        return {"width": width, "depth": len(numbers), "mlp_ratio": mlp_ratio(width, hidden)}

    width, channels, patch_len, _ = axes("joints_embed.proj.weight", "D, C, l, 1")
    encoder = {
        "num_frames": axes("temp_embed", "1, T_e, 1, D")[1] * patch_len,
        "num_joints": axes("pos_embed", "1, 1, V, D")[2],
        "channels": channels,
        "patch_len": patch_len,
        "num_heads": num_heads,
        **transformer("encoder", "", width),
    }
    if not any(key.startswith("decoder_") or key == "mask_token" for key in state):
        return {"encoder": encoder, "model": {}}
    inner, _ = axes("decoder_embed.weight", "D of the decoder, D")
    decoder = {"heads": num_heads, **transformer("decoder", "decoder_", inner)}
    return {
        "encoder": encoder,
        "model": {f"decoder_{name}": value for name, value in decoder.items()},
    }


def mlp_ratio(width: int, hidden: int) -> float:
    """hidden / width, rounded such that int(width · ratio) is `hidden` again."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _shapes(encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> Shapes:
    """Published shapes of all parameters of a model with these sections (see `sections`)."""
    width, patch_len, channels = (encoder[key] for key in ("width", "patch_len", "channels"))
    grid = encoder["num_frames"] // patch_len, encoder["num_joints"]
    shapes = {
        _PATCH: (width, channels, patch_len, 1),
        ("encoder", "patch_embed", "bias"): (width,),
        **_transformer("encoder", encoder, "", grid),
    }
    if decoder:
        inner = decoder["decoder_width"]
        shapes |= {
            **_linear(("decoder", "embed"), inner, width),
            ("decoder", "mask_token"): (1, 1, inner),
            **_transformer("decoder", decoder, "decoder_", grid),
            # Published code flattens patches by frame and channel, as `patches.flatten` does: the
            # prediction needs no reordering, unlike the input of the convolution.
            **_linear(("decoder", "pred"), patch_len * channels, inner),
        }
    return shapes


def _transformer(
    part: str, section: Mapping[str, Any], prefix: str, grid: tuple[int, int]
) -> Shapes:
    """Embeddings, blocks and the last norm."""
    width, depth, ratio = (section[f"{prefix}{key}"] for key in ("width", "depth", "mlp_ratio"))
    hidden, (num_times, num_joints) = int(width * ratio), grid
    shapes = {
        (part, "position", "time"): (1, num_times, 1, width),
        (part, "position", "joint"): (1, 1, num_joints, width),
        **_norm((part, "norm"), width),
    }
    for block in ((part, f"block_{i}") for i in range(depth)):
        shapes |= {
            **_norm((*block, "norm1"), width),
            # One layer for query, key and value, reshaped to (3, heads, D/heads) by both.
            **_linear((*block, "attn", "qkv"), 3 * width, width),
            **_linear((*block, "attn", "proj"), width, width),
            **_norm((*block, "norm2"), width),
            **_linear((*block, "mlp", "fc1"), hidden, width),
            **_linear((*block, "mlp", "fc2"), width, hidden),
        }
    return shapes


def _linear(path: Path, rows: int, columns: int) -> Shapes:
    return {(*path, "kernel"): (rows, columns), (*path, "bias"): (rows,)}


def _norm(path: Path, width: int) -> Shapes:
    return {(*path, "scale"): (width,), (*path, "bias"): (width,)}


def _to_ours(path: Path, value: np.ndarray) -> np.ndarray:
    if path == _PATCH:  # (D, C, l, 1) -> (l·C, D): a patch's values in (frame, channel) order
        return value[..., 0].transpose(2, 1, 0).reshape(-1, value.shape[0])
    if path[-1] == "kernel":  # a linear layer: (out, in) there
        return value.T
    return value.reshape(-1, value.shape[-1]) if value.ndim == 4 else value.reshape(-1)


def _to_theirs(path: Path, value: np.ndarray, channels: int) -> np.ndarray:
    if path == _PATCH:
        return value.reshape(-1, channels, value.shape[-1]).transpose(2, 1, 0)[..., None]
    if path[-1] == "kernel":
        return value.T
    axes = {"time": (0, 2), "joint": (0, 1), "mask_token": (0, 1)}
    return np.expand_dims(value, axes.get(path[-1], ()))


def _get(state: Mapping[str, np.ndarray], key: str, source: str) -> np.ndarray:
    if key not in state:
        some = ", ".join(sorted(state)[:3]) or "nothing at all"
        found = f"no {key!r} (but {some} …)"
        raise BadFile(source, found, "all the weights of MAMP or skeleton-MAE")
    return state[key]
