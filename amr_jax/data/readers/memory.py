"""Keeps a reading process from handing its memory back after every file."""

import ctypes
import sys

_KEPT = 32 * 2**20  # bytes; the most that glibc accepts for the second
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed() -> bool:
    """Lets this process reuse freed memory instead of fetching it anew from the system.

    A parser's arrays, some megabytes a file, live for a millisecond. By default glibc returns them
    each time, and getting the pages again takes as long as the parsing. For worker processes: call
    it once at their start. Returns whether it took effect (Linux with glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    accepted = [mallopt(which, _KEPT) for which in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)]
    return accepted == [1, 1]
