"""Launchers start a run again that was stopped and saved (status 75), and only such a run."""

import signal
import time

import pytest

from tests.launch.fakes import REPOSITORY

PRETRAIN = ("pretrain", "--config=configs/amr.py:nwucla", "--workdir=gs://b/it's mine")
CALL = "-m amr_jax." + " ".join(PRETRAIN)


@pytest.mark.parametrize("script", ["gpu_host.sh", "tpu_vm.sh"])
def test_a_run_that_saved_is_started_again_until_it_ends(place, script):
    place.tell("ends", "75", "75", "0")
    done = place.run(script, *PRETRAIN)
    assert (done.returncode, place.told("python")) == (0, [CALL] * 3)
    assert done.stderr.count("starting again") == 2


@pytest.mark.parametrize("status", [1, 2, 74, 76, 134, 143])
def test_a_run_that_failed_is_not(place, status):
    place.tell("ends", "75", str(status), "0")
    done = place.run("gpu_host.sh", *PRETRAIN)
    assert (done.returncode, place.told("python")) == (status, [CALL] * 2)


def test_once_leaves_starting_again_to_the_caller(place):
    place.tell("ends", "75", "0")
    done = place.run("tpu_vm.sh", "--once", *PRETRAIN)
    assert (done.returncode, place.told("python")) == (75, [CALL])


def test_install_only_runs_nothing(place):
    for script in ("gpu_host.sh", "tpu_vm.sh"):
        assert place.run(script, "--install_only").returncode == 0
    assert place.told("python") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_stopped_lets_the_run_save_and_ends(place, number):
    place.tell("ends", "waits", "0")
    process = place.start("gpu_host.sh", *PRETRAIN)
    while "at work" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.2)  # until the fake waits for the signal
    process.send_signal(number)
    process.communicate(timeout=30)
    assert (process.returncode, place.told("python")) == (75, [CALL])


def test_nothing_is_sent_of_a_preparation_that_failed(place):
    arguments = ("--raw=gs://b/raw", "--data=gs://b/data", "--dataset=nw_ucla")
    place.tell("ends", "2")
    assert place.run("prepare_on_gcs.sh", *arguments).returncode == 2
    fetch = "storage rsync --recursive gs://b/raw amr_prepare/raw"
    assert place.told("gcloud") == [fetch]
    assert place.run("prepare_on_gcs.sh", *arguments).returncode == 0
    assert len(place.told("gcloud")) == 1 + 3


def slurm(place, gpus: int, tasks: int, **variables: str):
    """A job on two nodes; sbatch would run a copy, so the repository comes by SLURM_SUBMIT_DIR."""
    return place.run(
        "slurm.sbatch",
        *PRETRAIN,
        SLURM_SUBMIT_DIR=str(REPOSITORY),
        SLURM_JOB_ID="7",
        SLURM_NNODES="2",
        SLURM_GPUS_ON_NODE=str(gpus),
        SLURM_NTASKS_PER_NODE=str(tasks),
        **variables,
    )


def test_a_job_that_saved_goes_back_to_the_queue(place):
    place.tell("ends", "75")
    done = slurm(place, gpus=4, tasks=4, SLURM_CPUS_PER_TASK="6")
    assert (done.returncode, place.told("scontrol")) == (75, ["requeue 7"])
    assert place.told("srun") == [
        "--ntasks=8 --ntasks-per-node=4 --gpu-bind=none --kill-on-bad-exit=0 --wait=300 "
        f"--cpus-per-task=6 {place.python} {CALL}"
    ]


@pytest.mark.parametrize("status", [0, 1, 2, 143])
def test_a_job_that_ended_otherwise_does_not(place, status):
    place.tell("ends", str(status))
    done = slurm(place, gpus=4, tasks=1)
    assert (done.returncode, place.told("scontrol")) == (status, [])
    assert place.told("srun")[0].endswith(f"--wait=300 {place.python} {CALL}")
