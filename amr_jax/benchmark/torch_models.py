"""The losses of MAMP and AMR in PyTorch, for comparison with ours.

Both are plain PyTorch: one linear layer for query, key and value, PyTorch's own LayerNorm and GELU,
its fused attention or an explicit one. MAMP follows its authors' code: mask tokens fill the gaps,
the decoder processes all patches, and the loss is the squared error of the hidden patches'
normalised motion. AMR follows `methods.amr`. Every joint is present in every frame.

Parameters have the published names, those of AMR's decoder by the same rules
(`inference.pytorch.mamp.published_name`).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _heads(x: Tensor, parts: int, num_heads: int) -> Sequence[Tensor]:
    """(B, N, parts · D) -> (B, heads, N, D / heads) of each part."""
    bodies, tokens, width = x.shape
    x = x.reshape(bodies, tokens, parts, num_heads, width // (parts * num_heads))
    return x.permute(2, 0, 3, 1, 4).unbind(0)


def _mixed(q: Tensor, k: Tensor, v: Tensor, fused: bool) -> Tensor:
    """softmax(q · kᵀ / √width) · v of every head, (B, heads, N, D / heads) -> (B, N, D)."""
    if fused:
        mixed = F.scaled_dot_product_attention(q, k, v)
    else:
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        mixed = scores.softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head self-attention, (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, num_heads: int, fused: bool):
        super().__init__()
        self.num_heads, self.fused = num_heads, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(_mixed(*_heads(self.qkv(x), 3, self.num_heads), self.fused))


class CrossAttention(nn.Module):
    """Multi-head attention of queries (B, Q, D) to `context` (B, K, D)."""

    def __init__(self, width: int, num_heads: int, fused: bool):
        super().__init__()
        self.num_heads, self.fused = num_heads, fused
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        (q,) = _heads(self.q(x), 1, self.num_heads)
        k, v = _heads(self.kv(context), 2, self.num_heads)
        return self.proj(_mixed(q, k, v, self.fused))


def _mlp(width: int, ratio: float) -> nn.Sequential:
    hidden = int(width * ratio)
    fc1, fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
    return nn.Sequential(OrderedDict(fc1=fc1, gelu=nn.GELU(), fc2=fc2))


class Block(nn.Module):
    """A pre-norm transformer block, (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, fused: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, num_heads, fused)
        self.mlp = _mlp(width, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CrossBlock(nn.Module):
    """A pre-norm block whose tokens attend only to `context`."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, fused: bool):
        super().__init__()
        self.norm_cross, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross_attn = CrossAttention(width, num_heads, fused)
        self.mlp = _mlp(width, mlp_ratio)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.cross_attn(self.norm_cross(x), context)
        return x + self.mlp(self.norm2(x))


class Masked(nn.Module):
    """The encoder, and the decoder's first and last layers.

    Args:
      encoder, model: sections of a config, as `amr_jax.methods.build` reads them.
      num_kept: visible patches per body.
      fused: use PyTorch's `scaled_dot_product_attention` instead of explicit attention.
      r: length of a predicted patch, in patches of the encoder.
      decoder_block: kind of the decoder's blocks.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        model: Mapping[str, Any],
        num_kept: int,
        fused: bool,
        r: int,
        decoder_block: type[nn.Module],
    ):
        super().__init__()
        self.patch_len, self.num_kept = encoder["patch_len"], num_kept
        times, joints = encoder["num_frames"] // self.patch_len, encoder["num_joints"]
        channels, width, inner = encoder["channels"], encoder["width"], model["decoder_width"]

        def embeddings(times, width):
            shapes = (1, times, 1, width), (1, 1, joints, width)
            return (nn.Parameter(torch.zeros(shape)) for shape in shapes)

        def blocks(kind, width, depth, *sizes):
            return nn.ModuleList(kind(width, *sizes, fused) for _ in range(depth))

        patch = (self.patch_len, 1)
        self.joints_embed = nn.Sequential(
            OrderedDict(proj=nn.Conv2d(channels, width, patch, patch))
        )
        self.temp_embed, self.pos_embed = embeddings(times, width)
        sizes = (encoder[key] for key in ("depth", "num_heads", "mlp_ratio"))
        self.blocks = blocks(Block, width, *sizes)
        self.norm = nn.LayerNorm(width)

        self.decoder_embed = nn.Linear(width, inner)
        self.decoder_temp_embed, self.decoder_pos_embed = embeddings(times // r, inner)
        sizes = (model[f"decoder_{key}"] for key in ("depth", "heads", "mlp_ratio"))
        self.decoder_blocks = blocks(decoder_block, inner, *sizes)
        self.decoder_norm = nn.LayerNorm(inner)
        self.decoder_pred = nn.Linear(inner, r * self.patch_len * channels)

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith(("_embed", "mask_token", "queries")):
                nn.init.normal_(parameter, std=0.02)
            elif parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter.data.view(len(parameter), -1))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def encode(self, clips: Tensor, ids_keep: Tensor) -> Tensor:
        """Clips (B, T, V, C) and ids of visible patches (B, K) -> (B, K, D)."""
        # A convolution over all patches, as published, would do ten times the work.
        proj = self.joints_embed.proj
        kernel = proj.weight[..., 0].transpose(1, 2).flatten(1)
        x = F.linear(gather(patchify(clips, self.patch_len), ids_keep), kernel, proj.bias)
        x = x + F.embedding(ids_keep, (self.pos_embed + self.temp_embed).flatten(1, 2)[0])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def target(self, clips: Tensor, length: int) -> Tensor:
        """Normalised motion in patches of `length` frames, (B, T/length · V, length · C)."""
        motion = F.pad(clips[:, 1:] - clips[:, :-1], (0, 0, 0, 0, 0, 1))
        values = patchify(motion, length)
        mean, variance = values.mean(-1, keepdim=True), values.var(-1, keepdim=True)
        return (values - mean) / (variance + 1e-6).sqrt()


