"""Parts of a split by what the records know of a sequence: `train[subject=7,8]`.

TFDS slices a split by place, `train[:80%]`, which puts sequences of one person in both parts. A
validation split that says something about new people, or new cameras, leaves them out by name:
`train[subject!=7,8]` to train on, `train[subject=7,8]` to validate on. Where a set has a part for
validation of its own, these are `train[!validation]` and `train[validation]` for short.
"""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from amr_jax.errors import UserError

_FORM = re.compile(
    r"(?P<split>\w+) *\[ *(?P<field>[a-z]\w*) *(?P<sign>!?=)(?P<values>[^=\[\]][^\[\]]*)\]"
)

_VALIDATION = re.compile(r"(?P<split>\w+) *\[ *(?P<without>!?) *validation *\]")


def of_validation(split: str, part: str | None, name: str) -> str:
    """`train[validation]` and `train[!validation]` in full; other splits as they are.

    Args:
      split: of a config.
      part: the data set's own part for validation, as 'subject=7'; None: it has none.
      name: of its records, for messages.

    Raises:
      UserError: it has none.
    """
    match = _VALIDATION.fullmatch(split.strip())
    if match is None:
        return split
    if part is None:
        raise UserError(
            f"{name}: split {split!r}: this data set has no part for validation of its own; "
            "expected one by a field of its records, such as 'train[subject=7]' and "
            "'train[subject!=7]'."
        )
    field, _, values = part.partition("=")
    return f"{match['split']}[{field}{match['without']}={values}]"


@dataclasses.dataclass(frozen=True)
class Selection:
    """The sequences of a split with, or without, some values of a field.

    Attributes:
      split: the whole split.
      field: a field of the records, such as `subject` or `camera`.
      values: its values, as texts.
      without: whether to leave these out.
    """

    split: str
    field: str
    values: tuple[str, ...]
    without: bool

    @classmethod
    def parse(cls, text: str) -> "Selection | None":
        """The selection that a split names, such as `train[subject!=7,8]`; None for others."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            return None
        values = tuple(value.strip() for value in match["values"].split(","))
        return cls(match["split"], match["field"], values, match["sign"] == "!=")

    def places(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The places of the selected sequences, ascending.

        Args:
          columns: fields of all sequences of the split, (n,) texts each.

        Raises:
          ValueError: no such field, a value that no sequence has, or nothing is left.
        """
        if self.field not in columns:
            fields = ", ".join(columns) or "none"
            raise ValueError(f"no field {self.field!r}; the records have: {fields}")
        found = columns[self.field]
        if absent := sorted(set(self.values) - set(found.tolist())):
            there = ", ".join(sorted(set(found.tolist()), key=lambda text: (len(text), text)))
            raise ValueError(f"no sequence has {self.field} {absent[0]}; found {there}")
        places = np.flatnonzero(np.isin(found, self.values, invert=self.without))
        if not len(places):
            raise ValueError("no sequence is left")
        return places
