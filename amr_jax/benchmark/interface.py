"""What the sub-commands share towards the user: types of flags, tables, and the JSON file."""

import argparse
import datetime
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amr_jax.run import cli, console

# One line of a table, or of the JSON file.
Entry = Mapping[str, Any]
# The text of one column for an entry; '' where the entry has no value.
Text = Callable[[Entry], str]


def counts(text: str) -> tuple[int, ...]:
    """The type of a list of counts, `1,2,4`; sorted, without repetitions."""
    return tuple(sorted({cli.at_least(1)(part) for part in text.split(",")}))


def json_file(text: str) -> Path:
    """The type of --json. Its folder is checked now, not after minutes of measuring."""
    path = Path(os.path.expanduser(text)).absolute()
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a file in a folder that exists")
    return path


def add_override(parser: cli.Parser) -> None:
    """--override, which may be repeated."""
    parser.add_argument(
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of every config that is measured: encoder.depth=4; may be repeated",
    )


def usable_cores() -> int:
    """Cores that this process may run on; XLA starts as many threads on a CPU."""
    # macOS has no affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def number(key: str, form: str = "", unit: float = 1.0) -> Text:
    """A column that shows `entry[key] / unit` in the format `form`."""

    def text(entry: Entry) -> str:
        value = entry.get(key)
        return "" if value is None else format(value if unit == 1.0 else value / unit, form)

    return text


def quartiles(key: str, form: str, unit: float = 1.0) -> Text:
    """A column that shows the two numbers `entry[key]` as `low–high`."""

    def text(entry: Entry) -> str:
        low, high = entry[key]
        return "" if low is None else f"{low / unit:{form}}–{high / unit:{form}}"

    return text


def print_table(entries: Sequence[Entry], columns: Mapping[str, Text]) -> None:
    """One line per entry, one column per item of `columns` (head → text)."""
    rows = [[text(entry) for text in columns.values()] for entry in entries]
    console.say(console.table(tuple(columns), rows))


def write_json(path: Path, what: str, content: Entry) -> None:
    """Writes the content, with the command, the versions and the device; `UserError` on failure."""
    from amr_jax.run import workdir  # imports JAX: --help does not need it

    made_by = {
        "benchmark": what,
        "command": shlex.join(["python", "-m", "amr_jax.benchmark", *sys.argv[1:]]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu_threads": usable_cores(),
        "versions": workdir.versions(),
    }
    workdir.write(path, json.dumps({**made_by, **content}, indent=2) + "\n")
    console.say(f"written: {path}")
