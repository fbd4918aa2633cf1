"""Memory of the process: what is freed is kept for the next arrays.

On CPUs every step and every batch of an evaluation allocates arrays of many megabytes and frees
them. By default glibc maps such arrays anew each time, and the kernel zeroes their pages one by one
when they are touched: up to a third of the time of an evaluation (docs/benchmarks.md).
"""

import ctypes
import os

# Parameters of mallopt(3) and their values.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_SETTINGS = (
    # One arena: those of further threads hold no more than 64 MB, and larger arrays are mapped.
    (_M_ARENA_MAX, 1),
    (_M_MMAP_MAX, 0),
    (_M_TRIM_THRESHOLD, -1),  # never: a large step frees more than the largest int, 2 GB
    (_M_TOP_PAD, 64 * 2**20),
)


def keep_freed_memory() -> bool:
    """Lets glibc keep freed memory; returns whether it does.

    It changes nothing on other systems, and where the user has set MALLOC_… variables or preloads
    an allocator. Called before libraries start threads.
    """
    if "LD_PRELOAD" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl, macOS, Windows
        return False
    return all(mallopt(parameter, value) == 1 for parameter, value in _SETTINGS)
