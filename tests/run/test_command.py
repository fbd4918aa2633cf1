"""The command line: help without JAX, hints at slips, one message and a status for every end."""

import errno
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from amr_jax import compare, pretrain
from amr_jax.__main__ import main
from amr_jax.errors import Preempted, UserError
from amr_jax.flags import COMMANDS
from amr_jax.run import cli

REPOSITORY = Path(__file__).resolve().parents[2]
AMR = ["pretrain", "--config=amr:nwucla"]


def refused(arguments, capsys) -> str:
    """The one message of a command that ends with status 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain"], "--config is missing: a config by name or file"),
        (AMR, "--workdir is missing: the run's folder"),
        ([*AMR, "--epochs=3"], "--epochs=3: unknown flag. Did you mean --config.epochs?"),
        ([*AMR, "--wrokdir=x"], "--wrokdir=x: unknown flag. Did you mean --workdir?"),
        (["pretrain", "--config=amr:ntu60"], "unknown data set 'ntu60'"),
        (["pretrian"], "unknown command 'pretrian'. Did you mean pretrain?"),
        (["predict", "file.npz"], "--checkpoint is missing"),
        (["export", "--checkpoint=x", "--format=tflite", "--out=y"], "invalid choice: 'tflite'"),
        (["interop", "--workdir=x", "--num_heads=0"], "--num_heads: 0: expected at least 1"),
        (["synthetic", "out"], "unknown argument 'out'"),
        (["prepare", "--data_dir=x", "--dataset=nw"], "--manual_dir is missing"),
        (["benchmark", "steps"], "WHAT = 'steps': expected 'methods', 'step'"),
    ],
)
def test_wrong_flags_are_refused(arguments, message, capsys):
    if "--config=amr:ntu60" in arguments:
        arguments = [*arguments, "--workdir=x"]
    assert message in refused(arguments, capsys)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.model.rr=6", "config.model.rr: unknown key. Did you mean config.model.r?"),
        ("--config.lr=6", "--config.lr: unknown key. Did you mean config.optim.lr?"),
        ("--config.encoder.widht=3", "Did you mean config.encoder.width?"),
        ("--config.epochs=six", "--config.epochs=six: expected a value of type int."),
        ("--config=linear:nwucla", "found an evaluation protocol, for evaluate; pretrain expects"),
        ("--config=configs/nope.py", "configs/nope.py: no such config file"),
        ("--config=amr:nw_ucla", "unknown data set 'nw_ucla'"),
        ("--config=amr:nw_ucla", "Did you mean nwucla?"),
        ("--config=amr:ntu60", "Did you mean ntu60_xsub?"),
    ],
)
def test_slips_in_configs_are_named_with_what_was_meant(flag, message, capsys):
    assert message in refused([*AMR, "--workdir=x", flag], capsys)


def test_a_config_of_a_method_is_not_one_of_a_protocol(capsys):
    said = refused(["evaluate", "--config=amr:nwucla", "--workdir=x"], capsys)
    assert "found a pre-training method, for pretrain; evaluate expects an evaluation" in said
    assert "finetune, knn, linear, retrieval, ridge, semi, transfer" in said


def test_overrides_reach_the_command(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(pretrain, "run", lambda config, folder, **_: seen.append((config, folder)))
    overrides = ["--config.seed=3", "--config.model.windows", "(4,)", "--config.optim.lr=1"]
    overrides += ["--config.model.decoder_self_attention", "--noconfig.input.centre"]
    main(["pretrain", "--config", "amr:nwucla", *overrides, "--workdir", str(tmp_path / "run")])
    ((config, folder),) = seen
    assert folder == str(tmp_path / "run")
    assert (config.seed, config.model.windows, config.optim.lr) == (3, (4,), 1.0)
    assert (config.model.decoder_self_attention, config.input.centre) == (True, False)
    assert config.is_locked


def test_the_recorded_command_can_be_given_again(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        compare, "run", lambda config, folder, command: seen.append((config, command))
    )
    overrides = ["--config.seed", "3", "--config.overrides=('model.k=1',)", "--config.epochs=None"]
    main(["compare", "--config=compare:nwucla", *overrides, f"--workdir={tmp_path / 'run'}"])
    main(shlex.split(seen[0][1])[1:])
    assert seen[0] == seen[1]
    assert seen[0][0].overrides == ("model.k=1",)


# Each takes a tenth of a second of CPU or more.
HEAVY = ("jax", "flax", "tensorflow_datasets", "scipy", "matplotlib", "sklearn", "orbax")


def run_without(heavy, *arguments) -> subprocess.CompletedProcess:
    """A command that answers at once; fails if it imports any of the `heavy` packages."""
    code = (
        f"import sys; from amr_jax.__main__ import main; main({arguments!r}); "
        f"sys.exit(', '.join(sys.modules.keys() & set({heavy!r})) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_the_list_of_commands_needs_no_library():
    assert "pretrain" in run_without((*HEAVY, "numpy", "ml_collections", "rich"), "--help").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_needs_no_heavy_library(name):
    ended = run_without(HEAVY, name, "-h")
    assert ended.stdout.startswith("usage: amr-jax")
    if name in ("pretrain", "evaluate", "compare"):
        assert "--config.dataset=ntu60_xsub" in ended.stdout


def test_help_shows_the_keys_of_the_config_that_is_given(capsys):
    main(["pretrain", "--config=gfp:nwucla", "--help"])
    said = capsys.readouterr().out
    assert "--config.model.levels=(3, 6, 12)" in said
    assert "--config.epochs=60" in said


def test_a_module_is_a_command_from_any_folder(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "amr_jax.pretrain", "--config=nowhere"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "error: --workdir is missing: the run's folder; the same folder resumes the run.\n"
    )


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("wrong"), 2, "error: wrong\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "f"), 2, "error: [Errno 28] No space"),
        (Preempted("saved"), 75, "saved\n"),
        (KeyboardInterrupt(), 130, "interrupted.\n"),
    ],
)
def test_an_end_has_one_message_and_a_status(error, status, message, capsys):
    @cli.command
    def command():
        raise error

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(message)


def test_a_defect_keeps_its_traceback():
    @cli.command
    def command():
        raise FileNotFoundError(errno.ENOENT, "no such file")

    with pytest.raises(FileNotFoundError):
        command()


def test_output_that_cannot_be_written_leaves_the_status(tiny_ucla):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "amr_jax.prepare", "--verify", f"--data_dir={tiny_ucla}"],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "[Errno 28]" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_pipe_that_nobody_reads_ends_a_command_silently():
    ended = subprocess.run(
        f"{sys.executable} -m amr_jax.pretrain --help | head -1",
        shell=True,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.startswith("usage: ")
    assert ended.stderr == ""


def test_tracebacks_of_orbax_are_not_shown_beside_our_message():
    def shown(**fields):
        return cli._is_not_reported_twice(logging.makeLogRecord(fields))

    failed = {"exc_info": (OSError, OSError(), None)}
    assert not shown(pathname="/site-packages/orbax/checkpoint/future.py", **failed)
    assert not shown(name="asyncio", pathname="base_events.py", **failed)
    assert shown(pathname="/site-packages/orbax/checkpoint/future.py")
    assert shown(pathname="/amr_jax/data/records.py", **failed)
