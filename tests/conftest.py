"""Fixtures that several test modules share."""

import os
from pathlib import Path

from tests import xla_flags

# Before anything imports jax: the tests simulate eight devices on the CPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags.quick(8)}"

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Tests compile the same small programs again and again: once is enough."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_ucla(tmp_path_factory) -> Path:
    """Records of 40 + 20 small sequences in the form of NW-UCLA; returns their data_dir."""
    from tests import raw_sets

    return raw_sets.tiny_ucla(tmp_path_factory.mktemp("ucla"))


@pytest.fixture(scope="session")
def raw_ntu(tmp_path_factory) -> Path:
    """A folder of 12 files of the built-in data, most of two persons."""
    from amr_jax.synthetic.writer import write

    raw = tmp_path_factory.mktemp("raw_ntu") / "raw"
    write(raw, performers=2, takes=1, actions=(10, 50), num_workers=0)
    return raw


@pytest.fixture(scope="session")
def tiny_ntu(raw_ntu, tmp_path_factory) -> Path:
    """Records of the files of `raw_ntu`; returns their data_dir."""
    from amr_jax import prepare

    data_dir = tmp_path_factory.mktemp("data_ntu")
    prepare.prepare("ntu_rgbd60", raw_ntu, data_dir, num_workers=1)
    return data_dir
