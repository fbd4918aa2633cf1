r"""Mutation fuzzing of every file format: reads thousands of damaged files of each.

  python tests/fuzz/campaign.py [--mutants=10000] [--seed=0] [--format NAME …] [--only=NUMBER]

Each mutant must end in an error that names the file, or in data equal to the undamaged rest
(defined in `formats.py`), within two seconds of processor time and a GiB of memory. The command
prints a table. If a mutant fails, it prints the options that reproduce it, saves it to a file, and
exits with status 1. Reading 10,000 mutants of each format takes two minutes of processor time,
nearly all of it for models.
"""

import argparse
import faulthandler
import os
import resource
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # when run as a script

from tests.fuzz import exchange_formats, key_point_formats, model_formats, raw_formats
from tests.fuzz.judge import Fault, Judge

FORMATS = (
    raw_formats.FORMATS
    | exchange_formats.FORMATS
    | key_point_formats.FORMATS
    | model_formats.FORMATS
)
_MEMORY = 2**30  # bytes, limit for reading a mutant
_HUNG = 60  # seconds until a mutant that ignores signals ends the command with a traceback


def _bound_memory() -> None:
    """Limits the memory of this process to its present use and `_MEMORY`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, hard))


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", nargs="*", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--only", type=int, help="the number of one mutant")
    options = parser.parse_args()
    numbers = range(options.mutants) if options.only is None else [options.only]
    print("format        mutants  refused    read  seconds  worst ms")
    num_faults = 0
    for name in options.format:
        with tempfile.TemporaryDirectory() as folder:
            judge = Judge(FORMATS[name], options.seed, Path(folder))
            _bound_memory()
            for number in numbers:
                faulthandler.dump_traceback_later(_HUNG, exit=True, file=sys.__stderr__)
                try:
                    judge.try_one(number)
                except Fault as fault:
                    num_faults += 1
                    file = f"mutant_{name}_{options.seed}_{number}_{judge.format.file}"
                    path = Path(tempfile.gettempdir()) / file
                    path.write_bytes(judge.mutant(number).data)
                    again = f"--format={name} --seed={options.seed} --only={number}"
                    print(f"FAULT {name}: {str(fault)[:300]}\n  {again}, left in {path}")
        faulthandler.cancel_dump_traceback_later()
        done, mutants = judge.tally, judge.tally.refused + judge.tally.read
        costs = f"{done.seconds:>9.1f}{1000 * done.worst:>10.1f}"
        print(f"{name:<12}{mutants:>9,}{done.refused:>9,}{done.read:>8,}{costs}", flush=True)
    return int(num_faults > 0)


if __name__ == "__main__":
    sys.exit(main())
