"""Time and memory of `amr_jax.prepare`, as files and processes grow.

    python -m amr_jax.benchmark prepare [--files=150,300,600] [--workers=1,2] [--json=FILE]

The raw files are the built-in data's, in the format and of the size of NTU RGB+D's. Every run is a
process of its own, the command as a user starts it: seconds are from its start to its end, memory
is that of the largest of its processes at its peak (on Linux).
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

from amr_jax.benchmark import options, output, rounds
from amr_jax.errors import UserError
from amr_jax.run import console
from amr_jax.synthetic import writer
from amr_jax.synthetic.actions import ACTIONS

# One of each side of x-sub and x-view, so that no split is empty.
_PERFORMERS = 2
_FILES_OF_A_TAKE = _PERFORMERS * len(ACTIONS) * len(writer.CAMERAS)


def run_once(raw: Path, workers: int) -> dict[str, float]:
    """One preparation of the folder `raw`: seconds, and bytes of its largest process (0: unknown).

    Raises:
      UserError: the command failed.
    """
    with tempfile.TemporaryDirectory(dir=raw.parent) as data_dir:
        command = [sys.executable, "-m", "amr_jax.prepare", "--dataset=ntu_rgbd60"]
        command += [f"--manual_dir={raw}", f"--data_dir={data_dir}", f"--num_workers={workers}"]
        with tempfile.TemporaryFile() as said:
            largest, start = 0, time.perf_counter()
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            while process.poll() is None:
                largest = max(largest, largest_process(process.pid))
                time.sleep(0.02)
            seconds = time.perf_counter() - start
            if process.returncode:
                said.seek(0)
                raise UserError(f"{' '.join(command)} failed: {said.read().decode()[-1000:]}")
    return {"seconds": seconds, "largest_process_bytes": largest}


def largest_process(pid: int) -> int:
    """Bytes that a process or one of its descendants held in memory at its peak, so far.

    (What `getrusage` says of a child may be its parent's: the mark survives fork and exec.)
    """
    folder, found = Path(f"/proc/{pid}"), 0
    try:
        for line in (folder / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found = int(line.split()[1]) * 1024
        children = (folder / "task" / str(pid) / "children").read_text().split()
    except OSError:  # it has just ended, or this is not Linux
        return found
    return max([found, *(largest_process(int(child)) for child in children)])


def measure(
    folder: Path, files: Sequence[int], workers: Sequence[int], num_rounds: int
) -> list[dict[str, Any]]:
    """Writes the raw files into `folder`, prepares each set with each number of workers."""
    sets = {}
    for count in files:
        sets[count] = folder / f"raw_{count}"
        writer.write(sets[count], performers=_PERFORMERS, takes=count // _FILES_OF_A_TAKE)
        console.say(f"wrote {count:,} files")
    found = [
        {
            "files": count,
            "raw_bytes": sum(file.stat().st_size for file in sets[count].iterdir()),
            "workers": processes,
            "runs": [],
        }
        for processes in workers
        for count in files
    ]
    for i in range(num_rounds):
        for row in rounds.rotated(found, i):
            row["runs"].append(run_once(sets[row["files"]], row["workers"]))
        console.say(f"round {i + 1}/{num_rounds}")
    return summary(found)


def summary(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds medians to rows with `runs`, and what one more file costs.

    `marginal_files_per_s` is between a row and the one before it with as many workers: without the
    start of the command, which takes seconds however few the files are.
    """
    rows: list[dict[str, Any]] = []
    for row in found:
        low, middle, high = rounds.quartiles([run["seconds"] for run in row["runs"]])
        before = next((r for r in reversed(rows) if r["workers"] == row["workers"]), None)
        marginal = None
        if before and middle > before["seconds_median"]:
            more = row["files"] - before["files"]
            marginal = more / (middle - before["seconds_median"])
        rows.append(
            {
                **row,
                "seconds_median": middle,
                "seconds_quartiles": [low, high],
                "files_per_s": row["files"] / middle,
                "marginal_files_per_s": marginal,
                "largest_process_bytes": max(r["largest_process_bytes"] for r in row["runs"]),
            }
        )
    return rows


def as_table(found: Sequence[dict[str, Any]]) -> str:
    """The rows of `summary` for the terminal."""
    header = ("files", "raw MB", "workers", "seconds", "quartiles", "files/s", "files/s more")
    header += ("largest process MB",)
    lines = []
    for row in found:
        low, high = row["seconds_quartiles"]
        more, largest = row["marginal_files_per_s"], row["largest_process_bytes"]
        lines.append(
            (
                f"{row['files']:,}",
                f"{row['raw_bytes'] / 1e6:,.0f}",
                str(row["workers"]),
                f"{row['seconds_median']:.1f}",
                f"{low:.1f}–{high:.1f}",
                f"{row['files_per_s']:,.0f}",
                "" if more is None else f"{more:,.0f}",
                f"{largest / 1e6:,.0f}" if largest else "",
            )
        )
    return output.table(header, lines)


def _numbers(text: str) -> list[int]:
    return sorted({output.positive(part.strip()) for part in text.split(",")})


def _files(text: str) -> list[int]:
    most = _FILES_OF_A_TAKE * writer.MAX_TAKES
    counts = _numbers(text)
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
        type=_numbers,
        default=sorted({1, options.usable_cores()}),
        help="processes that parse (default: 1, and one per processor)",
    )
    parser.add_argument(
        "--rounds", type=output.positive, default=3, help="runs of each (default 3)"
    )
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON."""
    source = output.provenance("prepare")
    folder = Path(tempfile.mkdtemp(prefix="amr_jax_benchmark_"))
    try:
        found = measure(folder, flags.files, flags.workers, flags.rounds)
    finally:
        shutil.rmtree(folder)
    console.say(as_table(found))
    if flags.json:
        settings = {"files": flags.files, "workers": flags.workers, "rounds": flags.rounds}
        output.write_json(flags.json, {**source, "settings": settings, "rows": found})
        console.say(f"written: {flags.json}")
