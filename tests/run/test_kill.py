"""A run killed by SIGKILL and started again ends in the same bits as a run never killed.

The campaign of fifty kills is a script: tests/kill_campaign.py.
"""

import jax
import pytest

from amr_jax.run import checkpoint
from tests import kill_campaign


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bits(tmp_path):
    """Two processes, while a checkpoint is being written and at a random later moment."""
    cache = jax.config.jax_compilation_cache_dir
    soon = {"save": 0.02, "step": 0.5}
    campaign = kill_campaign.Campaign(tmp_path, 0, steps=100, longest_wait_s=soon, cache=cache)
    expected = campaign.run("undisturbed", evaluate=False)
    killed = campaign.run("killed", phases=("save", "step"), evaluate=False)
    assert campaign.kills == {"save": 1, "step": 1}
    assert checkpoint.load_encoder(killed / "run")[2] == 100
    assert kill_campaign.differences(expected, killed) == []
