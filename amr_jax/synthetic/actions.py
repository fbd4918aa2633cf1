"""The 25 actions by their ids in NTU RGB+D 60."""

from amr_jax.synthetic import pairs, solo

ACTIONS = solo.ACTIONS | pairs.ACTIONS
