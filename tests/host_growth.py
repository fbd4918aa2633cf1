"""What each process of a run does at its start and in its loop, as processes grow in number.

  python tests/host_growth.py [--processes=1,2,4,8] [--data_dir=DIR]

One device a process, the same batch in all, so that whatever grows in the table grows with the
number of hosts. Without --data_dir on data made up for it; else on NW-UCLA's records there.
The training step itself is left out (`tests.counted`). tests/test_host_growth.py runs a short one.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import raw_sets
from tests.several_processes import Run, pretraining


def counted(processes: int, data_dir: Path, folder: Path, cache: str, **changes) -> list[dict]:
    """What each process of a small pre-training run counted; see `tests.counted`."""
    folder.mkdir()
    arguments = pretraining(data_dir, folder / "run", **changes)
    run = Run("tests.counted", arguments, folder / "log", processes, [1] * processes, cache)
    statuses = run.wait()
    if any(statuses):
        raise RuntimeError(f"ended with {statuses}:\n{run.output()}")
    lines = [run.output(process).splitlines()[-1] for process in range(processes)]
    return [json.loads(line.removeprefix("counted ")) for line in lines]


def table(found: dict[int, list[dict]]) -> str:
    """For each number of processes the largest number that one of them counted."""
    rows = [("", *(f"{n} process(es)" for n in found))]
    for phase in ("start", "loop"):
        names = {name for all_of in found.values() for one in all_of for name in one[phase]}
        for name in sorted(names):
            most = [max(one[phase].get(name, 0) for one in all_of) for all_of in found.values()]
            rows.append((f"{phase}: {name}", *(f"{value:,}" for value in most)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", default="1,2,4,8")
    parser.add_argument("--data_dir")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data_dir = arguments.data_dir or raw_sets.tiny_ucla(folder)
        found = {}
        for number in map(int, arguments.processes.split(",")):
            found[number] = counted(number, data_dir, folder / str(number), str(folder / "cache"))
            print(f"{number} process(es): done", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
