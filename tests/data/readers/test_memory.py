"""The memory setting is an optimisation: reading must give the same with it."""

import platform
import subprocess
import sys


def test_it_takes_effect_where_glibc_is_and_nothing_breaks():
    code = "from amr_jax.data.readers import memory; print(memory.keep_freed()); bytearray(2**22)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [str(platform.libc_ver()[0] == "glibc")]
