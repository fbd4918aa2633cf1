"""Predicted cost of a training step on absent accelerators, from compiled programs.

    python -m amr_jax.benchmark aot [--targets=h200,v5e:2x2] [--methods=amr,mamp] [--json=FILE]

The training loop's own dispatch of one full-size step, in bfloat16, is compiled for each target by
the target's compiler, with each attention kernel that the target has. No device is needed, and
nothing runs: times are arithmetic with published peak rates (`accelerators`), not measurements.

A TPU's compiler spends most of its time on the use of on-chip memory: three minutes of a core for
AMR at full size. `--effort=-1` takes one minute; all arrays then stay in main memory, so that bytes
and temporaries are upper limits, several times too high.
"""

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import time
from collections.abc import Mapping
from typing import Any

import jax

from amr_jax.benchmark import accelerators, compiled, cost_model, full_size, interface
from amr_jax.config import checks
from amr_jax.errors import UserError
from amr_jax.run import cli, console, sharding
from amr_jax.studies import costs

# Real bodies in the training split of NTU-60 x-sub (40,091 sequences).
BODIES_AN_EPOCH = 47_000

# The attention kernels and the compiler's options, by platform.
KERNELS = {"cuda": ("xla", "cudnn"), "tpu": ("xla", "fused")}
# Without the device nothing can be timed: no autotuning, and no Triton kernels for matrix products,
# which XLA chooses by timing alone.
_CUDA_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}

COLUMNS = {
    "method": interface.number("name"),
    "attention": interface.number("attention"),
    "target": interface.number("target"),
    "chips": interface.number("chips"),
    "TFLOPs": interface.number("flops", ".2f", 1e12),
    "GB moved": interface.number("bytes", ".1f", 1e9),
    "memory GB": interface.number("memory_bytes", ".2f", 1e9),
    "sent MB": lambda e: f"{e['sent'] / 1e6:.1f}" if e.get("sent") else "",
    "modelled MB": lambda e: f"{e['modelled_sent'] / 1e6:.1f}" if e.get("sent") else "",
    "launches": interface.number("launches", ","),
    "compute ms": interface.number("compute_s", ".2f", 1e-3),
    "bandwidth ms": interface.number("memory_s", ".2f", 1e-3),
    "hours at least": interface.number("hours", ".2f"),
}


@dataclasses.dataclass(frozen=True)
class Request:
    """A program to compile: a method with an attention kernel, for chips of one kind.

    Attributes:
      bodies: per step, on all chips together.
      overrides: of the config, `encoder.depth=4`.
      effort: of a TPU's compiler, -1 (least) to 1; a run has 0.
    """

    kind: str
    chips: str
    row: full_size.Row
    attention: str
    bodies: int
    overrides: tuple[str, ...] = ()
    effort: float = 0.0


