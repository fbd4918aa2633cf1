"""Rows of data sets, and several at once."""

import pytest

from amr_jax.data import datasets
from amr_jax.errors import UserError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nwucla", "nwucla_xsub"),
        ("ntu60_xsub", "ntu120_xset"),
        ("ntu60_xsub", "synthetic"),  # records of the same names
        ("pku1_xsub", "pku1_xview"),
        ("utkinect_loso3", "utkinect"),
    ],
)
def test_sets_of_the_same_recordings_are_not_mixed(one, other):
    with pytest.raises(UserError, match=f"{one} and {other} are of the same recordings"):
        datasets.get(f"{one}+{other}")


@pytest.mark.parametrize("text", ["ntu60_xsub+pku1_xsub", "pku1_xsub+pku2_xsub", "nwucla+utd"])
def test_other_sets_are_mixed(text):
    assert list(datasets.get(text).members) == text.split("+")
