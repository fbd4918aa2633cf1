"""The published MAMP training step in PyTorch, float32, for comparison.

The model follows its authors' code: a convolution embeds all patches, the visible ones are gathered
and encoded, mask tokens fill the gaps, the decoder processes all patches, and the loss is the
squared error of the hidden patches' normalised motion. Its parameters have the published names, so
that `inference.pytorch.mamp` converts weights in both directions. Attention is explicit, as
published, or PyTorch's fused kernel.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amr_jax.benchmark import timing


class Attention(nn.Module):
    """Multi-head self-attention, (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, num_heads: int, fused: bool):
        super().__init__()
        self.num_heads, self.fused = num_heads, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bodies, tokens, width = x.shape
        qkv = self.qkv(x).reshape(bodies, tokens, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
            mixed = scores.softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, fused: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, num_heads, fused)
        hidden = int(width * mlp_ratio)
        fc1, fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, gelu=nn.GELU(), fc2=fc2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Mamp(nn.Module):
    """The pre-training model.

    Args:
      encoder, model: sections of a config, as `amr_jax.methods.build` reads them.
      num_kept: visible patches per body.
      tau: temperature of the mask.
      fused: use PyTorch's `scaled_dot_product_attention` instead of explicit attention.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        model: Mapping[str, Any],
        num_kept: int,
        tau: float = 0.8,
        fused: bool = False,
    ):
        super().__init__()
        self.patch_len, self.num_kept, self.tau = encoder["patch_len"], num_kept, tau
        times, joints = encoder["num_frames"] // self.patch_len, encoder["num_joints"]
        channels, width, inner = encoder["channels"], encoder["width"], model["decoder_width"]

        def embeddings(width):
            shapes = (1, times, 1, width), (1, 1, joints, width)
            return (nn.Parameter(torch.zeros(shape)) for shape in shapes)

        def blocks(width, depth, num_heads, mlp_ratio):
            return nn.ModuleList(Block(width, num_heads, mlp_ratio, fused) for _ in range(depth))

        patch = (self.patch_len, 1)
        self.joints_embed = nn.Sequential(
            OrderedDict(proj=nn.Conv2d(channels, width, patch, patch))
        )
        self.temp_embed, self.pos_embed = embeddings(width)
        self.blocks = blocks(width, *(encoder[key] for key in ("depth", "num_heads", "mlp_ratio")))
        self.norm = nn.LayerNorm(width)

        self.decoder_embed = nn.Linear(width, inner)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, inner))
        self.decoder_temp_embed, self.decoder_pos_embed = embeddings(inner)
        sizes = (model[f"decoder_{key}"] for key in ("depth", "heads", "mlp_ratio"))
        self.decoder_blocks = blocks(inner, *sizes)
        self.decoder_norm = nn.LayerNorm(inner)
        self.decoder_pred = nn.Linear(inner, self.patch_len * channels)
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith(("_embed", "mask_token")):
                nn.init.normal_(parameter, std=0.02)
            elif parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter.data.view(len(parameter), -1))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, clips: Tensor, order: Tensor) -> Tensor:
        """The loss of clips (B, T, V, C); `order` (B, N) lists patches, visible ones first."""
        prediction = self.decode(self.encode(clips, order[:, : self.num_kept]), order)
        motion = torch.zeros_like(clips)
        motion[:, :-1] = clips[:, 1:] - clips[:, :-1]
        target = self.patchify(motion)
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
        hidden = torch.ones(order.shape, device=order.device)
        hidden.scatter_(1, order[:, : self.num_kept], 0.0)
        error = ((prediction - target) ** 2).mean(-1)
        return (error * hidden).sum() / hidden.sum()

    def draw_order(self, clips: Tensor) -> Tensor:
        """Patches (B, N) in order of noise plus motion: moving patches come last, hidden."""
        patches = self.patchify(clips).unflatten(1, (-1, clips.shape[2]))
        change = (patches[:, 1:] - patches[:, :-1]).abs().mean(-1)
        intensity = torch.cat([change[:, :1], change], 1).flatten(1)
        logits = intensity / (intensity.amax(-1, keepdim=True) * self.tau + 1e-10)
        uniform = torch.rand_like(logits)
        gumbel = -torch.log(-torch.log(uniform + 1e-10) + 1e-10)
        return (torch.log(logits.softmax(-1)) + gumbel).argsort(1)

    def patchify(self, clips: Tensor) -> Tensor:
        """(B, T, V, C) -> (B, N, l·C), a patch's values in (frame, channel) order."""
        patches = clips.unflatten(1, (-1, self.patch_len)).transpose(2, 3)
        return patches.flatten(3).flatten(1, 2)

    def encode(self, clips: Tensor, ids_keep: Tensor) -> Tensor:
        """Clips and ids of visible patches (B, K) -> (B, K, D)."""
        x = self.joints_embed(clips.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, T/l, V, D)
        x = _gather((x + self.pos_embed + self.temp_embed).flatten(1, 2), ids_keep)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, x: Tensor, order: Tensor) -> Tensor:
        """Encoded visible patches (B, K, D) -> predictions (B, N, l·C)."""
        x = self.decoder_embed(x)
        hidden = self.mask_token.expand(len(x), order.shape[1] - x.shape[1], -1)
        x = _gather(torch.cat([x, hidden], 1), order.argsort(1))
        x = x + (self.decoder_pos_embed + self.decoder_temp_embed).flatten(1, 2)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))


def device() -> torch.device:
    """A GPU, if PyTorch has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def about() -> str:
    """Version and device."""
    return f"PyTorch {torch.__version__} on {device().type}"


def ready(
    config: ml_collections.ConfigDict,
    clips: np.ndarray,
    num_kept: int,
    fused: bool,
    num_threads: int,
) -> timing.Ready:
    """Training steps on given clips, on `device()`; each draws its mask, as published.

    Args:
      config: resolved, of the method `mamp`.
      clips: (steps, B, T, V, C) float32, ready-made as by the published loader.
      num_kept: visible patches per body.
      fused: see `Mamp`.
      num_threads: PyTorch's, on the CPU.

    Returns:
      Steps whose `run` returns their losses.
    """
    torch.set_num_threads(num_threads)
    on_gpu, settings = device().type == "cuda", config.optim
    batches = torch.from_numpy(clips).to(device())
    model = Mamp(config.encoder, config.model, num_kept, config.model.tau, fused).to(device())
    parameters = list(model.parameters())
    decayed = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others}],
        lr=settings.lr,
        betas=(settings.b1, settings.b2),
        weight_decay=0.0,
    )

    def step(clips: Tensor) -> Tensor:
        loss = model(clips, model.draw_order(clips))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run() -> list[float]:
        return torch.stack([step(clips) for clips in batches]).tolist()  # waits for the device

    def warm_up() -> int | None:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() if on_gpu else None

    return timing.Ready(run, warm_up)


def _gather(x: Tensor, ids: Tensor) -> Tensor:
    """Rows `ids` (B, K) of x (B, N, D)."""
    return x.gather(1, ids[..., None].expand(-1, -1, x.shape[-1]))
