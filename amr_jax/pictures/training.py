"""Pictures of a run while it trains."""

import time

import jax

from amr_jax.errors import cause
from amr_jax.run import console, distributed
from amr_jax.run.run import Run
from amr_jax.train.step import TrainState


class Pictures:
    """Draws what a run sees of the first sequence that it trains on, for its writers.

    Called with every state that is saved; draws if some time has passed since the start or the
    last picture, so that pictures take a small part of the time. One process draws; of several,
    none does.
    """

    EVERY_S = 60.0

    def __init__(self, run: Run):
        self._run, self._last = run, time.monotonic()
        self._draws = bool(run.config.writers) and not distributed.several()

    def __call__(self, state: TrainState) -> None:
        if not self._draws or time.monotonic() - self._last < self.EVERY_S:
            return
        config, step = self._run.config, int(state.step)
        try:
            # Imported late: short runs draw nothing.
            from amr_jax.pictures import look, seen, style

            with console.progress_bar("drawing a reconstruction"):
                clip = look.given(self._run.workdir, split=config.input.split)
                found = look.of_params(jax.device_get(state.params), config, step, clip)
                self._run.image(step, "reconstruction", style.png(seen.seen(found)))
        # A method that predicts features, no memory left, whatever: training is worth more.
        except Exception as error:
            self._draws = False
            self._run.say(f"note: no pictures of reconstructions: {cause(error)}")
        self._last = time.monotonic()
