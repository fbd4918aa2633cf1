"""AMR's training step at full size: how near the device's limits, and what makes it fast.

    python -m amr_jax.benchmark step [--torch] [--sequences=8] [--json=FILE]

Every variant differs from the first row, the default, in one thing, and is timed beside it in the
same rounds: steps per dispatch, body slots, attention kernel, method (MAMP; with --torch also the
published step in PyTorch). A time is that of `--steps` steps, divided by them.
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import ml_collections

from amr_jax import base_config, costs, metrics, pretrain
from amr_jax import methods as registry
from amr_jax.benchmark import options, output, roofline, rounds
from amr_jax.benchmark.methods import DATASET, kernels
from amr_jax.benchmark.program import Program
from amr_jax.comparison.rows import override
from amr_jax.errors import UserError
from amr_jax.models.settings import require_choice

BASE = "default"

# NTU-60 x-sub: training sequences, real bodies of one on average, and how long it is trained.
SEQUENCES, BODIES_PER_SEQUENCE, EPOCHS = 40_091, 1.17, 400


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
      build: (config, steps) → what is timed: a `Program`, or what has its attributes.
      method, bodies, attention: in the config.
    """

    name: str
    build: Callable[[ml_collections.ConfigDict, int], Any]
    method: str = "amr"
    bodies: str = "packed"
    attention: str = "xla"


def in_one_dispatch(config: ml_collections.ConfigDict, steps: int) -> Program:
    """All steps in one dispatch, as the training loop does it."""
    return Program(config, steps)


def a_dispatch_each(config: ml_collections.ConfigDict, steps: int) -> Program:
    """A dispatch for each step; they follow each other without waiting."""
    return Program(config, 1, steps)


def augmentation_alone(config: ml_collections.ConfigDict, steps: int) -> Program:
    """The steps' augmentation and nothing else.

    A step on ready-made clips would be the other way to find its share, but the difference of two
    steps is smaller than their noise. Alone, nothing else hides it, and its result goes through
    memory: what this says is rather too much.
    """
    return Program(config, steps, make=costs.augmentation)


def in_torch(fused: bool) -> Callable:
    """The published step in PyTorch, on the clips that the other variants start from."""

    def build(config, steps):
        clips, _ = costs.random_batch(config, steps)  # (steps, bodies, T, 1, V, C)
        num_kept = registry.build(config).num_kept
        threads = options.usable_cores()
        return torch_mamp().TorchStep(config, clips[:, :, :, 0], num_kept, fused, threads)

    return build


def torch_mamp() -> ModuleType:
    """The module that needs PyTorch; `UserError` where that is absent."""
    try:
        from amr_jax.benchmark import torch_mamp
    except ImportError as error:
        if error.name != "torch":
            raise
        raise UserError(
            "--torch: PyTorch is not installed; pip install -e '.[torch]', or leave the flag out."
        ) from error
    return torch_mamp


def variants(attentions: Sequence[str], with_torch: bool) -> list[Variant]:
    """All rows; the first of the `attentions` is the default's."""
    first, *others = attentions
    rows = [
        Variant(BASE, in_one_dispatch, attention=first),
        Variant("one step a dispatch", a_dispatch_each, attention=first),
        Variant("all body slots", in_one_dispatch, bodies="all", attention=first),
        *(Variant(f"amr w/ {other}", in_one_dispatch, attention=other) for other in others),
        Variant("augmentation", augmentation_alone, attention=first),
        Variant("mamp", in_one_dispatch, "mamp", attention=first),
        *(
            Variant(f"mamp w/ {other}", in_one_dispatch, "mamp", attention=other)
            for other in others
        ),
    ]
    if with_torch:
        rows += [
            Variant("torch mamp", in_torch(False), "mamp"),
            Variant("torch mamp w/ fused attention", in_torch(True), "mamp"),
        ]
    return rows


def select(rows: Sequence[Variant], names: str) -> list[Variant]:
    """The rows that --variants asks for, and the default; `all`: all of them."""
    if names == "all":
        return list(rows)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        require_choice("--variants", name, tuple(row.name for row in rows))
    return [row for row in rows if row.name in (*wanted, BASE)]


