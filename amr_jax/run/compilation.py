"""Compiled programs are kept on disk: a run that goes on, or one like it, compiles nothing."""

import os

import jax

from amr_jax.run import paths

FOLDER = ".jax_compilation_cache"


def keep_beside(workdir: os.PathLike | str) -> None:
    """Keeps what this process compiles in the parent of `workdir`, for all runs that stand there.

    JAX_COMPILATION_CACHE_DIR names another place. What the cache holds for other versions, devices
    or programs is not used; the folder may be deleted at any time.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = paths.absolute(workdir).parent / FOLDER
        jax.config.update("jax_compilation_cache_dir", str(folder))
