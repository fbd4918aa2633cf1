"""Where compiled programs are kept."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import jax
from amr_jax.run import compilation
compilation.keep_beside(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: x + 1)(1.0)
"""


def compile_beside(workdir, **environment):
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-c", PROGRAM, str(workdir)]
    subprocess.run(command, check=True, env={**kept, **environment}, timeout=120)


@pytest.mark.parametrize("named", [False, True])
def test_programs_are_kept_beside_the_workdir_or_in_the_named_folder(named, tmp_path):
    runs, other = tmp_path / "runs", tmp_path / "other"
    compile_beside(runs / "run", **({"JAX_COMPILATION_CACHE_DIR": str(other)} if named else {}))
    found = {path.parent for path in tmp_path.rglob("*-cache")}
    assert found == {other if named else runs / ".jax_compilation_cache"}
