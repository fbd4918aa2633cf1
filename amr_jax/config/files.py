"""Config files: found by name or path, loaded, and overridden key by key.

`amr:nwucla` is the installed file configs/amr.py with the argument 'nwucla'; `my.py:nwucla` is a
file of the user's, from the current folder.
"""

import functools
import importlib.util
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_collections
from absl import flags
from etils import epath
from ml_collections import config_flags

import amr_jax
from amr_jax.config import settings
from amr_jax.errors import UserError, did_you_mean

_PACKAGE = Path(amr_jax.__file__).resolve().parent

# A wheel installs configs/ inside the package; a checkout has it beside the package. Folders with
# the files of other methods and protocols may be added.
FOLDERS = [
    next((f for f in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if f.is_dir()), _PACKAGE)
]


def names() -> list[str]:
    """Names of the installed config files."""
    return sorted(path.stem for folder in FOLDERS for path in folder.glob("[!_]*.py"))


def find(name: str) -> Path:
    """The file called NAME.py in `FOLDERS`, or else at the path `name`; `UserError` if absent."""
    if name.endswith(".py"):
        path = Path(epath.Path(name).expanduser())
        if path.is_file():
            return path
        raise UserError(
            f"{name}: no such config file; expected a path from the current folder, or a name: "
            f"{', '.join(names())}.{did_you_mean(path.stem, names(), '--config={}')}"
        )
    for folder in FOLDERS:
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    raise UserError(
        f"config {name!r}: not found; expected a file that ends in .py, or one of: "
        f"{', '.join(names())}.{did_you_mean(name, names())}"
    )


def load(path: Path) -> ModuleType:
    """Runs a config file; an error in it is a `UserError` that names file and line."""
    spec = importlib.util.spec_from_file_location(f"amr_jax_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    with _Explained(path):
        spec.loader.exec_module(module)
    return module


def get_config(spec: str) -> ml_collections.ConfigDict:
    """The config of 'NAME', 'NAME:ARGUMENT', 'FILE.py' or 'FILE.py:ARGUMENT', not locked.

    Raises:
      UserError: no such file, an error in it, or an argument that it refuses.
    """
    name, _, argument = spec.partition(":")
    path = find(name)
    module = load(path)
    if not callable(getattr(module, "get_config", None)):
        raise UserError(f"{path}: expected a function get_config(argument).")
    with _Explained(path):
        config = module.get_config(argument) if argument else module.get_config()
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(
            f"{path}: get_config returned {type(config).__name__}; expected a ConfigDict."
        )
    return config


def settings_of(kind: str, name: str) -> settings.Tree:
    """The own settings of a method or protocol, SETTINGS of configs/NAME.py.

    Args:
      kind: 'method' or 'protocol'.
      name: of the method or protocol.
    """
    return _module_of(kind, name).SETTINGS


def published_of(kind: str, name: str) -> Mapping[str, Mapping[str, Any]]:
    """What its authors published where it differs: PUBLISHED of configs/NAME.py, if it has any.

    Arguments as in `settings_of`; the form is that of `base.PUBLISHED`.
    """
    return getattr(_module_of(kind, name), "PUBLISHED", {})


def masks(method: str) -> bool:
    """Whether a method takes the settings of masks and decoders: unless MASKS = False is said."""
    return getattr(_module_of("method", method), "MASKS", True)


@functools.cache
def _module_of(kind: str, name: str) -> ModuleType:
    if name not in names():
        own = [other for other in names_of(kind) if hasattr(load(find(other)), "SETTINGS")]
        settings.require_choice(f"config.{kind}", name, own)
    module = load(find(name))
    if not hasattr(module, "SETTINGS"):
        raise UserError(
            f"config.{kind} = {name!r}: {module.__file__} has no SETTINGS, so it is a config, but "
            f"not a {kind}. Pass it as --config={name}:…, or name a {kind}."
        )
    return module


def names_of(kind: str) -> list[str]:
    """Names of the config files whose config has the key `kind`: 'method', 'protocol' or 'rows'."""
    return [name for name in names() if kind in get_config(name)]


def override(config: ml_collections.ConfigDict, overrides: Iterable[str], flag: str = "") -> None:
    """Sets keys in place, each 'KEY=VALUE', by the rules of `ml_collections.config_flags`.

    Args:
      config: its keys and their types are the ones allowed.
      overrides: such as 'model.r=6'. A tuple is '(4, 8)'. 'None' is None where the key may be that.
      flag: prefix of keys in messages, as the user wrote it: '--config.'.

    Raises:
      UserError: not of that form, an unknown key, or a value of another type.
    """
    known = settings.flat(config)
    given: dict[str, list[str]] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{flag}{text}: expected KEY=VALUE, as in model.r=6.")
        if key not in known:
            raise UserError(settings.unknown_key(f"{flag or 'config.'}{key}", known))
        given.setdefault(key, []).append(value)
    for key, texts in given.items():
        section, last = _section(config, key)
        if texts[-1] == "None" and _may_be_none(section, last):
            section[last] = None
            continue
        arguments = ["", *(f"--config.{key}={value}" for value in texts)]
        values = flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict(
                "config", config, flag_values=values, sys_argv=arguments, lock_config=False
            )
            values(arguments)
        except (flags.Error, ValueError) as error:
            kind = section.get_type(last).__name__
            raise UserError(f"{flag}{key}={texts[-1]}: expected a value of type {kind}.") from error


def split_overrides(argv: Iterable[str]) -> tuple[list[str], list[str]]:
    """Arguments of a command → those that are not overrides, and the overrides as 'KEY=VALUE'.

    An override is --config.KEY=VALUE or --config.KEY VALUE; of a key that is True or False also
    --config.KEY or --noconfig.KEY.
    """
    rest, overrides, waiting = [], [], None
    for argument in argv:
        if waiting and not argument.startswith("--"):
            overrides.append(f"{waiting}={argument}")
            waiting = None
            continue
        if waiting:
            overrides.append(f"{waiting}=true")
            waiting = None
        match = re.fullmatch(r"--?(no)?config\.([^=]+)(=.*)?", argument, re.DOTALL)
        if match is None:
            rest.append(argument)
        elif match[1]:
            overrides.append(f"{match[2]}=false")
        elif match[3]:
            overrides.append(match[2] + match[3])
        else:
            waiting = match[2]
    return rest, overrides + ([f"{waiting}=true"] if waiting else [])


def _section(config: ml_collections.ConfigDict, key: str) -> tuple[ml_collections.ConfigDict, str]:
    """The section that holds a dotted key, and the last part of the key."""
    section, _, last = key.rpartition(".")
    return (settings.lookup(config, section) if section else config), last


def _may_be_none(section: ml_collections.ConfigDict, key: str) -> bool:
    """Whether the key's default is None: `settings.defaults` made it a placeholder."""
    return isinstance(
        dict(section.items(preserve_field_references=True))[key], ml_collections.FieldReference
    )


class _Explained:
    """Turns an exception raised in a config file into a `UserError` with the line."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if not isinstance(error, Exception) or isinstance(error, UserError):
            return
        lines = [f.lineno for f in traceback.extract_tb(trace) if f.filename == str(self._path)]
        if isinstance(error, SyntaxError) and error.filename == str(self._path):
            lines = [error.lineno]
        where = f"{self._path}, line {lines[-1]}" if lines else str(self._path)
        raise UserError(f"{where}: {kind.__name__}: {error}") from error
