"""Memory of this machine, and of this process in it. Needs no JAX."""

import resource
from pathlib import Path

# Where Linux tells the limit of a container: cgroup version 2 and 1.
_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory(root: Path = Path("/")) -> tuple[int, int]:
    """Bytes of memory in all, and free for new programs; (0, 0) where the system tells neither.

    In a container both are its own, if it has a limit.

    Args:
      root: of the file system with proc/ and sys/.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return 0, 0
    rows = (line.partition(":") for line in lines)
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in rows}
    total, free = found["MemTotal"], found.get("MemAvailable", found["MemFree"])
    for limit, used in zip(_LIMITS, ("memory.current", "memory.usage_in_bytes"), strict=True):
        try:
            most = int((root / limit).read_text())
            left = most - int((root / limit).with_name(used).read_text())
        except (OSError, ValueError):  # absent, or 'max'
            continue
        total, free = min(total, most), min(free, max(left, 0))
    return total, free


def of_process() -> int:
    """Bytes of memory that this process holds; where only its largest is known, that."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def gigabytes(size: float) -> str:
    """1234567890 → '1.2 GB'; 12345678 → '12 MB'."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
