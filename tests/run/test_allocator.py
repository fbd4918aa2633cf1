"""Freed memory is kept: arrays that come and go touch no new pages."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading
import numpy as np
from amr_jax.run import allocator
if "keep" in sys.argv:
    print(allocator.keep_freed_memory())
def work():  # in a thread, as XLA's
    for _ in range(20):
        x = np.ones(25_000_000, np.float32)  # 100 MB
        y = x + 1
        del x, y
    np.ones(2_400_000_000, np.uint8)  # more than the largest int
def once():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
once()
print(once())
"""


def said(*arguments, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "LD_PRELOAD"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_large_arrays_take_the_memory_of_freed_ones():
    (usual,), (kept, few) = said(), said("keep")
    if kept == "False":
        pytest.skip("this libc has no mallopt")
    # With huge pages an array of 100 MB has 50 of them, otherwise 24,000.
    assert int(few) < int(usual) / 10
    assert int(few) < 100


def test_the_users_own_settings_stay():
    assert said("keep", MALLOC_ARENA_MAX="4")[0] == "False"
