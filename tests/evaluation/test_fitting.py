"""The epochs of a training: when it is tested, and what ends it."""

import jax.numpy as jnp
import pytest

from amr_jax.errors import UserError
from amr_jax.evaluation import fitting


@pytest.mark.parametrize(
    ("losses", "logits", "epoch"), [([0.5, jnp.nan], 1.0, 2), ([0.5, 0.5], jnp.inf, 1)]
)
def test_a_diverging_training_is_reported_with_its_epoch(losses, logits, epoch):
    with pytest.raises(UserError, match=rf"diverged in epoch {epoch} of 2 .*; lower the rate"):
        fitting.fit(
            None,
            lambda state, epoch: (state, jnp.float32(losses[epoch - 1])),
            lambda state: jnp.full((3, 4), logits),
            lambda state: None,
            test_labels=jnp.zeros(3, jnp.int32),
            epochs=2,
            test_every=1,
            log=lambda *_: None,
            remedy="lower the rate.",
        )
