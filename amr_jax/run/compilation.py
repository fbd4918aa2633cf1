"""The cache of compiled programs: a resumed run, or a similar one, does not compile again."""

import os

from amr_jax.run import paths

FOLDER = ".jax_compilation_cache"


def keep_beside(workdir: os.PathLike | str) -> None:
    """Keeps compiled programs in the parent folder of `workdir`, for all runs in that folder.

    JAX_COMPILATION_CACHE_DIR names another place. The cache may be deleted at any time.
    """
    import jax  # late: `doctor` reads the name of the folder

    if jax.config.jax_compilation_cache_dir is None:
        folder = paths.absolute(workdir).parent / FOLDER
        jax.config.update("jax_compilation_cache_dir", str(folder))
