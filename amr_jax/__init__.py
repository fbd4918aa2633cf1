"""Adaptive Masked Reconstruction (AMR) for skeleton sequences, in JAX.

    import amr_jax as amr

    data = amr.load_data("nwucla", "DATA")
    run = amr.pretrain("amr", data, epochs=50)
    probe = run.linear_probe()
    probe.predict(x)

The names of `__all__` are those of `amr_jax.api`, imported when they are first used: `import
amr_jax` itself imports nothing.
"""

import importlib
import types

__version__ = "0.3.0"

# Names of `amr_jax.api`, and submodules that are functions, too: see `Callable`.
_NAMES = (
    "Data",
    "Drawing",
    "Evaluation",
    "Run",
    "TrainedModel",
    "UserError",
    "load",
    "load_data",
    "shipped",
)
_CALLABLE = ("pretrain", "show")

__all__ = ["__version__", *sorted([*_NAMES, *_CALLABLE])]


class Callable(types.ModuleType):
    """A module of a command that is also the Python function of the same name.

    `amr_jax.pretrain` is one object in any order of imports: the module, and called, the function
    `amr_jax.api.pretrain`.
    """

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    @property
    def _function(self):
        api = importlib.import_module("amr_jax.api")
        return getattr(api, self.__name__.rpartition(".")[2])

    @property
    def __wrapped__(self):  # for help() and signatures
        return self._function


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module("amr_jax.api"), name)
    if name in _CALLABLE:
        return importlib.import_module(f"amr_jax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