def config_of(
    variant: Variant, sequences: int, dtype: str, overrides: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """The resolved config of a variant, for `sequences` sequences a step.

    Args:
      overrides: as `encoder.depth=4`, of every variant's config.
    """
    config = base_config.pretraining(variant.method, DATASET)
    del config.model.masking  # SkeletonMAE's; each method's own default is right
    config.input.bodies = variant.bodies
    packed = round(BODIES_PER_SEQUENCE * sequences)
    config.batch_size = packed if variant.bodies == "packed" else sequences
    config.dtype = dtype
    config.attention_kernel = variant.attention
    for text in overrides:
        override(config, text)
    return pretrain.resolve(config)


def sequences_of(config: ml_collections.ConfigDict) -> float:
    """Sequences of the data set that a step trains on: of packed bodies, on average."""
    packed = config.input.bodies == "packed"
    return config.batch_size / BODIES_PER_SEQUENCE if packed else config.batch_size


@dataclasses.dataclass
class Measured:
    """One variant, and what was measured of it.

    Attributes:
      program: what `Variant.build` made.
      forward_flops: of the linear layers, of a forward pass of the batch.
      flops: of a step, by the compiler; None where its program is none of ours.
    """

    variant: Variant
    config: ml_collections.ConfigDict
    program: Any
    forward_flops: int | None = None
    flops: float | None = None


def prepare(
    rows: Sequence[Variant], sequences: int, dtype: str, steps: int, overrides: Sequence[str]
) -> list[Measured]:
    """Compiles every variant and counts its work."""
    measured, flops = [], {}
    for row in rows:
        config = config_of(row, sequences, dtype, overrides)
        m = Measured(row, config, row.build(config, steps))
        if row.build in (in_one_dispatch, a_dispatch_each):
            bodies = config.batch_size * costs.SLOTS[config.input.bodies]
            m.forward_flops = costs.linear_flops(registry.build(config), bodies)
            # The work is the same, whatever kernels do it, and in however many dispatches.
            work = (row.method, config.input.bodies)
            if work not in flops:
                flops[work] = costs.step_flops(config)
            m.flops = flops[work]
        measured.append(m)
        seconds = m.program.compile_s
        took = m.program.problem or (f"compiled in {seconds:.0f} s" if seconds else "ready")
        metrics.say(f"{row.name}: {took}")
    return measured


def time_all(measured: Sequence[Measured], num_rounds: int) -> None:
    """Warms all up, then times them in rounds."""
    programs = [m.program for m in measured]
    # The allocator's peak never falls: from the smallest to the largest, each sets its own.
    for program in sorted(programs, key=lambda p: p.memory_bytes or 0):
        program.warm_up()
    for i in range(num_rounds):
        for program in rounds.rotated(programs, i):
            program.time_step()
        metrics.say(f"round {i + 1}/{num_rounds}")


def summary(measured: Sequence[Measured], peaks: roofline.Peaks) -> list[dict[str, Any]]:
    """All that was measured, an entry each; ratios are of the time that a sequence takes."""
    base = next(m for m in measured if m.variant.name == BASE)
    base_sequences = sequences_of(base.config)
    found = []
    for m in measured:
        program, sequences = m.program, sequences_of(m.config)
        low, middle, high = rounds.quartiles(program.step_s) if program.step_s else (None,) * 3
        ratio = None
        if program.step_s and base.program.step_s:
            ratio = rounds.ratio(program.step_s, base.program.step_s) * base_sequences / sequences
        entry = {
            "name": m.variant.name,
            "method": m.variant.method,
            "slots": m.variant.bodies,
            "attention": m.variant.attention,
            "bodies": m.config.batch_size * costs.SLOTS[m.config.input.bodies],
            "sequences": sequences,
            "problem": program.problem,
            "step_s_median": middle,
            "step_s_quartiles": [low, high],
            "ratio": ratio,
            "memory_bytes": program.memory_bytes,
            "device_bytes": program.device_bytes,
            "compile_s": program.compile_s,
            "losses": program.losses,
            "step_s": program.step_s,
        }
        if middle is not None and m.variant.build is not augmentation_alone:
            entry["sequences_per_s"] = sequences / middle
            entry["epochs_s"] = EPOCHS * SEQUENCES * middle / sequences
        if middle is not None and m.flops is not None:
            entry |= _against_peaks(m, middle, peaks)
        found.append(entry)
    return found


def _against_peaks(m: Measured, step_s: float, peaks: roofline.Peaks) -> dict[str, Any]:
    roof = roofline.roof(m.flops, m.program.bytes_accessed, peaks)
    return {
        "flops": m.flops,
        "bytes_accessed": m.program.bytes_accessed,
        "forward_linear_flops": m.forward_flops,
        "compute_s": roof.compute_s,
        "memory_s": roof.memory_s,
        "bound": roof.bound,
        "roofline_share": roof.share(step_s),
        "mfu": roofline.model_flops_utilisation(m.forward_flops, step_s, peaks),
    }


def as_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The entries of `summary` for the terminal."""

    def text(row, key, form, unit=1.0):
        value = row.get(key)
        return "" if value is None else format(value / unit, form)

    header = (
        "step",
        "bodies",
        "ms",
        "quartiles",
        "to default",
        "sequences/s",
        "MFU",
        "of the roof",
    )
    header += ("bound by", f"{EPOCHS} epochs", "memory GB", "device GB", "compile s")
    lines = []
    for row in found:
        low, high = row["step_s_quartiles"]
        lines.append(
            (
                row["name"],
                str(row["bodies"]),
                row["problem"] or text(row, "step_s_median", ",.1f", 1e-3),
                "" if low is None else f"{low / 1e-3:,.1f}–{high / 1e-3:,.1f}",
                text(row, "ratio", ".3f"),
                text(row, "sequences_per_s", ",.1f"),
                text(row, "mfu", ".1%"),
                text(row, "roofline_share", ".0%"),
                row.get("bound", ""),
                metrics.duration(row["epochs_s"]) if "epochs_s" in row else "",
                text(row, "memory_bytes", ".2f", 1e9),
                text(row, "device_bytes", ".2f", 1e9),
                text(row, "compile_s", ".0f"),
            )
        )
    return output.table(header, lines)


def notes(peaks: roofline.Peaks, with_torch: bool) -> str:
    """What the table's columns rest on."""
    lines = [
        f"peaks: {peaks.flops_per_s / 1e9:,.0f} GFLOP/s (product of {peaks.matmul_size} × "
        f"{peaks.matmul_size}, {peaks.dtype}), {peaks.bytes_per_s / 1e9:,.1f} GB/s read and written",
        "to default: time of a sequence, median over rounds; MFU: linear layers, forward and "
        "backward, over the peak",
        f"{EPOCHS} epochs: extrapolated from the median step, NTU-60 x-sub, {SEQUENCES:,} sequences "
        f"of {BODIES_PER_SEQUENCE} bodies",
    ]
    if with_torch:
        lines.append(
            f"PyTorch {torch_mamp().torch.__version__}: float32, ready-made clips, "
            f"{options.usable_cores()} CPU threads, as many as XLA's"
        )
    return "\n".join(lines)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    parser.add_argument(
        "--sequences",
        type=output.positive,
        help=f"a step, of {BODIES_PER_SEQUENCE} bodies each (default: 8 on CPU, 128 elsewhere)",
    )
    parser.add_argument(
        "--steps",
        type=output.positive,
        help="timed at once, in one dispatch or in one each (default: 2 on CPU, 10 elsewhere)",
    )
    parser.add_argument(
        "--rounds", type=output.positive, help="times of each (default: 5 on CPU, 10 elsewhere)"
    )
    options.add_dtype(parser)
    options.add_attention(parser)
    parser.add_argument("--torch", action="store_true", help="MAMP in PyTorch, too")
    parser.add_argument("--variants", default="all", help=f"some rows; {BASE} is always measured")
    options.add_override(parser)
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON."""
    if flags.torch:
        torch_mamp()
    on_cpu = options.on_cpu()
    sequences = flags.sequences or (8 if on_cpu else 128)
    steps = flags.steps or (2 if on_cpu else 10)
    num_rounds = flags.rounds or (5 if on_cpu else 10)
    default = config_of(Variant(BASE, in_one_dispatch), sequences, flags.dtype, flags.override)
    rows = variants(kernels(flags.attention, default.dtype), flags.torch)
    rows = select(rows, flags.variants)
    source = output.provenance("step")
    encoder = default.encoder
    metrics.say(
        f"{source['device']['kind']}, {default.dtype}: {sequences} sequences, {default.batch_size} "
        f"bodies a step, {steps} steps a dispatch; T {encoder.num_frames}, V {encoder.num_joints}, "
        f"width {encoder.width}, {encoder.depth} blocks; {options.usable_cores()} CPU threads"
    )
    measured = prepare(rows, sequences, default.dtype, steps, flags.override)
    peaks = roofline.measure(default.dtype)
    time_all(measured, num_rounds)
    found = summary(measured, peaks)
    metrics.say(as_table(found))
    metrics.say(notes(peaks, flags.torch))
    if flags.json:
        settings = {
            "sequences": sequences,
            "steps": steps,
            "rounds": num_rounds,
            "dtype": default.dtype,
            "cpu_threads": options.usable_cores(),
            "override": flags.override,
            "encoder": encoder.to_dict(),
        }
        content = {**source, "settings": settings, "peaks": dataclasses.asdict(peaks)}
        output.write_json(flags.json, {**content, "rows": found})
        metrics.say(f"written: {flags.json}")
