"""Time and memory of `amr_jax.prepare`, for growing numbers of files and processes.

    python -m amr_jax.benchmark prepare [--files=150,300,600] [--workers=1,2] [--json=FILE]

The raw files are the built-in data's, in the format and size of NTU RGB+D's. Every run is the
command in a process of its own: seconds are from its start to its end, memory is the peak of its
largest process (on Linux).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amr_jax.benchmark import interface, timing
from amr_jax.errors import UserError
from amr_jax.run import cli, console
from amr_jax.synthetic import writer
from amr_jax.synthetic.actions import ACTIONS

# One on each side of x-sub and x-view, so that no split is empty.
_PERFORMERS = 2
_FILES_OF_A_TAKE = _PERFORMERS * len(ACTIONS) * len(writer.CAMERAS)

COLUMNS = {
    "files": interface.number("files", ","),
    "raw MB": interface.number("raw_bytes", ",.0f", 1e6),
    "workers": interface.number("workers"),
    "seconds": interface.number("step_s_median", ".1f"),
    "quartiles": interface.quartiles("step_s_quartiles", ".1f"),
    "files/s": interface.number("files_per_s", ",.0f"),
    "files/s more": interface.number("marginal_files_per_s", ",.0f"),
    "largest process MB": interface.number("largest_process_bytes", ",.0f", 1e6),
}


class Preparation:
    """Preparation of the `files` raw files in one folder with a number of processes.

    Attributes:
      seconds: of the command, one entry per round.
      largest_process_bytes: peak of the largest process of all rounds; 0: not known.
    """

    def __init__(self, raw: Path, files: int, workers: int):
        self.raw, self.files, self.workers = raw, files, workers
        self.seconds: list[float] = []
        self.largest_process_bytes = 0

    def time_step(self) -> None:
        """Runs the command once; `UserError` if it fails."""
        with (
            tempfile.TemporaryDirectory(dir=self.raw.parent) as data_dir,
            tempfile.TemporaryFile() as printed,
        ):
            command = [sys.executable, "-m", "amr_jax.prepare", "--dataset=ntu_rgbd60"]
            command += [f"--manual_dir={self.raw}", f"--data_dir={data_dir}"]
            command += [f"--num_workers={self.workers}"]
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
            while process.poll() is None:
                now = largest_process(process.pid)
                self.largest_process_bytes = max(self.largest_process_bytes, now)
                time.sleep(0.02)
            self.seconds.append(time.perf_counter() - start)
            if process.returncode:
                printed.seek(0)
                end = printed.read().decode()[-1000:]
                raise UserError(f"{' '.join(command)} failed: {end}")


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
        times = timing.statistics(one.seconds)
        seconds = times["step_s_median"]
        row = {
            "files": one.files,
            "raw_bytes": sum(file.stat().st_size for file in one.raw.iterdir()),
            "workers": one.workers,
            "seconds": one.seconds,
            **times,
            "files_per_s": one.files / seconds,
            "largest_process_bytes": one.largest_process_bytes or None,
        }
        before = next((r for r in reversed(rows) if r["workers"] == one.workers), None)
        if before and seconds > before["step_s_median"]:
            more = one.files - before["files"]
            row["marginal_files_per_s"] = more / (seconds - before["step_s_median"])
        rows.append(row)
    return rows


def files(text: str) -> tuple[int, ...]:
    """The type of --files."""
    most, counts = _FILES_OF_A_TAKE * writer.MAX_TAKES, interface.counts(text)
    if any(count % _FILES_OF_A_TAKE or count > most for count in counts):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected multiples of {_FILES_OF_A_TAKE} up to {most:,}"
        )
    return counts


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    sizes = ",".join(str(_FILES_OF_A_TAKE * takes) for takes in (1, 2, 4))
    parser.add("files", files, sizes, f"sizes of the sets, multiples of {_FILES_OF_A_TAKE}")
    workers = ",".join(map(str, sorted({1, interface.usable_cores()})))
    parser.add("workers", interface.counts, workers, "processes that parse")
    parser.add("rounds", cli.at_least(1), 3, "times that each is prepared")


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures and prints the table; returns the content of the JSON file."""
    with tempfile.TemporaryDirectory(prefix="amr_jax_benchmark_") as folder:
        raw = {count: Path(folder) / f"raw_{count}" for count in flags.files}
        for count, where in raw.items():
            writer.write(where, performers=_PERFORMERS, takes=count // _FILES_OF_A_TAKE)
            console.say(f"wrote {count:,} files")
        found = [
            Preparation(where, count, workers)
            for workers in flags.workers
            for count, where in raw.items()
        ]
        timing.rounds(found, flags.rounds)
        rows = summary(found)
    interface.print_table(rows, COLUMNS)
    return {"rows": rows}
