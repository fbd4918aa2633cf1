"""Output of a benchmark: a table on the terminal, and all measurements as JSON."""

import datetime
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from amr_jax.run import console, workdir

Entry = Mapping[str, Any]
# The text of one column for an entry; '' where the entry has no value.
Text = Callable[[Entry], str]


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


def or_problem(text: Text) -> Text:
    """A column that shows the entry's problem where it has one, else `text`."""
    return lambda entry: entry["problem"] or text(entry)


def table(entries: Sequence[Entry], columns: Mapping[str, Text]) -> str:
    """One line per entry, one column per item of `columns` (head → text)."""
    rows = [[text(entry) for text in columns.values()] for entry in entries]
    return console.table(tuple(columns), rows)


def provenance(what: str) -> dict[str, Any]:
    """Command, date, device and versions of a measurement by the sub-command `what`."""
    device = jax.devices()[0]
    return {
        "benchmark": what,
        "command": shlex.join(["python", "-m", "amr_jax.benchmark", *sys.argv[1:]]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "device": {"platform": device.platform, "kind": device.device_kind},
        "processors": os.cpu_count(),
        "versions": workdir.versions(),
    }


def write_json(path: Path | None, content: Entry) -> None:
    """Writes the content atomically; without a path, nothing. `UserError` if it cannot."""
    if path:
        workdir.write(path, json.dumps(content, indent=2) + "\n")
        console.say(f"written: {path}")
