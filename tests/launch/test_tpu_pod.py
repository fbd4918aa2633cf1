"""launch/tpu_pod.sh from creation to deletion, on a slice of two folders."""

import re
import signal

import pytest

FLAGS = ("--zone=z-a", "--type=v5litepod-8", "--runtime=v2", "--spot")
PRETRAIN = ("pretrain", "--config=configs/amr.py:nwucla", "--workdir=gs://b/it's mine")
CALL = "-m amr_jax." + " ".join(PRETRAIN)


def lives(place) -> list[str]:
    """Creations and deletions, in order."""
    verbs = (re.search(r"queued-resources (create|delete) amr ", c) for c in place.told("gcloud"))
    return [verb[1] for verb in verbs if verb]


def test_it_outlives_a_stop_and_a_vanished_slice(place):
    place.tell("states", "WAITING_FOR_RESOURCES", "ACTIVE", "ACTIVE", "SUSPENDED")
    place.tell("ends0", "75", "143", "0")
    place.tell("ends1", "75", "75", "0")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode == 0, done.stderr
    assert place.told("python0") == place.told("python1") == [CALL] * 3
    assert lives(place) == ["create", "delete"] * 2
    assert "worker 0 at work" in done.stdout
    assert "worker 1 at work" not in done.stdout
    assert not list(place.folder.glob("amr_jax.*"))  # of the archive nothing is left


def test_after_a_host_was_restarted_all_start_again(place):
    # It comes back without a status, and what the others ended with came of that.
    place.tell("ends0", "134", "0")
    place.tell("ends1", "loses its host", "0")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode == 0, done.stderr
    assert place.told("python0") == place.told("python1") == [CALL] * 2
    assert lives(place) == ["create", "delete"]


def test_a_failure_of_any_worker_is_told_and_the_slice_deleted(place):
    place.tell("ends1", "2")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode == 2
    assert "ended with status 2" in done.stderr
    assert "worker 1 at work" in done.stderr  # the end of its log
    assert lives(place) == ["create", "delete"]
    assert len(place.told("python1")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_it_deletes_the_slice(place, number):
    place.tell("ends0", "waits")
    process = place.start("tpu_pod.sh", *FLAGS, *PRETRAIN)
    while "at work" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert lives(place) == ["create", "delete"]


def test_refused_it_still_tries_to_delete_what_may_have_been_made(place):
    place.tell("refuse_create")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode != 0
    assert "the slice was refused" in done.stderr
    assert lives(place) == ["create", "delete"]


def test_a_slice_that_cannot_be_made_is_deleted(place):
    place.tell("states", "WAITING_FOR_RESOURCES", "FAILED")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode == 2
    assert "could not be made" in done.stderr
    assert lives(place) == ["create", "delete"]


def test_a_slice_that_is_not_its_own_is_not_touched(place):
    place.tell("slice")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode == 2
    assert "there is a slice amr in z-a already" in done.stderr
    assert lives(place) == []


def test_what_could_not_be_deleted_is_shouted(place):
    place.tell("refuse_delete")
    done = place.run("tpu_pod.sh", *FLAGS, *PRETRAIN)
    assert done.returncode == 1
    assert "could NOT be deleted and goes on costing" in done.stderr
    assert "queued-resources delete amr --force --zone=z-a" in done.stderr
