"""The same training steps in PyTorch: rows of `benchmark step --torch`, and ratios to ours."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections

from amr_jax.benchmark import interface, timing
from amr_jax.errors import UserError
from amr_jax.studies import costs

# Attention and `torch.compile` of each row; a method's best row is compared with ours.
_FORMS = {
    "": {"fused": True, "compiled": False},
    " w/ compile": {"fused": True, "compiled": True},
    " w/ explicit attention": {"fused": False, "compiled": False},
}
# As published, of which only MAMP has code.
_EXPLICIT = "mamp"

COLUMNS = {
    "compared": interface.number("compared"),
    "": lambda e: f"{e['one']} / {e['other']}",
    "time": interface.number("ratio", ".2f"),
    "quartiles": interface.quartiles("ratio_quartiles", ".2f"),
    "processor time": interface.number("cpu_ratio", ".2f"),
}


def about() -> dict[str, Any]:
    """PyTorch's version, device and threads, for JSON; `UserError` where it is absent."""
    torch_step = _torch_step()
    return {"torch": torch_step.about(), "torch_threads": interface.usable_cores()}


def notes(about: dict[str, Any]) -> str:
    """What the ratios mean and were measured with, for the terminal."""
    return (
        "ratios: medians over rounds; of each method the fastest row of each program; below 1: the "
        "first is faster\n"
        f"{about['torch']}, jax {jax.__version__} on {jax.default_backend()}; "
        f"{about['torch_threads']} CPU threads each; in PyTorch ready-made clips, no augmentation"
    )


def builds(method: str) -> dict[str, Callable[[ml_collections.ConfigDict, int], timing.Ready]]:
    """The rows of a method, and how to build each."""
    return {
        f"torch {method}{suffix}": functools.partial(_build, **form)
        for suffix, form in _FORMS.items()
        if form["fused"] or method == _EXPLICIT
    }


def _build(
    config: ml_collections.ConfigDict, steps: int, fused: bool, compiled: bool
) -> timing.Ready:
    clips, _ = costs.random_batch(config, steps)  # (steps, bodies, T, 1, V, C)
    threads = interface.usable_cores()
    return _torch_step().ready(config, clips[:, :, :, 0], fused, compiled, threads)


def _torch_step() -> Any:
    """The module that needs PyTorch; `UserError` where PyTorch is absent."""
    try:
        from amr_jax.benchmark import torch_step
    except ImportError as error:
        if error.name != "torch":
            raise
        raise UserError(
            "--torch: PyTorch is not installed; pip install -e '.[torch]', or leave the flag out."
        ) from error
    return torch_step


def compared(variants: Sequence[timing.Variant]) -> list[dict[str, Any]]:
    """Ratios for tables and JSON: first of the same method, then of AMR to MAMP.

    Of every method and program its fastest row counts; pairs of which one was not measured are left
    out.
    """

    def best(method: str, framework: str) -> timing.Variant | None:
        rows = [
            variant
            for variant in variants
            if (variant.config.method, variant.framework) == (method, framework)
            and variant.config.input.bodies == "packed"
            and (framework == "torch" or variant.build is timing.compiled)
            and variant.step_s
        ]
        return min(
            rows, key=lambda row: timing.statistics(row.step_s)["step_s_median"], default=None
        )

    pairs = {
        "AMR, here to PyTorch": (best("amr", "jax"), best("amr", "torch")),
        "MAMP, here to PyTorch": (best("mamp", "jax"), best("mamp", "torch")),
        "AMR to MAMP, here": (best("amr", "jax"), best("mamp", "jax")),
        "AMR to MAMP, PyTorch": (best("amr", "torch"), best("mamp", "torch")),
    }
    return [_ratio(what, *pair) for what, pair in pairs.items() if None not in pair]


def _ratio(what: str, one: timing.Variant, other: timing.Variant) -> dict[str, Any]:
    return {
        "compared": what,
        "one": one.name,
        "other": other.name,
        "ratio": timing.ratio(one.step_s, other.step_s),
        "ratio_quartiles": timing.quartiles_of_ratio(one.step_s, other.step_s),
        "cpu_ratio": timing.ratio(one.cpu_s, other.cpu_s),
    }
