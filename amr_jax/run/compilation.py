"""The cache of compiled programs: a resumed run, or a similar one, does not compile again."""

import os

from amr_jax.run import paths

FOLDER = ".jax_compilation_cache"
# JAX's default leaves out programs that compile in less than a second. A start has dozens of them,
# which together take as long as a large one.
_LEFT_OUT_BY_DEFAULT_S = 1.0


def keep_beside(workdir: os.PathLike | str) -> None:
    """Keeps compiled programs in the parent folder of `workdir`, for all runs in that folder.

    JAX_COMPILATION_CACHE_DIR names another place, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS leaves
    out what compiles faster than that. The cache may be deleted at any time.
    """
    import jax  # late: `doctor` reads the name of the folder

    if jax.config.jax_compilation_cache_dir is None:
        folder = paths.absolute(workdir).parent / FOLDER
        jax.config.update("jax_compilation_cache_dir", str(folder))
    if jax.config.jax_persistent_cache_min_compile_time_secs == _LEFT_OUT_BY_DEFAULT_S:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
