"""A run is made longer or shorter where the steps done stay what they are."""

import ml_collections
import numpy as np
import pytest

from amr_jax.errors import UserError
from amr_jax.run import workdir
from amr_jax.train import length, loop

UNITS = (40, 40)  # of batches of 4: ten steps an epoch


class Method:
    """In place of a method without a momentum encoder."""

    momentum_encoder = False


class WithMomentum:
    """In place of a method with one."""

    momentum_encoder = True

    def __init__(self, start, end):
        self.start, self.end = start, end

    def momentum(self, progress):
        return self.start + (self.end - self.start) * progress


def config(epochs, **optim):
    given = {"lr": 1e-3, "min_lr": 5e-4, "warmup_epochs": 1, "schedule_epochs": None} | optim
    return ml_collections.ConfigDict(
        {
            "method": "amr",
            "epochs": epochs,
            "batch_size": 4,
            "steps_per_dispatch": 2,
            "checkpoint": {"epochs": 1},
            "input": {"bodies": "packed", "stream": "joint", "storage": "int16"},
            "optim": given,
        }
    )


def check(folder, monkeypatch, before, now, done, method=None):
    monkeypatch.setattr(length.checkpoint_step, "steps", lambda _: [done] if done else [])
    workdir.start(folder, before, set())
    length.require_same_past(folder, now, UNITS, method or Method())


CONSTANT = {"min_lr": 1e-3}
ALLOWED = {
    "the same": (config(4), config(4), 40),
    "the same, spelled out": (config(4), config(4, schedule_epochs=4.0), 40),
    "nothing done": (config(4), config(8), 0),
    "constant, finished": (config(4, **CONSTANT), config(8, **CONSTANT), 40),
    "constant, half-way": (config(4, **CONSTANT), config(8, **CONSTANT), 20),
    "constant, shorter": (config(4, **CONSTANT), config(3, **CONSTANT), 25),
    "constant, to what is done": (config(4, **CONSTANT), config(2, **CONSTANT), 20),
    "in warm-up": (config(4), config(8), 10),
    "at the last rate, finished": (config(4), config(8, schedule_epochs=4.0), 40),
    "at the last rate, half-way": (config(4), config(8, schedule_epochs=4.0), 20),
    "longer still": (config(6, schedule_epochs=4.0), config(9, schedule_epochs=4.0), 55),
    "back": (config(8, schedule_epochs=4.0), config(4), 40),
}
REFUSED = {
    "finished": (config(4), config(8), 40),
    "half-way": (config(4), config(8), 20),
    "one step after warm-up": (config(4), config(8), 12),
    "shorter": (config(4), config(3), 20),
    "another decay": (config(4), config(8, schedule_epochs=5.0), 40),
    "decay of a longer run": (config(6, schedule_epochs=4.0), config(6), 55),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_a_length_that_leaves_the_past_is_accepted_and_told(case, tmp_path, monkeypatch, capsys):
    before, now, done = ALLOWED[case]
    check(tmp_path, monkeypatch, before, now, done)
    said = capsys.readouterr().out
    if case.startswith(("the same", "nothing")):
        assert said == ""
    else:
        assert f"The {done:,} steps done stay what they are; the learning rate" in said
    # The rates of all steps, as a reader computes them.
    plans = [loop.Plan.of(c, *UNITS) for c in (before, now)]
    rates = [length.schedule(c.optim, p) for c, p in zip((before, now), plans, strict=True)]
    np.testing.assert_array_equal(rates[0](np.arange(done)), rates[1](np.arange(done)))


@pytest.mark.parametrize("case", REFUSED)
def test_a_length_that_changes_the_past_is_refused_with_what_works(case, tmp_path, monkeypatch):
    before, now, done = REFUSED[case]
    with pytest.raises(UserError, match="The learning rate follows a curve") as error:
        check(tmp_path, monkeypatch, before, now, done)
    said = str(error.value)
    assert f"so the {done} steps done would be those of another run" in said
    assert "use a new --workdir" in said
    decayed = before.optim.schedule_epochs or before.epochs
    advised = f"--config.epochs={now.epochs} --config.optim.schedule_epochs={decayed}"
    assert (advised in said) == (now.epochs > before.epochs)
    if advised in said:  # it works
        now.optim.schedule_epochs = float(decayed)
        length.require_same_past(tmp_path, now, UNITS, Method())


def test_fewer_steps_than_are_done_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="It holds step 40, and this length has 20 steps"):
        check(tmp_path, monkeypatch, config(4, **CONSTANT), config(2, **CONSTANT), 40)


def test_the_momentum_of_a_target_encoder_counts_too(tmp_path, monkeypatch, capsys):
    before, now = config(4, **CONSTANT), config(8, **CONSTANT)
    with pytest.raises(UserError, match="The momentum of the target encoder follows a curve"):
        check(tmp_path, monkeypatch, before, now, 40, WithMomentum(0.9, 1.0))
    length.require_same_past(tmp_path, now, UNITS, WithMomentum(0.9, 0.9))
    now.optim.schedule_epochs = 4.0
    length.require_same_past(tmp_path, now, UNITS, WithMomentum(0.9, 1.0))
    assert "stay what they are" in capsys.readouterr().out


def test_the_rate_stays_after_the_decay():
    longer = config(8, schedule_epochs=4.0)
    rate = length.schedule(longer.optim, loop.Plan.of(longer, *UNITS))
    assert rate(25) == pytest.approx(7.5e-4)  # half of the cosine from step 10 to 40
    np.testing.assert_allclose(rate(np.arange(40, 80)), 5e-4)


def test_a_workdir_of_an_earlier_version_has_no_such_key(tmp_path, monkeypatch):
    before = config(4)
    del before.optim.schedule_epochs
    check(tmp_path, monkeypatch, before, config(4), 40)
    with pytest.raises(UserError, match=r"--config\.optim\.schedule_epochs=4"):
        length.require_same_past(tmp_path, config(8), UNITS, Method())
