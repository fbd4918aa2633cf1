"""AMR's training step at full size: how near the device's limits, and what makes it fast.

    python -m amr_jax.benchmark step [--torch] [--sequences=8] [--json=FILE]

Every variant differs from the first row, the default, in one thing: steps per dispatch, body slots,
attention kernel, or method (MAMP; with --torch also the published step in PyTorch). All are timed
in the same rounds. A time is that of `--steps` steps, divided by their number.
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import ml_collections

from amr_jax import methods as registry
from amr_jax.benchmark import full_size, options, output, timing
from amr_jax.config.base import KERNELS
from amr_jax.config.settings import require_choice
from amr_jax.errors import UserError
from amr_jax.run import console
from amr_jax.studies import costs

BASE = "default"
# Training sequences of NTU-60 x-sub, real bodies per sequence on average, and epochs of the paper.
SEQUENCES, BODIES_PER_SEQUENCE, EPOCHS = 40_091, 1.17, 400
# The backward pass has two products for each one of the forward pass (PaLM's "model FLOPs", without
# recomputation and attention).
FORWARD_AND_BACKWARD = 3

COLUMNS = {
    "step": output.number("name"),
    "bodies": output.number("bodies"),
    "ms": output.or_problem(output.number("step_s_median", ",.1f", 1e-3)),
    "quartiles": output.quartiles("step_s_quartiles", ",.1f", 1e-3),
    "to default": output.number("ratio", ".3f"),
    "sequences/s": output.number("sequences_per_s", ",.1f"),
    "MFU": output.number("mfu", ".1%"),
    f"{EPOCHS} epochs": lambda e: console.duration(e["epochs_s"]) if "epochs_s" in e else "",
    "memory GB": output.number("memory_bytes", ".2f", 1e9),
    "device GB": output.number("device_bytes", ".2f", 1e9),
    "compile s": output.number("compile_s", ".0f"),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of the table; `build(config, steps)` makes the step that is timed."""

    name: str
    build: Callable[[ml_collections.ConfigDict, int], timing.TimedStep]
    method: str = "amr"
    bodies: str = "packed"
    attention: str = "xla"


def in_one_dispatch(config: ml_collections.ConfigDict, steps: int) -> timing.Program:
    """All steps in one dispatch, as in the training loop."""
    return timing.Program(config, steps)


def a_dispatch_each(config: ml_collections.ConfigDict, steps: int) -> timing.Program:
    """One dispatch per step, without waiting in between."""
    return timing.Program(config, 1, steps)


def augmentation_alone(config: ml_collections.ConfigDict, steps: int) -> timing.Program:
    """The steps' augmentation alone.

    Its time is an upper limit: within a step it is fused with other work, here its result goes
    through memory. (The difference of two whole steps would be smaller than their noise.)
    """
    return timing.Program(config, steps, make=costs.augmentation)


def in_torch(fused: bool) -> Callable:
    """The published step in PyTorch, on the same clips as the other variants."""

    def build(config, steps):
        clips, _ = costs.random_batch(config, steps)  # (steps, bodies, T, 1, V, C)
        num_kept = registry.build(config).num_kept
        threads = options.usable_cores()
        return torch_mamp().TorchStep(config, clips[:, :, :, 0], num_kept, fused, threads)

    return build


def torch_mamp() -> ModuleType:
    """The module that needs PyTorch; `UserError` where PyTorch is absent."""
    try:
        from amr_jax.benchmark import torch_mamp
    except ImportError as error:
        if error.name != "torch":
            raise
        raise UserError(
            "--torch: PyTorch is not installed; pip install -e '.[torch]', or leave the flag out."
        ) from error
    return torch_mamp


def all_variants(attentions: Sequence[str], with_torch: bool) -> list[Variant]:
    """All rows; the default uses the first of the kernels `attentions`."""
    first, *others = attentions
    rows = [
        Variant(BASE, in_one_dispatch, attention=first),
        Variant("one step a dispatch", a_dispatch_each, attention=first),
        Variant("all body slots", in_one_dispatch, bodies="all", attention=first),
        *(Variant(f"amr w/ {kernel}", in_one_dispatch, attention=kernel) for kernel in others),
        Variant("augmentation", augmentation_alone, attention=first),
        Variant("mamp", in_one_dispatch, "mamp", attention=first),
        *(Variant(f"mamp w/ {k}", in_one_dispatch, "mamp", attention=k) for k in others),
    ]
    if with_torch:
        rows.append(Variant("torch mamp", in_torch(False), "mamp"))
        rows.append(Variant("torch mamp w/ fused attention", in_torch(True), "mamp"))
    return rows


def select(rows: Sequence[Variant], names: str) -> list[Variant]:
    """The rows that --variants names, and the default; 'all': every row."""
    if names == "all":
        return list(rows)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        require_choice("--variants", name, tuple(row.name for row in rows))
    return [row for row in rows if row.name in (*wanted, BASE)]


