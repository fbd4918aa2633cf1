"""SIGKILL at awkward moments, the same command again: the same bits as a run never killed.

The campaign of fifty kills is a script: tests/kill_campaign.py.
"""

import jax
import pytest

from amr_jax import checkpoint
from tests import kill_campaign


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bits(tmp_path):
    """Two processes, while a checkpoint is being written and at a random later moment."""
    cache = jax.config.jax_compilation_cache_dir
    campaign = kill_campaign.Campaign(tmp_path, seed=0, steps=100, cache=cache)
    expected = campaign.run("undisturbed", evaluate=False)
    killed = campaign.run("killed", phases=("save", "step"), evaluate=False)
    assert campaign.kills == {"save": 1, "step": 1}
    assert checkpoint.load_encoder(killed / "run")[2] == 100
    assert kill_campaign.differences(expected, killed) == []
