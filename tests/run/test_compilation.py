"""Where compiled programs are kept."""

import jax

from amr_jax.run import compilation


def test_programs_are_kept_beside_the_workdir_unless_a_folder_is_named(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", "named")
        compilation.keep_beside(tmp_path / "run")
        assert jax.config.jax_compilation_cache_dir == "named"
        jax.config.update("jax_compilation_cache_dir", None)
        compilation.keep_beside(tmp_path / "run")
        expected = str(tmp_path / ".jax_compilation_cache")
        assert jax.config.jax_compilation_cache_dir == expected
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
