"""The 25 actions, under the ids of NTU RGB+D 60."""

from amr_jax.synthetic import pairs, solo

ACTIONS = solo.ACTIONS | pairs.ACTIONS
