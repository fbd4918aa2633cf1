"""Runs that a signal stops, and that the same command resumes."""

import os
import signal

import jax
import numpy as np
import pytest

from amr_jax import methods, pretrain
from amr_jax.errors import Preempted


def and_resumed(config, folder, monkeypatch):
    """The final state of a run on one device that SIGTERM stopped early, and that was resumed."""
    method = methods.METHODS[config.method]
    saved, devices, calls = method.views, jax.devices()[:1], []

    def stopping(*args, **view):  # called while the program is traced: stop after the first step
        if not calls:
            os.kill(os.getpid(), signal.SIGTERM)
        calls.append(1)
        return saved(*args, **view)

    monkeypatch.setattr(method, "views", stopping)
    with pytest.raises(Preempted, match="saved at step"):
        pretrain.run(config, folder, devices)
    return pretrain.run(config, folder, devices)


def check_same_bits(state, expected):
    """Every array of two states is equal, what the method keeps beside parameters included."""
    assert state.step > 1
    jax.tree.map(np.testing.assert_array_equal, state, expected)
