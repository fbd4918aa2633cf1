"""Published weights of MAMP and skeleton-MAE (PyTorch) ↔ parameters of amr_jax, in numpy.

Both published models have the same parameters; they differ in mask and target. A downstream model
has no decoder, and a `head` that amr_jax does not use. One table (`_entries`) with every name and
shape serves both directions.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from amr_jax.config.settings import refuse
from amr_jax.errors import BadFile, UserError

_PATCH = "joints_embed.proj.weight"

# The published name -> (path in our tree, published shape).
Entries = dict[str, tuple[tuple[str, ...], tuple[int, ...]]]


@dataclasses.dataclass(frozen=True)
class Stack:
    """Sizes of a transformer: width D, hidden width of the MLP, number of blocks."""

    width: int
    hidden: int
    depth: int

    @property
    def mlp_ratio(self) -> float:
        """hidden / width, rounded such that int(width · ratio) is `hidden` again."""
        ratio = self.hidden / self.width
        exact = int(self.width * ratio) == self.hidden
        return ratio if exact else math.nextafter(ratio, math.inf)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that follow from the shapes of weights: l, C, T_e, V and the two transformers."""

    patch_len: int
    channels: int
    num_times: int
    num_joints: int
    encoder: Stack
    decoder: Stack | None

    def settings(self, num_heads: int = 8) -> dict[str, dict[str, Any]]:
        """The sections `encoder` and `model` of a config, as `amr_jax.methods.build` reads them.

        Args:
          num_heads: of every block; no shape shows it. Published configs have 8.

        Raises:
          UserError: `num_heads` does not divide a width.
        """
        for part, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            if stack is not None and stack.width % num_heads:
                refuse("num_heads", num_heads, f"a divisor of {stack.width}, the {part}'s width")
        encoder = {
            "num_frames": self.num_times * self.patch_len,
            "num_joints": self.num_joints,
            "channels": self.channels,
            "patch_len": self.patch_len,
            "width": self.encoder.width,
            "depth": self.encoder.depth,
            "num_heads": num_heads,
            "mlp_ratio": self.encoder.mlp_ratio,
        }
        if self.decoder is None:
            return {"encoder": encoder, "model": {}}
        decoder = {
            "decoder_width": self.decoder.width,
            "decoder_depth": self.decoder.depth,
            "decoder_heads": num_heads,
            "decoder_mlp_ratio": self.decoder.mlp_ratio,
        }
        return {"encoder": encoder, "model": decoder}


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
    entries = _entries(sizes(state, source))
    for key in sorted(state.keys() - entries.keys() - left_out.keys()):
        found = f"the unknown name {key!r}"
        raise BadFile(source, found, "no other names than those of MAMP or skeleton-MAE")
    ours = {}
    for key, (path, shape) in entries.items():
        value = _get(state, key, source)
        expected = f"{shape} float32"
        if f"{value.shape} {value.dtype}" != expected:
            raise BadFile(source, f"{key} of {value.shape} {value.dtype}", expected)
        if not np.isfinite(value).all():
            raise BadFile(source, f"{key} with numbers that are not finite", "weights of a model")
        ours[path] = np.array(_to_ours(key, value), order="C")
    return unflatten_dict(ours), left_out


def to_state_dict(params: Mapping[str, Any], channels: int = 3) -> dict[str, np.ndarray]:
    """Converts parameters of amr_jax to published weights: the exact inverse of `from_state_dict`.

    Args:
      params: `encoder`, and `decoder` (of a `SelfAttentionDecoder`) or none.
      channels: C, which no shape shows.

    Raises:
      UserError: a parameter is missing, or has no counterpart or another shape there.
    """
    ours = {path: np.asarray(value) for path, value in flatten_dict(dict(params)).items()}
    entries = _entries(_sizes_of(ours, channels))
    state = {}
    for key, (path, shape) in entries.items():
        value, expected = ours.pop(path, None), _to_ours(key, np.empty(shape)).shape
        found = "nothing" if value is None else f"{value.shape} {value.dtype}"
        if found != f"{expected} float32":
            raise UserError(
                f"parameter {'/'.join(path)}: found {found}; expected {expected} float32, as the "
                f"published {key}."
            )
        state[key] = np.array(_to_theirs(key, value, shape), order="C")
    for path in sorted(ours):
        raise UserError(
            f"parameter {'/'.join(path)} has no counterpart in the published models: remove "
            f"{path[0]!r} from the parameters."
        )
    return state


def sizes(state: Mapping[str, np.ndarray], source: str = "state dict") -> Sizes:
    """The sizes of a published model.

    Raises:
      BadFile: an array that shows a size is missing or has another number of axes.
    """

    def axes(key, letters):
        shape = _get(state, key, source).shape
        if len(shape) != len(letters.split(", ")) or 0 in shape:
            raise BadFile(source, f"{key} of shape {shape}", f"({letters})")
        return shape

    def stack(blocks, width):
        numbers = {m[1] for key in state if (m := re.match(rf"{blocks}\.(\d+)\.", key))}
        hidden, _ = axes(f"{blocks}.0.mlp.fc1.weight", "hidden, D")
        return Stack(width, hidden, len(numbers))

    width, channels, patch_len, _ = axes(_PATCH, "D, C, l, 1")
    decoder = None
    if any(key.startswith("decoder_") or key == "mask_token" for key in state):
        decoder = stack("decoder_blocks", axes("decoder_embed.weight", "D of the decoder, D")[0])
    return Sizes(
        patch_len=patch_len,
        channels=channels,
        num_times=axes("temp_embed", "1, T_e, 1, D")[1],
        num_joints=axes("pos_embed", "1, 1, V, D")[2],
        encoder=stack("blocks", width),
        decoder=decoder,
    )


