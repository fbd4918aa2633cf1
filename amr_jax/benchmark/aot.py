"""Predicted cost of a training step on absent accelerators, from compiled programs.

    python -m amr_jax.benchmark aot [--targets=h200,v5e:2x2] [--methods=amr,mamp] [--json=FILE]

The training loop's own dispatch of one full-size step is compiled for each target by the target's
compiler, with each attention kernel that the target has. No device is needed, and nothing runs:
times are arithmetic with published peak rates (`accelerators`), not measurements.

A TPU's compiler spends most of its time on the use of on-chip memory: three minutes of a core for
AMR at full size. `--effort=-1` takes one minute; all arrays then stay in main memory, so that bytes
and temporaries are upper limits, several times too high.
"""

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from amr_jax.benchmark import accelerators, compiled, cost_model, full_size, options, output
from amr_jax.config import checks
from amr_jax.errors import UserError
from amr_jax.run import console, sharding
from amr_jax.studies import costs

# Real bodies in the training split of NTU-60 x-sub (40,091 sequences), and epochs of the paper.
BODIES_AN_EPOCH = 47_000
EPOCHS = 400

_HOURS = "hours at least"
COLUMNS = {
    "method": output.number("name"),
    "attention": output.number("attention"),
    "target": output.number("target"),
    "chips": output.number("chips"),
    "TFLOPs": output.number("flops", ".2f", 1e12),
    "GB moved": output.number("bytes", ".1f", 1e9),
    "compiler's GB": output.number("compiler_bytes", ".1f", 1e9),
    "memory GB": lambda e: "" if e["problem"] else f"{e['memory']['peak'] / 1e9:.2f}",
    "temporaries GB": lambda e: "" if e["problem"] else f"{e['memory']['temporaries'] / 1e9:.2f}",
    "sent MB": lambda e: f"{e['sent'] / 1e6:.1f}" if e.get("sent") else "",
    "modelled MB": lambda e: f"{e['modelled_sent'] / 1e6:.1f}" if e.get("sent") else "",
    "launches": output.number("launches", ","),
    "compute ms": lambda e: _predicted(e, "compute_s", 1e3),
    "bandwidth ms": lambda e: _predicted(e, "memory_s", 1e3),
    _HOURS: lambda e: _predicted(e, "hours", 1),
}


def _predicted(entry: Mapping[str, Any], key: str, factor: float) -> str:
    return f"{entry['prediction'][key] * factor:.2f}" if entry["prediction"] else ""


@dataclasses.dataclass(frozen=True)
class Request:
    """A program to compile: a method with an attention kernel, for a target.

    Attributes:
      bodies: per step, on all chips together.
      fsdp: `config.fsdp`.
      overrides: of the config, `encoder.depth=4`.
      effort: of a TPU's compiler, -1 (least) to 1; a run has 0.
    """

    target: accelerators.Target
    row: full_size.Row
    attention: str
    bodies: int
    dtype: str
    fsdp: int = 1
    overrides: tuple[str, ...] = ()
    effort: float = 0.0

    def config(self):
        """The resolved config; `UserError` for an override that does not fit."""
        how = (self.bodies, self.dtype, self.attention, self.overrides)
        return full_size.config_of(self.row, *how, fsdp=self.fsdp)


