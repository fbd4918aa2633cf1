"""Launchers' --dry_run prints all commands and touches nothing; wrong arguments: one line."""

import shlex

import pytest
from absl import flags

from amr_jax import prepare as prepare_command
from tests.launch.fakes import REPOSITORY

POD = ("--zone=z-a", "--type=v5litepod-8", "--runtime=v2")
ARGUMENTS = ("--config=configs/amr.py:ntu60_xsub", "--workdir=gs://b/it's mine", "--config.seed=1")
BUCKETS = ("--raw=gs://b/raw", "--data=gs://b/data/", "--dataset=nw_ucla")


@pytest.fixture
def printed(place):
    """Runs a launcher with --dry_run; returns the commands that it printed, as lists of words."""

    def dry_run(script: str, *arguments: str, **variables: str) -> list[list[str]]:
        before = sorted(place.folder.rglob("*"))
        done = place.run(script, "--dry_run", *arguments, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(place.folder.rglob("*")) == before
        return [shlex.split(line) for line in done.stdout.splitlines()]

    return dry_run


def installing(place, extras: str) -> list[list[str]]:
    stamp = f"{place.python.parent}/../.amr_jax_installed_{extras.replace(',', '_')}"
    pip = f"{place.python} -m pip install --quiet --disable-pip-version-check --editable"
    return [["rm", "-f", stamp], [*pip.split(), f"{REPOSITORY}" + (extras and f"[{extras}]")]]


def test_tpu_pod(printed, place):
    commands = printed("tpu_pod.sh", *POD, "--spot", "--project=p", "pretrain", *ARGUMENTS)
    archive, end = f"{place.folder}/amr_jax.XXXXXX/amr_jax.tar.gz", ["--zone=z-a", "--project=p"]
    assert commands[0][:4] == ["tar", "--create", "--gzip", f"--file={archive}"]
    packed = set(commands[0]) & {path.name for path in REPOSITORY.iterdir()}
    assert packed >= {"setup.py", "README.md", "amr_jax", "configs", "launch", "tfds_builders"}
    assert all(command[:3] == ["gcloud", "compute", "tpus"] for command in commands[1:])
    assert all(command[-2:] == end for command in commands[1:])
    inner = [command[3:-2] for command in commands[1:]]
    create, describe, scp, install, start, follow, statuses, delete = inner
    queued, ssh = ["queued-resources"], ["tpu-vm", "ssh", "amr"]
    slice_ = ["--accelerator-type=v5litepod-8", "--runtime-version=v2", "--spot"]
    assert create == [*queued, "create", "amr", "--node-id=amr", *slice_]
    assert describe == [*queued, "describe", "amr", "--format=value(state.state)"]
    assert scp == ["tpu-vm", "scp", archive, "amr:amr_jax.tar.gz", "--worker=all"]
    for command, worker in ((install, "all"), (start, "all"), (follow, "0"), (statuses, "all")):
        assert command[:4] == [*ssh, f"--worker={worker}"]
        assert command[4].startswith("--command=")
        assert command[5:] == ["--ssh-flag=-oServerAliveInterval=30"]
    # What a worker's shell gets is the command, word for word.
    assert ["amr", "pretrain", *ARGUMENTS] == shlex.split(start[4].partition("run.status' ")[2])[:5]
    assert delete == [*queued, "delete", "amr", "--force", "--quiet"]


@pytest.mark.parametrize(
    ("script", "flags", "extras"),
    [
        ("gpu_host.sh", [], "cuda13,gcs"),
        ("tpu_vm.sh", [], "tpu,gcs"),
        ("tpu_vm.sh", ["--once"], "tpu,gcs"),
    ],
)
def test_one_host(printed, place, script, flags, extras):
    *before, command = printed(script, *flags, "evaluate", *ARGUMENTS)
    assert before == installing(place, extras)
    run = [str(place.python), "-m", "amr_jax.evaluate", *ARGUMENTS]
    assert command == (["exec", *run] if flags else run)


def test_tpu_vm_fetches_a_python_where_there_is_none(printed, place):
    venv = place.folder / "new"
    old = place.folder / "bin" / "python3"
    names = ("python3", "python", "python3.11", "python3.12", "python3.13", "python3.14")
    for name in names:
        old.with_name(name).write_text("#!/bin/sh\nexit 1\n")
        old.with_name(name).chmod(0o755)
    commands = printed("tpu_vm.sh", "pretrain", *ARGUMENTS, AMR_VENV=str(venv))
    assert commands[:2] == [
        ["python3", "-m", "pip", "install", "--quiet", "--user", "uv"],
        ["python3", "-m", "uv", "venv", "--quiet", "--seed", "--python", "3.12", str(venv)],
    ]
    assert commands[-1][0] == f"{venv}/bin/python"


@pytest.mark.parametrize(
    ("tasks", "step"),
    [
        ("4", ["--ntasks=8", "--ntasks-per-node=4"]),
        ("1", ["--ntasks=2", "--ntasks-per-node=1"]),
    ],
)
def test_slurm(printed, place, tasks, step):
    *before, command = printed(
        "slurm.sbatch", "pretrain", *ARGUMENTS,
        SLURM_NNODES="2", SLURM_GPUS_ON_NODE="4", SLURM_NTASKS_PER_NODE=tasks,
    )  # fmt: skip
    assert before == installing(place, "cuda13")
    rest = ["--gpu-bind=none", "--kill-on-bad-exit=0", "--wait=300", str(place.python)]
    assert command == ["srun", *step, *rest, "-m", "amr_jax.pretrain", *ARGUMENTS]


def test_prepare_on_gcs(printed, place):
    commands = printed("prepare_on_gcs.sh", *BUCKETS, "--scratch=d", "--on_bad_file=skip")
    assert commands[:2] == installing(place, "")
    prepare = "-m amr_jax.prepare --dataset=nw_ucla --manual_dir=d/raw --data_dir=d/records"
    rsync = ["gcloud", "storage", "rsync", "--recursive"]
    assert commands[2:] == [
        ["mkdir", "-p", "d/raw", "d/records"],
        [*rsync, "gs://b/raw", "d/raw"],
        [str(place.python), *prepare.split(), "--on_bad_file=skip"],
        [*rsync, r"--exclude=.*\.json$", "d/records", "gs://b/data"],
        [*rsync, "d/records", "gs://b/data"],
    ]
    values = flags.FlagValues()
    prepare_command.define_flags(values)
    assert values(commands[4][2:]) == ["amr_jax.prepare"]  # the command knows all of them


@pytest.mark.parametrize(
    ("script", "arguments", "reason"),
    [
        ("tpu_pod.sh", [], "--zone=… is missing"),
        ("tpu_pod.sh", [*POD[:2], "pretrain", *ARGUMENTS], "--runtime=… is missing"),
        ("tpu_pod.sh", ["--zoen=z", "pretrain"], "unknown flag --zoen=z"),
        ("tpu_pod.sh", [*POD, "pretrain", "--workdir=RUN"], "expected --workdir=gs://BUCKET"),
        ("tpu_pod.sh", [*POD, "pretrain"], "expected --workdir=gs://BUCKET"),
        ("tpu_pod.sh", POD, "the command is missing"),
        ("gpu_host.sh", [], "the command is missing"),
        ("gpu_host.sh", ["pretrian"], "no command 'pretrian'"),
        ("gpu_host.sh", ["errors"], "no command 'errors'"),
        ("gpu_host.sh", ["../amr_jax/pretrain"], "no command"),
        ("tpu_vm.sh", ["--twice", "pretrain"], "unknown flag --twice"),
        ("slurm.sbatch", ["pretrain"], "not within a job"),
        ("slurm.sbatch", ["--nodes=2", "pretrain"], "unknown flag --nodes=2"),
        ("prepare_on_gcs.sh", [*BUCKETS[:2]], "--dataset=… is missing"),
        ("prepare_on_gcs.sh", ["--raw=RAW", *BUCKETS[1:]], "expected --raw=gs://BUCKET"),
        ("prepare_on_gcs.sh", [*BUCKETS, "--data_dir=D"], "--data_dir=D is set here"),
    ],
)
def test_wrong_arguments_end_with_one_line(place, script, arguments, reason):
    done = place.run(script, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert place.told("gcloud") == place.told("python") == []


def test_slurm_wants_a_process_per_gpu_or_per_node(place):
    done = place.run("slurm.sbatch", "--dry_run", "pretrain", SLURM_NTASKS_PER_NODE="3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "3 processes and 8 GPUs on a node" in done.stderr
