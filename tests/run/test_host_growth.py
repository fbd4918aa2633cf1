"""What a process does at the start and in the loop does not grow with the number of hosts.

tests/host_growth.py prints the table for more of them.
"""

import jax
import pytest

from tests import host_growth

# What is not to be compared: it differs from run to run, or with what the system counts as its own.
NOISY = ("processor time (s)", "bytes read", "bytes written", "peak memory (MiB)")


def counts(phase: dict) -> dict:
    return {name: value for name, value in phase.items() if name not in NOISY}


@pytest.mark.slow
def test_four_processes_exchange_as_often_as_two_and_read_half_as_much(tiny_ucla, tmp_path):
    cache = jax.config.jax_compilation_cache_dir
    found = {
        number: host_growth.counted(number, tiny_ucla, tmp_path / str(number), cache)
        for number in (2, 4)
    }
    starts = {number: [counts(one["start"]) for one in all_of] for number, all_of in found.items()}
    for number, all_of in starts.items():
        assert [one.pop("sequences read") for one in all_of] == [40 // number] * number
    # What each says of its own sequences, and is told by the others in all.
    offered = {n: sum(one.pop("bytes offered") for one in all_of) for n, all_of in starts.items()}
    # Each sequence is described once; each process adds the form of its messages, less than a kB.
    assert offered[4] - offered[2] < 2 * 1000
    loops = {number: [counts(one["loop"]) for one in all_of] for number, all_of in found.items()}
    for phase in (starts, loops):
        first, other = phase[2]
        assert phase[4] == [first, other, other, other]
    # Each process asks before every dispatch; the first time, before the loop.
    assert (loops[4][0]["dispatches"], loops[4][0]["reached_preemption_sync_point"]) == (6, 5)