def compile_step(request: Request) -> dict[str, Any]:
    """Compiles a program and counts its work, memory and exchange per chip, for JSON.

    Runs in a process of its own: compilers of several targets do not work in one process, and some
    end the process where others raise.
    """
    # A new process, without the settings of `run`.
    jax.config.update("jax_platforms", "cpu")
    mesh = sharding.make_mesh(accelerators.devices(request.target), request.fsdp)
    config = request.config()
    checks.require_batch_splits(config, mesh.size)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    start = time.perf_counter()
    program = dispatch.lower(state, {}, batch).compile(request.target.options(request.effort))
    work = cost_model.work_of(config, (0.0, 0.0), request.target.accelerator.platform)
    modelled = cost_model.exchanged(work, mesh.size // request.fsdp, request.fsdp)
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


def requests_of(
    targets: Sequence[accelerators.Target], rows: Sequence[full_size.Row], flags: argparse.Namespace
) -> list[Request]:
    """Every target with every method and kernel that the flags ask for.

    Raises:
      UserError: a kernel that a target does not have in this dtype.
    """
    found = []
    for target in targets:
        kernels = target.kernels if flags.dtype == "bfloat16" else ("xla",)
        if flags.attention not in ("all", *kernels):
            raise UserError(
                f"--attention={flags.attention}: {target} in {flags.dtype} has only "
                f"{' and '.join(kernels)}."
            )
        chosen = kernels if flags.attention == "all" else (flags.attention,)
        how = (flags.bodies, flags.dtype, flags.fsdp, tuple(flags.override), flags.effort)
        found += [Request(target, row, kernel, *how) for row in rows for kernel in chosen]
    return found


def predicted(entry: Mapping[str, Any]) -> dict[str, float] | None:
    """Least seconds of a step and hours of the training; None where there is no program."""
    if entry["problem"]:
        return None
    chip = accelerators.parse(entry["target"]).accelerator
    compute_s = entry["flops"] / chip.flops[entry["dtype"]]
    memory_s = entry["bytes"] / chip.bandwidth
    step_s = max(compute_s, memory_s)
    hours = EPOCHS * BODIES_AN_EPOCH / entry["bodies"] * step_s / 3600
    return {"compute_s": compute_s, "memory_s": memory_s, "step_s": step_s, "hours": hours}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    parser.add_argument(
        "--targets",
        default="h200,v5e:2x2",
        help=f"some of {', '.join(accelerators.ACCELERATORS)}, optionally with chips: v5e:4x4 "
        "(default h200,v5e:2x2)",
    )
    names = ", ".join(row.name for row in full_size.all_rows())
    parser.add_argument(
        "--methods", default="amr,mamp", help=f"some of: {names}; or all (default amr,mamp)"
    )
    options.add_attention(parser)
    parser.add_argument(
        "--bodies", type=options.positive, default=256, help="per step, all chips (default 256)"
    )
    options.add_dtype(parser, "bfloat16", "float32")
    parser.add_argument(
        "--fsdp", type=options.positive, default=1, help="config.fsdp, chips that share the state"
    )
    parser.add_argument(
        "--effort",
        type=float,
        default=0.0,
        help="of a TPU's compiler, -1 to 1 (default 0, as in a run; -1 is three times as fast)",
    )
    options.add_override(parser)
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Compiles, prints the table, writes the JSON file."""
    # No device is needed: an accelerator that is there stays untouched.
    jax.config.update("jax_platforms", "cpu")
    rows = full_size.select(flags.methods)
    targets = [accelerators.parse(text.strip()) for text in flags.targets.split(",")]
    for target in targets:
        accelerators.require_compiler(target)
    console.say(
        f"{flags.dtype}, {flags.bodies} bodies per step; compiled here, run nowhere: predicted, "
        "not measured"
    )
    found = []
    for request in requests_of(targets, rows, flags):
        settings = dataclasses.asdict(request) | {"target": str(request.target)}
        entry = settings.pop("row") | settings | compiled_apart(request)
        found.append(entry | {"prediction": predicted(entry)})
        took = entry["problem"] or f"{entry['compile_s']:.0f} s"
        console.say(f"compiled {entry['name']}, {entry['attention']}, {entry['target']}: {took}")
    if all(entry["problem"] for entry in found):
        raise UserError("nothing could be compiled; the lines above say why.")
    console.say(output.table(found, COLUMNS))
    console.say(
        f"{_HOURS}: {EPOCHS} epochs of {BODIES_AN_EPOCH:,} packed bodies (NTU-60 x-sub), if a step "
        "takes no longer than its FLOPs or its bytes at published peak rates"
    )
    content = {
        **output.provenance("aot"),
        "measured": False,
        "training": {"epochs": EPOCHS, "bodies_an_epoch": BODIES_AN_EPOCH},
        "peaks": {t.kind: dataclasses.asdict(t.accelerator) for t in targets},
        "rows": found,
    }
    output.write_json(flags.json, content)
