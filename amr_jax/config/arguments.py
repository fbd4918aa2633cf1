"""The argument of a config, `--config=FILE:ARGUMENT`: a data set, or several, and options."""

import dataclasses

from amr_jax.config import sizes
from amr_jax.data import datasets
from amr_jax.errors import UserError, did_you_mean
from amr_jax.run import paths

# What may follow the name in a config's argument.
OPTIONS = ("runlocal", "published")
# And one of these: the size of the model.
SIZES = tuple(sizes.SIZES)


@dataclasses.dataclass(frozen=True)
class Argument:
    """What follows the colon of `--config=amr:NAME,runlocal,published`.

    Attributes:
      name: of the data set, or the absolute path of the folder with a user's own records, so that
        the run finds it from any working directory.
      dataset: its row.
      runlocal: a tiny model and few sequences, seconds on two cores.
      published: the authors' settings where they differ from the defaults.
      size: of the model, if it is given.
    """

    name: str
    dataset: datasets.Dataset
    runlocal: bool
    published: bool
    size: str | None = None


def read(text: str) -> Argument:
    """Reads a config's argument: a name, then options in any order.

    The name may be a folder with commas and spaces. A folder whose own name ends in an option is
    written with a slash after it: `DATA/custom/mine,runlocal/`.

    Raises:
      UserError: no such data set or option; or an option is part of a folder's name, too.
    """
    name, options = text, set()
    while (parts := name.rpartition(","))[1] and parts[2].strip() in (*OPTIONS, *SIZES):
        if datasets.is_own(name):
            raise UserError(
                f"config argument {text!r}: {name} is a folder of records, and its name ends in an "
                f"option; expected a slash after the folder: {text.replace(name, f'{name}/')!r}."
            )
        name = parts[0]
        options.add(parts[2].strip())
    _require_known_options(text, name)
    parts = [name] if name in datasets.DATASETS or datasets.is_own(name) else name.split("+")
    name = "+".join(str(paths.absolute(part)) if "/" in part else part for part in parts)
    dataset = datasets.get(name)
    if dataset.members and "published" in options:
        raise UserError(
            f"config argument {text!r}: nothing is published on several sets at once; expected "
            "one set before ,published."
        )
    given = [size for size in SIZES if size in options]
    if len(given) > 1:
        raise UserError(f"config argument {text!r}: found the sizes {given}; expected one.")
    return Argument(name, dataset, *(option in options for option in OPTIONS), *given)


def one_set(text: str) -> Argument:
    """As `read`, of one data set; `UserError` for several."""
    chosen = read(text)
    if chosen.dataset.members:
        raise UserError(
            f"config argument {text!r}: several sets at once are for `pretrain`; expected one of "
            f"them: {', '.join(chosen.dataset.members)}."
        )
    return chosen


def spell(name: str, size: str | None = None, **options: bool) -> str:
    """The argument that `read` reads as this name, size and options."""
    closed = f"{name.rstrip('/')}/" if "/" in name else name
    chosen = [option for option, given in options.items() if given]
    return ",".join([closed, *chosen, *([size] if size else [])])


def _require_known_options(text: str, name: str) -> None:
    """Raises `UserError` if the name, known options taken off, ends in an unknown option."""
    if "/" in name:
        known, comma, option = name.rpartition(",")
        if not comma or datasets.is_own(name) or not datasets.is_own(known):
            return
    else:
        known, comma, option = name.partition(",")
        if not comma:
            return
        datasets.get(known)
    hint = did_you_mean(option.strip(), (*OPTIONS, *SIZES))
    raise UserError(
        f"config argument {text!r}: unknown option {option.strip()!r}; expected after the name "
        f"{' or '.join(f',{word}' for word in OPTIONS)}, or both; or a size: "
        f"{' '.join(f',{word}' for word in SIZES)}.{hint}"
    )
