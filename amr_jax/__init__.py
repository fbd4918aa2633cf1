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
import sys
import types

__version__ = "0.3.0"

_NAMES = (
    "Data", "Drawing", "Evaluation", "Run", "TrainedModel", "UserError", "load", "load_data",
    "shipped",
)  # fmt: skip
_COMMANDS = ("pretrain", "show")  # also modules

__all__ = ["__version__", *sorted([*_NAMES, *_COMMANDS])]


class _Command(types.ModuleType):
    """The module of a command that is also the function of its name in `amr_jax.api`."""

    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self):  # help() and inspect read the signature from here
        api = importlib.import_module("amr_jax.api")
        return getattr(api, self.__name__.rpartition(".")[2])


class _Package(types.ModuleType):
    """This module: whoever imports it, `amr_jax.pretrain` is one object, module and function."""

    def __setattr__(self, name, value):
        if name in _COMMANDS and type(value) is types.ModuleType:  # its import ends here
            value.__class__ = _Command
        super().__setattr__(name, value)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module("amr_jax.api"), name)
    if name in _COMMANDS:
        return importlib.import_module(f"amr_jax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
