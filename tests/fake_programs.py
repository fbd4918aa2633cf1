"""Functions in place of compiled programs."""

import types
from collections.abc import Callable


def not_compiled(dispatch: Callable) -> types.SimpleNamespace:
    """A function in the interface of a jitted one, as far as `train.step.Programs` uses it."""

    def program(*args, **kwargs):
        return dispatch(*args, **kwargs)

    program.memory_analysis = lambda: None
    lowered = types.SimpleNamespace(compile=lambda: program)
    return types.SimpleNamespace(lower=lambda *args, **kwargs: lowered)
