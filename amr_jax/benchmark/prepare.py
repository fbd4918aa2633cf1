"""Time and memory of `amr_jax.prepare`, for growing numbers of files and processes.

    python -m amr_jax.benchmark prepare [--files=150,300,600] [--workers=1,2] [--json=FILE]

The raw files are the built-in data's, in the format and size of NTU RGB+D's. Every run is the
command in a process of its own: seconds are from its start to its end, memory is the peak of its
largest process (on Linux).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amr_jax.benchmark import options, output, timing
from amr_jax.errors import UserError
from amr_jax.run import console
from amr_jax.synthetic import writer
from amr_jax.synthetic.actions import ACTIONS

# One on each side of x-sub and x-view, so that no split is empty.
_PERFORMERS = 2
_FILES_OF_A_TAKE = _PERFORMERS * len(ACTIONS) * len(writer.CAMERAS)

COLUMNS = {
    "files": output.number("files", ","),
    "raw MB": output.number("raw_bytes", ",.0f", 1e6),
    "workers": output.number("workers"),
    "seconds": output.number("seconds_median", ".1f"),
    "quartiles": output.quartiles("seconds_quartiles", ".1f"),
    "files/s": output.number("files_per_s", ",.0f"),
    "files/s more": output.number("marginal_files_per_s", ",.0f"),
    "largest process MB": output.number("largest_process_bytes", ",.0f", 1e6),
}


class Preparation:
    """Preparation of the `files` raw files in one folder with a number of processes.

    Attributes:
      runs: per round, `seconds` and `largest_process_bytes`.
    """

    def __init__(self, raw: Path, files: int, workers: int):
        self.raw, self.files, self.workers = raw, files, workers
        self.runs: list[dict[str, float]] = []

    def time_step(self) -> None:
        """Runs the command once; `UserError` if it fails."""
        with tempfile.TemporaryDirectory(dir=self.raw.parent) as data_dir:
            command = [sys.executable, "-m", "amr_jax.prepare", "--dataset=ntu_rgbd60"]
            command += [f"--manual_dir={self.raw}", f"--data_dir={data_dir}"]
            command += [f"--num_workers={self.workers}"]
            with tempfile.TemporaryFile() as printed:
                largest, start = 0, time.perf_counter()
                process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
                while process.poll() is None:
                    largest = max(largest, largest_process(process.pid))
                    time.sleep(0.02)
                seconds = time.perf_counter() - start
                if process.returncode:
                    printed.seek(0)
                    end = printed.read().decode()[-1000:]
                    raise UserError(f"{' '.join(command)} failed: {end}")
        self.runs.append({"seconds": seconds, "largest_process_bytes": largest})


def largest_process(pid: int) -> int:
    """Peak memory in bytes, so far, of a process or of its largest descendant.

    (`getrusage` may report the parent's memory for a child: the mark survives fork and exec.)
    """
    folder, found = Path(f"/proc/{pid}"), 0
    try:
        for line in (folder / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found = int(line.split()[1]) * 1024
        children = (folder / "task" / str(pid) / "children").read_text().split()
    except OSError:  # the process has just ended, or this is not Linux
        return found
    return max([found, *(largest_process(int(child)) for child in children)])


def summary(found: Sequence[Preparation]) -> list[dict[str, Any]]:
    """One entry per set of files and number of workers.

    `marginal_files_per_s` compares with the entry before it with as many workers: it leaves out the
    start of the command, which takes seconds however few the files are.
    """
    rows: list[dict[str, Any]] = []
    for one in found:
        times = timing.statistics([run["seconds"] for run in one.runs])
        files, middle = one.files, times["step_s_median"]
        before = next((r for r in reversed(rows) if r["workers"] == one.workers), None)
        marginal = None
        if before and middle > before["seconds_median"]:
            marginal = (files - before["files"]) / (middle - before["seconds_median"])
        rows.append(
            {
                "files": files,
                "raw_bytes": sum(file.stat().st_size for file in one.raw.iterdir()),
                "workers": one.workers,
                "runs": one.runs,
                "seconds_median": middle,
                "seconds_quartiles": times["step_s_quartiles"],
                "files_per_s": files / middle,
                "marginal_files_per_s": marginal,
                # 0: not known
                "largest_process_bytes": max(r["largest_process_bytes"] for r in one.runs) or None,
            }
        )
    return rows


def measure(
    folder: Path, files: Sequence[int], workers: Sequence[int], num_rounds: int
) -> list[dict[str, Any]]:
    """Writes the raw files into `folder`; prepares each set with each number of workers."""
    for count in files:
        takes = count // _FILES_OF_A_TAKE
        writer.write(folder / f"raw_{count}", performers=_PERFORMERS, takes=takes)
        console.say(f"wrote {count:,} files")
    found = [Preparation(folder / f"raw_{count}", count, n) for n in workers for count in files]
    timing.rounds(found, num_rounds)
    return summary(found)


def _files(text: str) -> tuple[int, ...]:
    most = _FILES_OF_A_TAKE * writer.MAX_TAKES
    counts = options.positives(text)
    if any(count % _FILES_OF_A_TAKE or count > most for count in counts):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected multiples of {_FILES_OF_A_TAKE} up to {most:,}"
        )
    return counts


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    parser.add_argument(
        "--files",
        type=_files,
        default=[_FILES_OF_A_TAKE * n for n in (1, 2, 4)],
        help=f"sizes of the sets, multiples of {_FILES_OF_A_TAKE} (default: 1, 2 and 4 times that)",
    )
    parser.add_argument(
        "--workers",
        type=options.positives,
        default=sorted({1, options.usable_cores()}),
        help="processes that parse (default: 1, and one per processor)",
    )
    parser.add_argument(
        "--rounds", type=options.positive, default=3, help="runs of each (default 3)"
    )
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON file."""
    source = output.provenance("prepare")
    folder = Path(tempfile.mkdtemp(prefix="amr_jax_benchmark_"))
    try:
        found = measure(folder, flags.files, flags.workers, flags.rounds)
    finally:
        shutil.rmtree(folder)
    console.say(output.table(found, COLUMNS))
    settings = {name: getattr(flags, name) for name in ("files", "workers", "rounds")}
    output.write_json(flags.json, {**source, "settings": settings, "rows": found})