class Mamp(Masked):
    """MAMP. Arguments as of `Masked`; `model` also has the temperature `tau` of the mask."""

    def __init__(
        self, encoder: Mapping[str, Any], model: Mapping[str, Any], num_kept: int, fused: bool
    ):
        super().__init__(encoder, model, num_kept, fused, 1, Block)
        self.tau = model["tau"]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, model["decoder_width"]))
        self._initialise()

    def forward(self, clips: Tensor, order: Tensor) -> Tensor:
        """The loss of clips (B, T, V, C); `order` (B, N) lists patches, visible ones first."""
        prediction = self.decode(self.encode(clips, order[:, : self.num_kept]), order)
        hidden = torch.ones(order.shape, device=order.device)
        hidden = hidden.scatter(1, order[:, : self.num_kept], 0.0)
        error = ((prediction.float() - self.target(clips, self.patch_len)) ** 2).mean(-1)
        return (error * hidden).sum() / hidden.sum()

    def draw_order(self, clips: Tensor) -> Tensor:
        """Patches (B, N) in order of noise plus motion: moving patches come last, hidden."""
        patches = patchify(clips, self.patch_len).unflatten(1, (-1, clips.shape[2]))
        change = (patches[:, 1:] - patches[:, :-1]).abs().mean(-1)
        intensity = torch.cat([change[:, :1], change], 1).flatten(1)
        logits = intensity / (intensity.amax(-1, keepdim=True) * self.tau + 1e-10)
        uniform = torch.rand_like(logits)
        gumbel = -torch.log(-torch.log(uniform + 1e-10) + 1e-10)
        return (torch.log(logits.softmax(-1)) + gumbel).argsort(1)

    def decode(self, x: Tensor, order: Tensor) -> Tensor:
        """Encoded visible patches (B, K, D) -> predictions (B, N, l·C)."""
        x = self.decoder_embed(x)
        hidden = self.mask_token.to(x.dtype).expand(len(x), order.shape[1] - x.shape[1], -1)
        x = gather(torch.cat([x, hidden], 1), order.argsort(1))
        x = x + (self.decoder_pos_embed + self.decoder_temp_embed).flatten(1, 2)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))


class Amr(Masked):
    """AMR. Arguments as of `Masked`; `model` also has `r`, `windows`, `k` and `epsilon`."""

    def __init__(
        self, encoder: Mapping[str, Any], model: Mapping[str, Any], num_kept: int, fused: bool
    ):
        super().__init__(encoder, model, num_kept, fused, model["r"], CrossBlock)
        self.r, self.windows = model["r"], model["windows"]
        self.k, self.epsilon = model["k"], model["epsilon"]
        num_queries = encoder["num_frames"] // (self.patch_len * self.r) * encoder["num_joints"]
        self.decoder_queries = nn.Parameter(torch.zeros(num_queries, model["decoder_width"]))
        self._initialise()

    def forward(self, clips: Tensor, order: Tensor) -> Tensor:
        """The loss of clips (B, T, V, C); `order` (B, N) lists patches, visible ones first."""
        prediction = self.decode(self.encode(clips, order[:, : self.num_kept]))
        length = self.r * self.patch_len
        error = (prediction.float() - self.target(clips, length)) ** 2
        weight = patchify(self.weights(clips)[..., None], length)  # (B, N/r, r·l)
        return (error.unflatten(-1, (length, -1)) * weight[..., None]).mean()

    def draw_order(self, clips: Tensor) -> Tensor:
        """All patches (B, N) in random order."""
        num_patches = clips.shape[1] // self.patch_len * clips.shape[2]
        return torch.rand(len(clips), num_patches, device=clips.device).argsort(1)

    def decode(self, x: Tensor) -> Tensor:
        """Encoded visible patches (B, K, D) -> predictions (B, N/r, r·l·C)."""
        context = self.decoder_embed(x)
        position = (self.decoder_pos_embed + self.decoder_temp_embed).flatten(1, 2)
        x = (self.decoder_queries + position).expand(len(context), -1, -1)
        for block in self.decoder_blocks:
            x = block(x, context)
        return self.decoder_pred(self.decoder_norm(x))

    def weights(self, clips: Tensor) -> Tensor:
        """The weight of every frame of every joint, (B, T, V): `ops.motion_energy`."""
        total = torch.zeros(clips.shape[:-1], device=clips.device)
        for n in self.windows:
            windows = clips.unflatten(1, (-1, n))
            centred = windows - windows.mean(2, keepdim=True)
            e_s = centred.square().sum(-1).mean(2)  # (B, T/n, V)
            e_t = e_s.mean((1, 2), keepdim=True)
            w = 1 / (1 + self.k * e_t / (e_s + self.epsilon))
            total = total + w.repeat_interleave(n, 1)
        return total / len(self.windows)


def patchify(clips: Tensor, length: int) -> Tensor:
    """(B, T, V, C) -> (B, T/length · V, length · C), values of a patch by frame and channel."""
    patches = clips.unflatten(1, (-1, length)).transpose(2, 3)
    return patches.flatten(3).flatten(1, 2)


def gather(x: Tensor, ids: Tensor) -> Tensor:
    """Rows `ids` (B, K) of x (B, N, D)."""
    return x.gather(1, ids[..., None].expand(-1, -1, x.shape[-1]))


MODELS: dict[str, type[Masked]] = {"mamp": Mamp, "amr": Amr}
