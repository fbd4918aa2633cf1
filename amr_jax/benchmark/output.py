"""What a benchmark leaves behind: a table on the terminal, and all of it as JSON."""

import argparse
import datetime
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from amr_jax.run import workdir


def positive(text: str) -> int:
    """The type of flags that count something: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number of at least 1")
    return int(text)


def json_file(text: str) -> Path:
    """The type of --json; its folder is looked for now, not after minutes of measuring."""
    path = Path(text).expanduser().absolute()
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a file in a folder that exists")
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of the width of their widest entry: the first to the left, the others to the right.

    Args:
      header: names of the columns. rows: as many texts each; all empty: the column is left out.
    """
    columns = [
        [name, *entries]
        for name, *entries in zip(header, *rows, strict=True)
        if not entries or any(entries)
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for entries in zip(*columns, strict=True):
        first, *rest = (text.rjust(width) for text, width in zip(entries, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def provenance(what: str) -> dict:
    """Where a measurement comes from: command, date, device and versions.

    Args:
      what: the sub-command.
    """
    device = jax.devices()[0]
    return {
        "benchmark": what,
        "command": shlex.join(["python", "-m", "amr_jax.benchmark", *sys.argv[1:]]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "device": {"platform": device.platform, "kind": device.device_kind},
        "processors": os.cpu_count(),
        "versions": workdir.versions(),
    }


def write_json(path: Path, content: dict) -> None:
    """Writes all of it or nothing; `UserError` if the file cannot be written."""
    workdir.write(path, json.dumps(content, indent=2) + "\n")
