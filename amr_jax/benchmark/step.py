"""AMR's training step at full size: how near the device's limits, and what makes it fast.

    python -m amr_jax.benchmark step [--torch] [--sequences=8] [--json=FILE]

Every variant differs from the first row, the default, in one thing, and is timed beside it in the
same rounds: steps per dispatch, body slots, attention kernel, method (MAMP; with --torch also the
published step in PyTorch). A time is that of `--steps` steps, divided by them.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from amr_jax import methods as registry
from amr_jax.benchmark import options, output, roofline, rounds, variants
from amr_jax.benchmark.methods import kernels
from amr_jax.benchmark.variants import BASE, BODIES_PER_SEQUENCE, Variant
from amr_jax.models.attention import KERNELS
from amr_jax.run import console
from amr_jax.studies import costs

# NTU-60 x-sub: training sequences, and how many epochs they are trained for.
SEQUENCES, EPOCHS = 40_091, 400


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
    measured, counted = [], {}
    for row in rows:
        config = variants.config_of(row, sequences, dtype, overrides)
        m = Measured(row, config, row.build(config, steps))
        if row.build in (variants.in_one_dispatch, variants.a_dispatch_each):
            # The work is the same, whatever kernels do it, and in however many dispatches.
            work = (row.method, row.bodies)
            if work not in counted:
                counted[work] = count(config)
            m.forward_flops, m.flops = counted[work]
        measured.append(m)
        seconds = m.program.compile_s
        took = m.program.problem or (f"compiled in {seconds:.0f} s" if seconds else "ready")
        console.say(f"{row.name}: {took}")
    return measured


def count(config: ml_collections.ConfigDict) -> tuple[int, float]:
    """Operations of the linear layers in a forward pass, and the compiler's of the whole step."""
    plain = ml_collections.ConfigDict(config.copy_and_resolve_references())
    plain.attention_kernel = "xla"
    return costs.linear_flops(registry.build(plain), bodies_of(config)), costs.step_flops(config)


def bodies_of(config: ml_collections.ConfigDict) -> int:
    """Bodies that a step computes."""
    return config.batch_size * costs.SLOTS[config.input.bodies]


def summary(measured: Sequence[Measured], peaks: roofline.Peaks) -> list[dict[str, Any]]:
    """All that was measured, an entry each; ratios are of the time that a sequence takes."""
    base = next(m for m in measured if m.variant.name == BASE)
    base_sequences = variants.sequences_of(base.config)
    found = []
    for m in measured:
        program, sequences = m.program, variants.sequences_of(m.config)
        low, middle, high = rounds.quartiles(program.step_s) if program.step_s else (None,) * 3
        ratio = None
        if program.step_s and base.program.step_s:
            ratio = rounds.ratio(program.step_s, base.program.step_s) * base_sequences / sequences
        entry = {
            "name": m.variant.name,
            "method": m.variant.method,
            "slots": m.variant.bodies,
            "attention": m.variant.attention,
            "bodies": bodies_of(m.config),
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
        if middle is not None and m.variant.build is not variants.augmentation_alone:
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

    header = ("step", "bodies", "ms", "quartiles", "to default", "sequences/s", "MFU")
    header += ("of roof", "bound by", f"{EPOCHS} epochs", "memory GB", "device GB", "compile s")
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
                console.duration(row["epochs_s"]) if "epochs_s" in row else "",
                text(row, "memory_bytes", ".2f", 1e9),
                text(row, "device_bytes", ".2f", 1e9),
                text(row, "compile_s", ".0f"),
            )
        )
    return output.table(header, lines)


def notes(peaks: roofline.Peaks, with_torch: bool) -> str:
    """What the table's columns rest on."""
    rate, bandwidth = peaks.flops_per_s / 1e9, peaks.bytes_per_s / 1e9
    lines = [
        f"peaks measured: {rate:,.0f} GFLOP/s in {peaks.dtype} (a product of matrices of "
        f"{peaks.matmul_size} rows), {bandwidth:,.1f} GB/s read and written",
        "to default: time of a sequence, median over rounds; of the augmentation, run alone, its "
        "share of the step, rather too large",
        "MFU: linear layers, forward and backward, at the peak rate. Of roof: time for the "
        "compiler's operations or bytes at the peaks, the longer one, over the time measured; "
        "above 100 % where caches serve the bytes",
        f"{EPOCHS} epochs: EXTRAPOLATED from the median step to NTU-60 x-sub, {SEQUENCES:,} "
        f"sequences, about {SEQUENCES * BODIES_PER_SEQUENCE:,.0f} bodies",
    ]
    if with_torch:
        lines.append(
            f"{variants.torch_mamp().about()}: float32, ready-made clips, "
            f"{options.usable_cores()} CPU threads, as many as XLA has"
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
        "--rounds", type=output.positive, help="times of each (default: 4 on CPU, 10 elsewhere)"
    )
    options.add_dtype(parser)
    options.add_attention(parser)
    parser.add_argument("--torch", action="store_true", help="MAMP in PyTorch, too")
    names = ", ".join(row.name for row in variants.all_variants(KERNELS, with_torch=True))
    parser.add_argument(
        "--variants", default="all", help=f"some of: {names}; {BASE} is always measured"
    )
    options.add_override(parser)
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON."""
    if flags.torch:
        variants.torch_mamp()
    on_cpu = options.on_cpu()
    sequences = flags.sequences or (8 if on_cpu else 128)
    steps = flags.steps or (2 if on_cpu else 10)
    num_rounds = flags.rounds or (4 if on_cpu else 10)
    default = variants.config_of(
        Variant(BASE, variants.in_one_dispatch), sequences, flags.dtype, flags.override
    )
    rows = variants.all_variants(kernels(flags.attention, default.dtype), flags.torch)
    rows = variants.select(rows, flags.variants)
    source = output.provenance("step")
    encoder = default.encoder
    console.say(
        f"{source['device']['kind']}, {default.dtype}: {sequences} sequences, {default.batch_size} "
        f"bodies a step, {steps} steps a dispatch; T {encoder.num_frames}, V {encoder.num_joints}, "
        f"width {encoder.width}, {encoder.depth} blocks; {options.usable_cores()} CPU threads"
    )
    measured = prepare(rows, sequences, default.dtype, steps, flags.override)
    peaks = roofline.measure(default.dtype)
    rounds.time_all([m.program for m in measured], num_rounds)
    found = summary(measured, peaks)
    console.say(as_table(found))
    console.say(notes(peaks, flags.torch))
    if flags.json:
        settings = {
            "sequences": sequences,
            "steps": steps,
            "rounds": num_rounds,
            "dtype": default.dtype,
            "cpu_threads": options.usable_cores(),
            "torch": variants.torch_mamp().about() if flags.torch else None,
            "override": flags.override,
            "encoder": encoder.to_dict(),
        }
        content = {**source, "settings": settings, "peaks": dataclasses.asdict(peaks)}
        output.write_json(flags.json, {**content, "rows": found})
        console.say(f"written: {flags.json}")