def compile_step(request: Request) -> dict[str, Any]:
    """Compiles a program and counts its work, memory and exchange per chip, for JSON.

    Runs in a process of its own: compilers of several targets do not work in one process, and some
    end the process where others raise.

    Raises:
      UserError: an override that does not fit; a batch that does not split over the chips.
    """
    # A new process, without the settings of `run`.
    jax.config.update("jax_platforms", "cpu")
    config = full_size.config_of(
        request.row, request.bodies, "bfloat16", request.attention, request.overrides
    )
    mesh = sharding.make_mesh(accelerators.devices(request.kind, request.chips), config.fsdp)
    checks.require_batch_splits(config, mesh.size)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    platform = accelerators.ACCELERATORS[request.kind].platform
    checks.require_kernel_runs(config, platform)
    effort = {"exec_time_optimization_effort": request.effort}
    start = time.perf_counter()
    lowered = dispatch.lower(state, {}, batch)
    program = lowered.compile(_CUDA_OPTIONS if platform == "cuda" else effort)
    work = cost_model.work_of(config, (0.0, 0.0), platform)
    modelled = cost_model.exchanged(work, mesh.size // config.fsdp, config.fsdp)
    return {
        "chips": mesh.size,
        "compile_s": time.perf_counter() - start,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "flops": costs.step_flops(config) / mesh.size,
        **compiled.summary(program),
        "modelled_sent": compiled.sent(modelled),
    }


def compiled_apart(request: Request) -> dict[str, Any]:
    """`compile_step` in a process of its own; a failure there is the entry's `problem`.

    Raises:
      UserError: the request cannot be met.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        try:
            return {"problem": None, **pool.submit(compile_step, request).result()}
        except jax.errors.JaxRuntimeError as error:
            return {"problem": str(error).strip().splitlines()[0]}
        except concurrent.futures.process.BrokenProcessPool:
            return {"problem": "the compiler ended its process"}


def predicted(request: Request, entry: Mapping[str, Any]) -> dict[str, float]:
    """Least seconds of a step, for its FLOPs and its bytes, and least hours of the training."""
    chip = accelerators.ACCELERATORS[request.kind]
    compute_s, memory_s = entry["flops"] / chip.flops, entry["bytes"] / chip.bandwidth
    steps = full_size.EPOCHS * BODIES_AN_EPOCH / request.bodies
    hours = steps * max(compute_s, memory_s) / 3600
    return {"compute_s": compute_s, "memory_s": memory_s, "hours": hours}


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    kinds, names = accelerators.ACCELERATORS, [row.name for row in full_size.all_rows()]
    parser.add("targets", str, "h200,v5e", f"some of {', '.join(kinds)}; or with chips: v5e:4x4")
    parser.add("methods", str, "amr,mamp", f"some of: {', '.join(names)}; or all")
    parser.add("bodies", cli.at_least(1), 256, "per step, on all chips together")
    parser.add("fsdp", cli.at_least(1), 1, "config.fsdp, chips that share the state")
    parser.add("effort", float, 0.0, "of a TPU's compiler, -1 to 1; -1 is three times as fast")
    interface.add_override(parser)


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Compiles and prints the table; returns the content of the JSON file."""
    # No device is needed: an accelerator that is there stays untouched.
    jax.config.update("jax_platforms", "cpu")
    rows = full_size.select(full_size.all_rows(), flags.methods, "--methods")
    targets = [accelerators.parse(text) for text in flags.targets.split(",")]
    for kind, _ in targets:
        accelerators.require_compiler(kind)
    console.say(
        f"bfloat16, {flags.bodies} bodies per step; compiled here, run nowhere: predicted, not "
        "measured"
    )
    overrides, found = (f"fsdp={flags.fsdp}", *flags.override), []
    requests = [
        Request(kind, chips, row, kernel, flags.bodies, overrides, flags.effort)
        for kind, chips in targets
        for row in rows
        for kernel in KERNELS[accelerators.ACCELERATORS[kind].platform]
    ]
    for request in requests:
        target = f"{request.kind}:{request.chips}"
        entry = {"name": request.row.name, "attention": request.attention, "target": target}
        entry |= compiled_apart(request)
        if not entry["problem"]:
            entry |= predicted(request, entry)
        found.append(entry)
        took = entry["problem"] or f"{entry['compile_s']:.0f} s"
        console.say(f"compiled {entry['name']}, {request.attention}, {target}: {took}")
    if all(entry["problem"] for entry in found):
        raise UserError("nothing could be compiled; see the lines above for the reasons.")
    interface.print_table(found, COLUMNS)
    console.say(
        f"hours at least: {full_size.EPOCHS} epochs of {BODIES_AN_EPOCH:,} packed bodies (NTU-60 "
        "x-sub), if a step takes no longer than its FLOPs or its bytes at published peak rates"
    )
    return {
        "measured": False,
        "peaks": {kind: dataclasses.asdict(accelerators.ACCELERATORS[kind]) for kind, _ in targets},
        "rows": found,
    }
