"""The other methods in pre-training: what a config of theirs may not ask for."""

import pytest

from amr_jax import pretrain
from amr_jax.errors import UserError
from configs import sjepa


def test_a_second_average_beside_that_of_the_method_is_refused(tmp_path):
    config = sjepa.get_config("nwucla,runlocal")
    config.optim.ema_decay = 0.9
    with pytest.raises(UserError, match=r"config\.optim\.ema_decay = 0\.9: expected None, .*sjepa"):
        pretrain.run(config, tmp_path / "run")
