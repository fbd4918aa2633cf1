"""What `doctor` tells, and what `--clear_cache` removes."""

import types

import pytest

from amr_jax import doctor
from amr_jax.__main__ import main
from amr_jax.run import machine
from tests.run.test_command import HEAVY, run_without


def test_doctor_answers_without_jax(tiny_ucla):
    said = run_without(HEAVY, "doctor", "--no_devices", f"--data_dir={tiny_ucla}").stdout
    assert "nwucla: train 40, test 20 sequences" in said
    assert "memory " in said
    assert "ffmpeg" in said


def test_doctor_names_the_devices(capsys):
    main(["doctor"])
    assert "devices         8 × cpu (cpu)" in capsys.readouterr().out


def test_a_platform_that_is_not_there_is_no_traceback(monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'tpu': nothing\nmore")

    monkeypatch.setattr("jax.devices", devices)
    assert doctor.devices() == "none: Unable to initialize backend 'tpu': nothing"


def test_an_extra_is_told_with_what_is_missing(monkeypatch):
    needs = ["jax<0.13,>=0.10", "etils[epath]", "no-such-thing>=2; extra == 'show'"]
    needs += ["jax[cuda13,tpu]; extra == 'aot'", "numpy>=2; extra == 'fine'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needs)
    needed, extras = doctor.requirements()
    assert needed == ["jaxlib", "jax", "etils"]
    assert extras["aot"] == ["jax-cuda13-plugin", "libtpu"]
    missing = doctor.state_of("show", extras["show"])
    assert missing.startswith("missing: no-such-thing (pip install 'amr_jax[show]')")
    assert doctor.state_of("fine", extras["fine"]).startswith("numpy 2")


def test_a_folder_without_records_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["doctor", "--no_devices", f"--data_dir={tmp_path}"])
    assert "found no records" in capsys.readouterr().err


@pytest.fixture
def full(tmp_path, monkeypatch):
    """A folder with a workdir, caches of ours, and caches of others."""
    for name in (
        "runs/.jax_compilation_cache/jit_step-cache",
        "runs/run/config.json",
        "runs/run/checkpoints/7/state",
        "copies/0123456789abcdef/1.0.0/shard",
        "copies/thesis.txt",
        "copies/run/config.json",
        "named/jit_other-cache",
        "hub/model",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2_000_000))
    (tmp_path / "runs/link").symlink_to(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMR_CACHE_DIR", str(tmp_path / "copies"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "named"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_caches_are_told_with_their_size(full, capsys):
    main(["doctor", "--no_devices"])
    said = [line[16:] for line in capsys.readouterr().out.splitlines() if line[:6] == "cache "]
    assert said == [
        f"6 MB of records copied from buckets: {full}/copies",
        f"2 MB of compiled programs (JAX_COMPILATION_CACHE_DIR; not cleared here): {full}/named",
        f"2 MB of compiled programs: {full}/runs/.jax_compilation_cache",
        f"2 MB of models from the Hugging Face hub (not cleared here): {full}/hub",
    ]


def test_only_our_caches_are_cleared(full, capsys):
    main(["doctor", "--clear_cache"])
    assert capsys.readouterr().out.splitlines() == [
        f"removed {full}/copies/0123456789abcdef (2 MB)",
        f"removed {full}/runs/.jax_compilation_cache (2 MB)",
        "cleared 4 MB",
    ]
    left = sorted(str(x.relative_to(full)) for x in full.rglob("*") if x.is_file())
    assert left == [
        "copies/run/config.json",
        "copies/thesis.txt",
        "hub/model",
        "named/jit_other-cache",
        "runs/run/checkpoints/7/state",
        "runs/run/config.json",
    ]


def test_memory_is_that_of_the_container(tmp_path):
    for name, text in {
        "proc/meminfo": "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 6000 kB\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.current": "5\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.memory(tmp_path) == (8_192_000, 6_144_000)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("4000000\n")
    assert machine.memory(tmp_path) == (4_000_000, 3_999_995)
    assert machine.memory(tmp_path / "nothing") == (0, 0)
    assert machine.of_process() > 10_000_000


def test_clearing_needs_no_devices_and_no_packages(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMR_CACHE_DIR", str(tmp_path / "absent"))
    monkeypatch.setattr(doctor, "devices", lambda: pytest.fail("asked for devices"))
    doctor.main(types.SimpleNamespace(clear_cache=True))
    assert capsys.readouterr().out == "cleared 0 MB\n"
