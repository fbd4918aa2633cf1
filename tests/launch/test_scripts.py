"""Launchers: commands of a dry run, restarts of preempted runs, and wrong arguments."""

import json
import shlex
import signal

import pytest

from amr_jax.flags import prepare as prepare_flags
from amr_jax.run import cli
from tests.launch.fakes import REPOSITORY

PRETRAIN = ("pretrain", "--config=configs/amr.py:nwucla", "--workdir=gs://b/it's mine")
CALL = "-m amr_jax." + " ".join(PRETRAIN)
BUCKETS = ("--raw=gs://b/raw", "--data=gs://b/data/", "--dataset=nw_ucla")
SLURM = {"SLURM_SUBMIT_DIR": str(REPOSITORY), "SLURM_JOB_ID": "7", "SLURM_NNODES": "2"}


@pytest.fixture
def printed(place):
    """A function that runs a launcher with --dry_run and returns the words of its commands."""

    def dry_run(script: str, *arguments: str, **variables: str) -> list[list[str]]:
        before = sorted(place.folder.rglob("*"))
        done = place.run(script, "--dry_run", *arguments, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(place.folder.rglob("*")) == before
        return [shlex.split(line) for line in done.stdout.splitlines()]

    return dry_run


def installing(place, extras: str) -> list[str]:
    pip = f"{place.python} -m pip install --quiet --disable-pip-version-check --editable"
    return [*pip.split(), f"{REPOSITORY}" + (extras and f"[{extras}]")]


@pytest.mark.parametrize(
    ("script", "flags", "extras"),
    [
        ("gpu_host.sh", [], "cuda13,gcs"),
        ("tpu_vm.sh", [], "tpu,gcs"),
        ("tpu_vm.sh", ["--once"], "tpu,gcs"),
    ],
)
def test_dry_run_on_one_host(printed, place, script, flags, extras):
    before, command = printed(script, *flags, *PRETRAIN)
    assert before == installing(place, extras)
    run = [str(place.python), "-m", "amr_jax.pretrain", *PRETRAIN[1:]]
    assert command == (["exec", *run] if flags else run)


def test_tpu_vm_fetches_a_python_where_there_is_none(printed, place):
    for name in ("python3", "python", "python3.11", "python3.12", "python3.13", "python3.14"):
        path = place.folder / "bin" / name
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
    venv = str(place.folder / "new")
    commands = printed("tpu_vm.sh", *PRETRAIN, AMR_VENV=venv)
    assert commands[0] == ["python3", "-m", "pip", "install", "--quiet", "--user", "uv"]
    assert commands[1][1:4] == ["-m", "uv", "venv"]
    assert commands[1][-1] == venv
    assert commands[-1][0] == f"{venv}/bin/python"


@pytest.mark.parametrize(("tasks", "processes"), [("4", "8"), ("1", "2")])
def test_dry_run_of_slurm(printed, place, tasks, processes):
    variables = {**SLURM, "SLURM_GPUS_ON_NODE": "4", "SLURM_NTASKS_PER_NODE": tasks}
    before, command = printed("slurm.sbatch", *PRETRAIN, **variables)
    assert before == installing(place, "cuda13")
    step = [f"--ntasks={processes}", f"--ntasks-per-node={tasks}", "--gpu-bind=none"]
    step += ["--kill-on-bad-exit=0", "--wait=300", str(place.python)]
    assert command == ["srun", *step, "-m", "amr_jax.pretrain", *PRETRAIN[1:]]


def test_dry_run_of_prepare_on_gcs(printed, place):
    commands = printed("prepare_on_gcs.sh", *BUCKETS, "--scratch=d", "--on_bad_file=skip")
    prepare = "-m amr_jax.prepare --dataset=nw_ucla --manual_dir=d/raw --data_dir=d/records"
    rsync = ["gcloud", "storage", "rsync", "--recursive"]
    assert commands == [
        installing(place, ""),
        ["mkdir", "-p", "d/raw", "d/records"],
        [*rsync, "gs://b/raw", "d/raw"],
        [str(place.python), *prepare.split(), "--on_bad_file=skip"],
        [*rsync, r"--exclude=.*\.json$", "d/records", "gs://b/data"],
        [*rsync, "d/records", "gs://b/data"],
    ]
    parser = cli.Parser("prepare", "")
    prepare_flags(parser)
    assert parser.parse(commands[3][3:]).on_bad_file == "skip"  # the command has all these flags


@pytest.mark.parametrize(
    ("script", "arguments", "reason"),
    [
        ("gpu_host.sh", [], "the command is missing"),
        ("gpu_host.sh", ["pretrian"], "no command 'pretrian'"),
        ("gpu_host.sh", ["errors"], "no command 'errors'"),
        ("gpu_host.sh", ["../amr_jax/pretrain"], "no command"),
        ("tpu_vm.sh", ["--twice", "pretrain"], "unknown flag --twice"),
        ("slurm.sbatch", ["pretrain"], "not in a SLURM job"),
        ("slurm.sbatch", ["--nodes=2", "pretrain"], "unknown flag --nodes=2"),
        ("slurm.sbatch", ["--dry_run", "prepare"], "prepare does not run as several processes"),
        ("prepare_on_gcs.sh", [*BUCKETS[:2]], "--dataset=… is missing"),
        ("prepare_on_gcs.sh", ["--raw=RAW", *BUCKETS[1:]], "expected --raw=gs://BUCKET"),
        ("prepare_on_gcs.sh", [*BUCKETS, "--data_dir=D"], "--data_dir=D is set by this script"),
    ],
)
def test_wrong_arguments_end_with_one_line(place, script, arguments, reason):
    done = place.run(script, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert place.calls("gcloud") == place.calls("python") == place.calls("pip") == []


@pytest.mark.parametrize(
    ("script", "ends", "status", "runs"),
    [
        ("gpu_host.sh", ["75", "75", "0"], 0, 3),
        ("tpu_vm.sh", ["75", "75", "0"], 0, 3),
        ("gpu_host.sh", ["75", "1", "0"], 1, 2),
        ("gpu_host.sh", ["143", "0"], 143, 1),
    ],
)
def test_a_run_that_saved_and_no_other_is_started_again(place, script, ends, status, runs):
    place.ends(*ends)
    done = place.run(script, *PRETRAIN)
    assert (done.returncode, place.calls("python")) == (status, [CALL] * runs)


def test_flags_that_start_nothing_again(place):
    place.ends("75", "0")
    assert place.run("tpu_vm.sh", "--once", *PRETRAIN).returncode == 75
    assert place.run("gpu_host.sh", "--install_only").returncode == 0
    assert place.calls("python") == [CALL]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_stopped_lets_the_run_save(place, number):
    place.ends("waits", "0")
    process = place.start(REPOSITORY / "launch" / "gpu_host.sh", *PRETRAIN)
    while "at work" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=30)
    assert (process.returncode, place.calls("python")) == (75, [CALL])


def test_nothing_is_uploaded_after_a_failed_preparation(place):
    place.ends("2")
    assert place.run("prepare_on_gcs.sh", *BUCKETS).returncode == 2
    assert place.calls("gcloud") == ["storage rsync --recursive gs://b/raw amr_prepare/raw"]
    assert place.run("prepare_on_gcs.sh", *BUCKETS).returncode == 0
    assert len(place.calls("gcloud")) == 1 + 3


@pytest.mark.parametrize(("status", "requeued"), [(75, ["requeue 7"]), (0, []), (143, [])])
def test_a_job_that_saved_and_no_other_returns_to_the_queue(place, status, requeued):
    place.ends(str(status))
    variables = {**SLURM, "SLURM_GPUS_ON_NODE": "4", "SLURM_NTASKS_PER_NODE": "4"}
    done = place.run("slurm.sbatch", *PRETRAIN, **variables, SLURM_CPUS_PER_TASK="6")
    assert (done.returncode, place.calls("scontrol")) == (status, requeued)
    (call,) = place.calls("srun")
    assert call.endswith(f"--cpus-per-task=6 {place.python} {CALL}")


def test_slurm_needs_a_process_per_gpu_or_per_node(place):
    done = place.run("slurm.sbatch", "--dry_run", "pretrain", SLURM_NTASKS_PER_NODE="3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "3 processes and 8 GPUs on a node" in done.stderr


def test_the_package_is_installed_once_per_extras_and_requirements(place):
    repository = place.folder / "repository"
    repository.mkdir()
    (repository / "setup.py").touch()
    script = f"repository={repository}; find_venv; install_package"

    def installed(extras: str, **variables: str) -> list[str]:
        (place.folder / "pip").unlink(missing_ok=True)
        done = place.bash(f"{script} {extras}", **variables)
        assert done.returncode == (2 if "PIP_STATUS" in variables else 0), done.stderr
        return [line.split(str(repository))[1] for line in place.calls("pip")]

    assert installed("test", PIP_STATUS="1") == ["[test]"]
    assert installed("test") == ["[test]"]
    assert installed("test") == []
    assert installed("", AMR_EXTRAS="cuda13") == ["[cuda13]"]
    assert installed("test", AMR_EXTRAS="cuda13") == ["[test,cuda13]"]
    assert installed("") == [""]
    (repository / "setup.py").touch()
    assert installed("test") == ["[test]"]


def test_the_environment_is_the_users_or_a_new_one(place):
    (place.here / "photos").mkdir()
    done = place.bash("find_venv", AMR_VENV="photos")
    assert done.returncode == 2
    assert "AMR_VENV=photos is no virtual environment" in done.stderr
    assert list((place.here / "photos").iterdir()) == []
    old = place.folder / "bin" / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    old.chmod(0o755)
    done = place.bash("find_venv", AMR_VENV="new", AMR_PYTHON=str(old))
    assert done.returncode == 2
    assert f"no Python >= 3.11 found ({old} is: Python 3.9.2)" in done.stderr
    assert not (place.here / "new").exists()


def test_the_quickstart_runs_five_commands_and_reports_their_results(place):
    out = place.here / "out"
    for name, learned, random in (("linear", 0.625, 0.418), ("knn", 0.5, 0.44)):
        (out / name).mkdir(parents=True)
        results = {
            "encoders": {"pretrained": {"top1": learned}, "random": {"top1": random}},
            "train_sequences": 898, "test_sequences": 598, "classes_in_test": 25,
            "pretraining": {"step": 1438},
            "versions": {"devices": "1 × cpu", "jax": "0.10.2", "python": "3.11.7"},
        }  # fmt: skip
        (out / name / "results.json").write_text(json.dumps(results))
    (out / "amr").mkdir()
    (out / "amr" / "metrics.jsonl").write_text('{"epoch": 1.0}\n{"epoch": 40.01}\n')
    done = place.run("quickstart.sh", "out")
    assert done.returncode == 0, done.stderr
    commands = [call.split()[1].removeprefix("amr_jax.") for call in place.calls("python")]
    assert commands == ["synthetic", "prepare", "pretrain", "evaluate", "evaluate"]
    lines = (out / "report.txt").read_text().splitlines()
    assert lines[1] == "pre-trained for 40 epochs (1,438 steps)"
    assert lines[4].split() == ["linear", "62.5", "41.8", "+20.7"]
    assert lines[5].split() == ["nearest", "neighbour", "50.0", "44.0", "+6.0"]
    assert lines[6] == "one seed; standard error about 2.0 points"
    assert done.stdout.endswith((out / "report.txt").read_text())