def config_of(
    variant: Variant, sequences: int, dtype: str, overrides: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """The resolved config of a variant, for `sequences` sequences per step."""
    packed = variant.bodies == "packed"
    size = round(BODIES_PER_SEQUENCE * sequences) if packed else sequences
    row = full_size.Row(variant.name, variant.method)
    overrides = (f"input.bodies={variant.bodies}", *overrides)
    return full_size.config_of(row, size, dtype, variant.attention, overrides)


def sequences_of(config: ml_collections.ConfigDict) -> float:
    """Sequences per step; on average, where the batch is of packed bodies."""
    packed = config.input.bodies == "packed"
    return config.batch_size / BODIES_PER_SEQUENCE if packed else config.batch_size


def bodies_of(config: ml_collections.ConfigDict) -> int:
    """Bodies per step, absent ones included where they are computed."""
    return config.batch_size * costs.SLOTS[config.input.bodies]


@dataclasses.dataclass
class Measured:
    """One variant and its step."""

    variant: Variant
    config: ml_collections.ConfigDict
    program: timing.TimedStep


def measure(
    rows: Sequence[Variant], sequences: int, dtype: str, steps: int, overrides: Sequence[str]
) -> list[Measured]:
    """Compiles every variant; nothing is timed yet."""
    measured = []
    for row in rows:
        config = config_of(row, sequences, dtype, overrides)
        program = row.build(config, steps)
        measured.append(Measured(row, config, program))
        seconds = program.compile_s
        took = program.problem or (f"compiled in {seconds:.0f} s" if seconds else "ready")
        console.say(f"{row.name}: {took}")
    return measured


def summary(measured: Sequence[Measured], peak: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per variant; ratios are of the time per sequence."""
    base = next(m for m in measured if m.variant.name == BASE)
    base_sequences = sequences_of(base.config)
    found = []
    for m in measured:
        sequences = sequences_of(m.config)
        ratio = timing.ratio(m.program.step_s, base.program.step_s)
        entry = {
            "name": m.variant.name,
            "method": m.variant.method,
            "slots": m.variant.bodies,
            "attention": m.variant.attention,
            "bodies": bodies_of(m.config),
            "sequences": sequences,
            **m.program.report(),
            "ratio": ratio and ratio * base_sequences / sequences,
        }
        step_s = entry["step_s_median"]
        if step_s is not None and m.variant.build is not augmentation_alone:
            entry["sequences_per_s"] = sequences / step_s
            entry["epochs_s"] = EPOCHS * SEQUENCES * step_s / sequences
        if step_s is not None and m.variant.build in (in_one_dispatch, a_dispatch_each):
            entry["forward_linear_flops"] = linear_flops(m.config)
            work = FORWARD_AND_BACKWARD * entry["forward_linear_flops"]
            entry["mfu"] = work / step_s / peak["flops_per_s"]
        found.append(entry)
    return found


def linear_flops(config: ml_collections.ConfigDict) -> int:
    """FLOPs of the linear layers in a forward pass of the batch."""
    return costs.linear_flops(registry.build(config), bodies_of(config))


def notes(peak: Mapping[str, Any], with_torch: bool) -> str:
    """Explains the columns of the table."""
    lines = [
        f"peak: {peak['flops_per_s'] / 1e9:,.0f} GFLOP/s in {peak['dtype']}, measured on a product "
        f"of matrices of {peak['matmul_size']} rows",
        "to default: time per sequence, median over rounds; for the augmentation, an upper limit "
        "of its share of the step",
        "MFU: the share of the peak that linear layers use, forward and backward",
        f"{EPOCHS} epochs: EXTRAPOLATED from the median step to NTU-60 x-sub, {SEQUENCES:,} "
        f"sequences, about {SEQUENCES * BODIES_PER_SEQUENCE:,.0f} bodies",
    ]
    if with_torch:
        lines.append(
            f"{torch_mamp().about()}: float32, ready-made clips, {options.usable_cores()} CPU "
            "threads, as many as XLA uses"
        )
    return "\n".join(lines)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    for name, text in (
        ("sequences", f"per step, {BODIES_PER_SEQUENCE} bodies each (default: 8 on CPU, else 128)"),
        ("steps", "timed at once, in one dispatch or one each (default: 2 on CPU, else 10)"),
        ("rounds", "measurements of each variant (default: 4 on CPU, else 10)"),
    ):
        parser.add_argument(f"--{name}", type=options.positive, help=text)
    options.add_dtype(parser, "auto", "float32", "bfloat16")
    options.add_attention(parser)
    parser.add_argument("--torch", action="store_true", help="also time MAMP in PyTorch")
    names = ", ".join(row.name for row in all_variants(KERNELS, with_torch=True))
    parser.add_argument(
        "--variants", default="all", help=f"some of: {names}; {BASE} is always measured"
    )
    options.add_override(parser)
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON file."""
    if flags.torch:
        torch_mamp()  # fails now, if at all
    on_cpu = options.on_cpu()
    sequences = flags.sequences or (8 if on_cpu else 128)
    steps = flags.steps or (2 if on_cpu else 10)
    num_rounds = flags.rounds or (4 if on_cpu else 10)
    default = config_of(Variant(BASE, in_one_dispatch), sequences, flags.dtype, flags.override)
    rows = all_variants(full_size.kernels(flags.attention, default.dtype), flags.torch)
    rows = select(rows, flags.variants)
    source = output.provenance("step")
    encoder = default.encoder
    console.say(
        f"{source['device']['kind']}, {default.dtype}: {sequences} sequences, {default.batch_size} "
        f"bodies per step, {steps} steps per dispatch; T {encoder.num_frames}, "
        f"V {encoder.num_joints}, width {encoder.width}, {encoder.depth} blocks; "
        f"{options.usable_cores()} CPU threads"
    )
    measured = measure(rows, sequences, default.dtype, steps, flags.override)
    peak = timing.matmul_peak(default.dtype)
    timing.warm_up_and_time([m.program for m in measured], num_rounds)
    found = summary(measured, peak)
    console.say(output.table(found, COLUMNS))
    console.say(notes(peak, flags.torch))
    settings = {
        "sequences": sequences,
        "steps": steps,
        "rounds": num_rounds,
        "dtype": default.dtype,
        "cpu_threads": options.usable_cores(),
        "torch": torch_mamp().about() if flags.torch else None,
        "override": flags.override,
        "encoder": encoder.to_dict(),
    }
    content = {**source, "settings": settings, "peaks": peak, "rows": found}
    output.write_json(flags.json, content)
