"""Where compiled programs are kept, and that a second start finds all of them."""

import collections
import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from amr_jax import evaluate, pretrain
from amr_jax.run import compilation
from configs import amr, knn, linear

_SHORTEST = "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture
def untouched(monkeypatch):
    """JAX's own settings of the cache, during a test."""
    names = ("jax_compilation_cache_dir", _SHORTEST)
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update(_SHORTEST, 1.0)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_programs_are_kept_beside_the_workdir_unless_a_folder_is_named(untouched, tmp_path):
    jax.config.update("jax_compilation_cache_dir", "named")
    compilation.keep_beside(tmp_path / "run")
    assert jax.config.jax_compilation_cache_dir == "named"
    jax.config.update("jax_compilation_cache_dir", None)
    compilation.keep_beside(tmp_path / "run")
    expected = str(tmp_path / ".jax_compilation_cache")
    assert jax.config.jax_compilation_cache_dir == expected


def test_programs_that_compile_fast_are_kept_unless_the_user_chose_otherwise(untouched, tmp_path):
    compilation.keep_beside(tmp_path / "run")
    assert getattr(jax.config, _SHORTEST) == 0
    jax.config.update(_SHORTEST, 0.5)
    compilation.keep_beside(tmp_path / "run")
    assert getattr(jax.config, _SHORTEST) == 0.5


@pytest.fixture
def events():
    """Counts of JAX's events of the cache."""
    found = collections.Counter()

    def count(event, **_):
        found[event.rsplit("/", 1)[-1]] += 1

    jax.monitoring.register_event_listener(count)
    yield found
    jax.monitoring.unregister_event_listener(count)


def start_of(what, tiny_ucla, folder):
    """Runs a command as a new process would: nothing is compiled yet."""
    jax.clear_caches()
    if what is amr:
        config = amr.get_config("nwucla,runlocal")
        config.data_dir, config.input.split = str(tiny_ucla), "train"
        config.encoder.depth = config.model.decoder_depth = 1
        config.epochs = 3
        pretrain.run(config, folder / "amr", jax.devices()[:1])
        return
    config = what.get_config("nwucla,runlocal")
    config.pretrained = str(folder / "amr")
    config.train_split, config.test_split = "train", "test"
    if what is linear:
        config.epochs = 2
    evaluate.run(config, folder / what.__name__)


def test_a_second_start_compiles_nothing(untouched, tiny_ucla, tmp_path, events, monkeypatch):
    one_device = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one_device)
    compilation.keep_beside(tmp_path / "runs" / "any")
    compilation_cache.reset_cache()
    for what in (amr, linear, knn):
        start_of(what, tiny_ucla, tmp_path / "runs")
        compiled = events["compile_requests_use_cache"]
        assert compiled > events["cache_hits"]
        if what is amr:
            shutil.move(tmp_path / "runs" / "amr", tmp_path / "first")
        else:
            shutil.rmtree(tmp_path / "runs" / what.__name__)
        events.clear()
        start_of(what, tiny_ucla, tmp_path / "runs")
        assert events["compile_requests_use_cache"] > 10
        assert events["cache_hits"] == events["compile_requests_use_cache"], what.__name__
        events.clear()