def _sizes_of(ours: Mapping[tuple[str, ...], np.ndarray], channels: int) -> Sizes:
    def axes(*path):
        shape = ours[path].shape if path in ours else None
        if shape is None or len(shape) != 2:
            found = "nothing" if shape is None else f"shape {shape}"
            raise UserError(f"parameter {'/'.join(path)}: found {found}; expected two axes.")
        return shape

    def stack(part, width):
        names = {path[1] for path in ours if path[0] == part}
        depth = sum(name.startswith("block_") for name in names)
        return Stack(width, axes(part, "block_0", "mlp", "fc1", "kernel")[1], depth)

    values, width = axes("encoder", "patch_embed", "kernel")
    if values % channels:
        refuse("channels", channels, f"a divisor of {values}, the values of a patch")
    decoder = None
    if any(path[0] == "decoder" for path in ours):
        decoder = stack("decoder", axes("decoder", "embed", "kernel")[1])
    return Sizes(
        patch_len=values // channels,
        channels=channels,
        num_times=axes("encoder", "position", "time")[0],
        num_joints=axes("encoder", "position", "joint")[0],
        encoder=stack("encoder", width),
        decoder=decoder,
    )


def _entries(sizes: Sizes) -> Entries:
    """All weights of a model of these sizes."""
    grid, width = (sizes.num_times, sizes.num_joints), sizes.encoder.width
    entries = {
        _PATCH: (
            ("encoder", "patch_embed", "kernel"),
            (width, sizes.channels, sizes.patch_len, 1),
        ),
        "joints_embed.proj.bias": (("encoder", "patch_embed", "bias"), (width,)),
        **_transformer("", ("encoder",), sizes.encoder, *grid),
    }
    if sizes.decoder is not None:
        inner, values = sizes.decoder.width, sizes.patch_len * sizes.channels
        entries |= {
            **_linear("decoder_embed", ("decoder", "embed"), inner, width),
            "mask_token": (("decoder", "mask_token"), (1, 1, inner)),
            **_transformer("decoder_", ("decoder",), sizes.decoder, *grid),
            # Published code flattens patches by frame and channel, as `patches.flatten` does: the
            # prediction needs no reordering, unlike the input of the convolution.
            **_linear("decoder_pred", ("decoder", "pred"), values, inner),
        }
    return entries


def _transformer(
    prefix: str, path: tuple[str, ...], stack: Stack, num_times: int, num_joints: int
) -> Entries:
    """Embeddings, blocks and the last norm."""
    width, hidden = stack.width, stack.hidden
    entries = {
        f"{prefix}temp_embed": ((*path, "position", "time"), (1, num_times, 1, width)),
        f"{prefix}pos_embed": ((*path, "position", "joint"), (1, 1, num_joints, width)),
        **_norm(f"{prefix}norm", (*path, "norm"), width),
    }
    for i in range(stack.depth):
        theirs, ours = f"{prefix}blocks.{i}", (*path, f"block_{i}")
        entries |= {
            **_norm(f"{theirs}.norm1", (*ours, "norm1"), width),
            # One layer for query, key and value, reshaped to (3, heads, D/heads) by both.
            **_linear(f"{theirs}.attn.qkv", (*ours, "attn", "qkv"), 3 * width, width),
            **_linear(f"{theirs}.attn.proj", (*ours, "attn", "proj"), width, width),
            **_norm(f"{theirs}.norm2", (*ours, "norm2"), width),
            **_linear(f"{theirs}.mlp.fc1", (*ours, "mlp", "fc1"), hidden, width),
            **_linear(f"{theirs}.mlp.fc2", (*ours, "mlp", "fc2"), width, hidden),
        }
    return entries


def _linear(key: str, path: tuple[str, ...], rows: int, columns: int) -> Entries:
    return {
        f"{key}.weight": ((*path, "kernel"), (rows, columns)),
        f"{key}.bias": ((*path, "bias"), (rows,)),
    }


def _norm(key: str, path: tuple[str, ...], width: int) -> Entries:
    return {
        f"{key}.weight": ((*path, "scale"), (width,)),
        f"{key}.bias": ((*path, "bias"), (width,)),
    }


def _to_ours(key: str, value: np.ndarray) -> np.ndarray:
    if key == _PATCH:  # (D, C, l, 1) -> (l·C, D): a patch's values in (frame, channel) order
        return value[..., 0].transpose(2, 1, 0).reshape(-1, value.shape[0])
    if value.ndim == 2:  # a linear layer: (out, in) there
        return value.T
    return value.reshape(-1, value.shape[-1]) if value.ndim == 4 else value.reshape(-1)


def _to_theirs(key: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if key == _PATCH:
        width, channels, patch_len, _ = shape
        return value.reshape(patch_len, channels, width).transpose(2, 1, 0)[..., None]
    return value.T if len(shape) == 2 else value.reshape(shape)


def _get(state: Mapping[str, np.ndarray], key: str, source: str) -> np.ndarray:
    if key not in state:
        some = ", ".join(sorted(state)[:3]) or "nothing at all"
        found = f"no {key!r} (but {some} …)"
        raise BadFile(source, found, "all the weights of MAMP or skeleton-MAE")
    return state[key]
