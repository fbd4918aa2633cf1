"""How many steps a run takes, and when it saves."""

import dataclasses
import math

import ml_collections

from amr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a run.

    Attributes:
      epochs, total_steps: length of the whole run.
      steps_per_epoch: not an integer; an epoch may end within a batch.
      steps_per_dispatch: steps per call of the compiled program at most, and per line of metrics.
      steps_per_save: a multiple of `steps_per_dispatch`, so that dispatches end where the run
        saves.
      sequences_per_step: on average.
      schedule_steps: when learning rate and momentum have their last values, which then stay.
    """

    epochs: float
    total_steps: int
    steps_per_epoch: float
    steps_per_dispatch: int
    steps_per_save: int
    sequences_per_step: float
    schedule_steps: int

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, num_units: int, num_sequences: int) -> "Plan":
        """The plan of a config for data with this many units and sequences.

        Raises:
          UserError: a batch is larger than the data.
        """
        if config.batch_size > num_units:
            raise UserError(
                f"config.batch_size = {config.batch_size}: the training data have only "
                f"{num_units:,} {'bodies' if config.input.bodies == 'packed' else 'sequences'}; "
                "expected a batch no larger than that."
            )
        per_epoch = num_units / config.batch_size
        schedule_epochs = config.optim.schedule_epochs or config.epochs
        dispatch = config.steps_per_dispatch
        return cls(
            epochs=config.epochs,
            total_steps=max(1, round(config.epochs * per_epoch)),
            steps_per_epoch=per_epoch,
            steps_per_dispatch=dispatch,
            steps_per_save=dispatch
            * max(1, math.ceil(config.checkpoint.epochs * per_epoch / dispatch)),
            sequences_per_step=num_sequences / per_epoch,
            schedule_steps=max(1, round(schedule_epochs * per_epoch)),
        )

    @property
    def sequences(self) -> int:
        """Of the data."""
        return round(self.sequences_per_step * self.steps_per_epoch)

    def saves_at(self, step: int) -> bool:
        """Whether the state of this step is saved."""
        return step % self.steps_per_save == 0 or step == self.total_steps
