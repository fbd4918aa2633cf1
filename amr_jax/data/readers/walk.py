"""Lists a folder and all folders below it, and what in them cannot be looked at."""

import os
import stat

from amr_jax.errors import BadFile

_SKIP = "--on_bad_file=skip goes on without it, and lists it."


def files_below(folder: str) -> tuple[list[str], list[BadFile]]:
    """Lists files at any depth; follows links, but enters no folder twice.

    Returns:
      The paths of the files, and one error for each folder that cannot be listed, each link without
      a target, and each entry that is neither a file nor a folder.
    """
    found: list[str] = []
    problems: list[BadFile] = []
    visited: set[str] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        real = os.path.realpath(here)
        if real in visited:
            continue
        visited.add(real)
        try:
            with os.scandir(here) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            what = f"a folder that cannot be listed ({error.strerror})"
            problems.append(BadFile(here, what, "a folder that can be read", hint=_SKIP))
            continue
        folders = []
        for entry in entries:
            kind = _kind(entry)
            if isinstance(kind, BadFile):
                problems.append(kind)
            elif kind == "folder":
                folders.append(entry.path)
            else:
                found.append(entry.path)
        waiting += reversed(folders)
    return found, problems


def _kind(entry: os.DirEntry) -> str | BadFile:
    """'folder' or 'file', without a system call where the listing shows it; else the error."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        mode = os.stat(entry.path).st_mode
        what = f"an entry of another kind ({stat.filemode(mode)})"
    except OSError as error:
        what = "a link" if entry.is_symlink() else "an entry"
        what += f" that leads nowhere ({error.strerror})"
    return BadFile(entry.path, what, "a file or a folder", hint=_SKIP)
