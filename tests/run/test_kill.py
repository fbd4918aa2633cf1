"""Two processes: killed, stopped and resumed to the same bits; and the same numbers as one process.

The campaign of fifty kills is a script: tests/kill_campaign.py.
"""

import json

import jax
import numpy as np
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.run import checkpoint, workdir
from tests import kill_campaign
from tests.test_pretrain import assert_same_course

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> kill_campaign.Campaign:
    """Commands of two processes with a device each; parameters are split over them."""
    return kill_campaign.Campaign(
        tmp_path_factory.mktemp("campaign"),
        seed=0,
        steps=30,
        longest_wait_s={"save": 0.02, "stop": 0.1},
        cache=jax.config.jax_compilation_cache_dir,
        devices=(1, 1),
        linear_epochs=2,
        **{"checkpoint.epochs": 2, "model.decoder_depth": 1},
    )


@pytest.fixture(scope="module")
def undisturbed(campaign):
    """The folder of a pre-training run and its evaluation."""
    return campaign.run("undisturbed")


def test_a_run_killed_while_it_saves_and_then_stopped_ends_in_the_same_bits(campaign, undisturbed):
    disturbed = campaign.run("disturbed", phases=("save", "stop"), evaluate=False)
    assert campaign.kills == {"save": 1, "stop": 1}
    assert checkpoint.load_encoder(disturbed / "run")[2] == 30
    assert kill_campaign.differences(disturbed, undisturbed) == []


def test_one_process_gives_the_same_numbers(undisturbed, tmp_path):
    config = workdir.read_config(undisturbed / "run")
    config.fsdp = 1
    del config.input.found
    pretrain.run(config, tmp_path / "run", jax.devices()[:1])
    assert_same_course(undisturbed / "run", tmp_path / "run")

    two = json.loads((undisturbed / "linear" / evaluate.RESULTS_FILE).read_text())
    one = evaluate.run(workdir.read_config(undisturbed / "linear"), tmp_path / "linear")
    for encoder, numbers in one["encoders"].items():
        for name in ("top1", "top5"):
            np.testing.assert_allclose(two["encoders"][encoder][name], numbers[name], rtol=1e-4)
