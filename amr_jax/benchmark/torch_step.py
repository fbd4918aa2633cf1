"""Training steps of `torch_models`: on ready-made clips, eager or by `torch.compile`."""

import time
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import torch
from torch import Tensor

from amr_jax import methods as registry
from amr_jax.benchmark import timing, torch_models
from amr_jax.config import settings

# What the models take for granted: other settings would be other work.
_ENCODER = {
    "position": "grid",
    "class_token": False,
    "registers": 0,
    "mask_token": False,
    "mlp": "gelu",
    "drop_path": 0.0,
    "residual_dtype": "compute",
}
_TARGET = {"target": "motion", "normalisation": "patch", "motion_stride": 1}
_MODEL = {
    "mamp": {**_TARGET, "masking": "motion_aware", "num_decoded": None, "pool": 1},
    "amr": {
        **_TARGET,
        "masking": "random",
        "decoder_self_attention": False,
        "weighting": "ratio",
        "energy_threshold": "body",
        "loss_on": "all",
    },
}
_OPTIM = {"accumulate": 1, "clip_norm": None, "ema_decay": None, "layer_decay": 1.0}
# From JAX's names of the precision of float32 products to PyTorch's.
_PRECISION = {"highest": "highest", "high": "high", "default": "medium"}


def device() -> torch.device:
    """A GPU, if PyTorch has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def about() -> str:
    """Version and device."""
    return f"PyTorch {torch.__version__} on {device().type}"


def require_same_work(config: ml_collections.ConfigDict) -> None:
    """Raises `UserError` where the models of `torch_models` would do other work than the config."""
    asked = {"encoder": _ENCODER, "model": _MODEL[config.method], "optim": _OPTIM}
    for section, values in asked.items():
        for key, expected in values.items():
            found = config[section][key]
            if found != expected:
                settings.refuse(f"config.{section}.{key}", found, f"{expected!r} with --torch")


def ready(
    config: ml_collections.ConfigDict,
    clips: np.ndarray,
    fused: bool,
    compiled: bool,
    num_threads: int,
) -> timing.Ready:
    """Training steps on given clips, on `device()`; each draws its mask.

    With dtype 'bfloat16' parameters stay float32, and products are of bfloat16 (autocast).

    Args:
      config: resolved, of the method `mamp` or `amr`.
      clips: (steps, B, T, V, C) float32, ready-made.
      fused: see `torch_models.Masked`.
      compiled: whether `torch.compile` compiles mask and loss; the first step does, and counts as
        `compile_s`.
      num_threads: PyTorch's, on the CPU.

    Returns:
      Steps whose `run` returns their losses.

    Raises:
      UserError: settings that the models do not have.
      timing.Unavailable: `torch.compile` does not work here.
    """
    require_same_work(config)
    torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision(_PRECISION[config.matmul_precision])
    on_gpu = device().type == "cuda"
    batches = torch.from_numpy(clips).to(device())
    model = torch_models.MODELS[config.method](
        config.encoder, config.model, registry.build(config).num_kept, fused
    ).to(device())
    optimizer = _adamw(model, config.optim)

    def loss_of(clips: Tensor) -> Tensor:
        with torch.autocast(device().type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
            return model(clips, model.draw_order(clips))

    loss_of, compile_s = _compiled(loss_of, batches[0]) if compiled else (loss_of, None)

    def step(clips: Tensor) -> Tensor:
        loss = loss_of(clips)
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

    return timing.Ready(run, warm_up, compile_s=compile_s)


def _adamw(model: torch.nn.Module, optim: ml_collections.ConfigDict) -> torch.optim.Optimizer:
    """PyTorch's fused AdamW; the matrices of linear layers decay."""
    named = list(model.named_parameters())
    decays = {name: name.endswith("weight") and p.ndim > 1 for name, p in named}
    groups = [
        {"params": [p for name, p in named if decays[name]], "weight_decay": optim.weight_decay},
        {"params": [p for name, p in named if not decays[name]]},
    ]
    return torch.optim.AdamW(
        groups, lr=optim.lr, betas=(optim.b1, optim.b2), weight_decay=0.0, fused=True
    )


def _compiled(loss_of: Callable[[Tensor], Any], clips: Tensor) -> tuple[Callable, float]:
    """The loss by `torch.compile`, forward and backward compiled, and the seconds that took."""
    start = time.perf_counter()
    compiled = torch.compile(loss_of)
    try:
        compiled(clips).backward()
    except RuntimeError as error:  # the base of the compiler's errors: no C++ compiler, no Triton
        if "out of memory" in str(error):
            raise
        raise timing.Unavailable("torch.compile fails here") from error
    return compiled, time.perf_counter() - start
