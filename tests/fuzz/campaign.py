r"""Mutation fuzzing of every file format: reads thousands of damaged files of each.

  python tests/fuzz/campaign.py [--mutants=10000] [--seed=0] [--format NAME …] [--only=NUMBER]

Each mutant must end in an error that names the file, or in data equal to the undamaged rest
(defined in `formats.py`), within two seconds of processor time and a GiB of memory. The command
prints a table. If a mutant fails, it prints the options that reproduce it, saves it to a file, and
exits with status 1. Reading 10,000 mutants of each format takes two minutes of processor time,
nearly all of it for models. Every format has its own process.
"""

import argparse
import faulthandler
import importlib.util
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a script

NAMES = (
    "ntu", "pku", "pku_labels", "pku_split", "nw_ucla", "zip", "npy", "npz", "pickle", "layout",
    "labels", "classes", "model", "scores", "weights", "pth", "pth_old",
)  # fmt: skip
_OF_MODELS = NAMES[-5:]
OF_TORCH = NAMES[-2:]
_MEMORY = 2**30  # bytes, limit for reading a mutant
_HUNG = 60  # seconds until a mutant is killed that ignores signals
_MOST_FAULTS = 20  # per format


def _formats(models: bool) -> dict:
    """The formats by name. Only the formats of models import JAX."""
    from tests.fuzz import exchange_formats, raw_formats

    if not models:
        return raw_formats.FORMATS | exchange_formats.FORMATS
    from tests.fuzz import model_formats

    return model_formats.FORMATS


def _run(name: str, seed: int, numbers: range, at, results) -> None:
    """Runs in its own process: reads the mutants, puts (faults, tally, memory) into `results`."""
    from tests.fuzz.judge import Fault, Judge

    faults, fuzzed = [], _formats(models=name in _OF_MODELS)[name]
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(fuzzed, seed, Path(folder))
        before = _bound_memory()
        for number in numbers:
            at.value = number
            faulthandler.dump_traceback_later(_HUNG, exit=True)
            try:
                judge.try_one(number)
            except Fault as fault:
                faults.append((number, str(fault)))
            if len(faults) >= _MOST_FAULTS:
                break
        faulthandler.cancel_dump_traceback_later()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    results.put((faults, judge.tally, grown))


def _bound_memory() -> int:
    """Limits the memory of this process from now on; returns its use so far, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY,) * 2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _try(name: str, seed: int, numbers: range) -> tuple[list, object, int]:
    """`_run` in a process; if it ends early, the mutant that it was reading is at fault."""
    context = multiprocessing.get_context("spawn")
    at, results = context.Value("q", -1), context.SimpleQueue()
    process = context.Process(target=_run, args=(name, seed, numbers, at, results))
    process.start()
    while process.is_alive() and results.empty():
        process.join(0.05)
    if results.empty():
        return [(at.value, f"the process ended with {process.exitcode}")], None, 0
    found = results.get()
    process.join()
    return found


def _write_mutant(name: str, seed: int, number: int) -> Path:
    from tests.fuzz.judge import Judge

    fuzzed = _formats(models=name in _OF_MODELS)[name]
    with tempfile.TemporaryDirectory() as folder:
        mutant = Judge(fuzzed, seed, Path(folder)).mutant(number)
    path = Path(tempfile.gettempdir()) / f"mutant_{name}_{seed}_{number}_{mutant.how}_{fuzzed.file}"
    path.write_bytes(mutant.data)
    return path


def _row(name: str, tally, grown: int, wall: float) -> str:
    numbers = f"{tally.refused + tally.read:>9,}{tally.refused:>9,}{tally.read:>8,}"
    costs = f"{tally.seconds:>9.1f}{1000 * tally.worst:>10.1f}{grown / 2**20:>6.0f}{wall:>8.1f}"
    return f"{name:<12}{numbers}{costs}"


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--only", type=int, help="the number of one mutant")
    options = parser.parse_args()
    numbers = range(options.mutants)
    if options.only is not None:
        numbers = range(options.only, options.only + 1)
    print("format        mutants  refused    read  seconds  worst ms   MiB  wall s")
    failed = False
    for name in options.format:
        if name in OF_TORCH and importlib.util.find_spec("torch") is None:
            print(f"{name:<12}skipped: PyTorch is not installed")
            continue
        begin = time.monotonic()
        faults, tally, grown = _try(name, options.seed, numbers)
        if tally is not None:
            print(_row(name, tally, grown, time.monotonic() - begin), flush=True)
        for number, fault in faults:
            failed = True
            path = _write_mutant(name, options.seed, number)
            again = f"--format={name} --seed={options.seed} --only={number}"
            print(f"FAULT {name}: {fault[:300]}\n  {again}, left in {path}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
