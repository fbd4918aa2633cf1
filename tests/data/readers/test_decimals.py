"""Numbers in bulk against Python's own `float`, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_jax.data.readers import decimals


def parse(numbers: list[str]) -> np.ndarray:
    text = b" " * decimals.WINDOW + " ".join(numbers).encode() + b" "
    length = np.array([len(number) for number in numbers], np.int64)
    end = decimals.WINDOW + np.cumsum(length + 1) - 1
    return decimals.parse(text, end - length, end)


def bits(values) -> list[int]:
    return np.asarray(values, np.float64).view(np.int64).tolist()


SHORT = ["0", "-0", "7", "-12", "0.2181153", "-.5", "5.", "000.50", "-0.30000000000001"]
LONG = ["123456789012345", "1234567890123456", "0.1234567890123456789"]
UNUSUAL = ["6.1e-05", "-1E3", "+4", "1e400", "nan", "-inf"]


@pytest.mark.parametrize("number", [*SHORT, *LONG, *UNUSUAL])
def test_one_number(number):
    # Alone, and among others: numbers of another width beside it must not matter.
    assert bits(parse([number])) == bits([float(number)])
    assert bits(parse(["1.5", number, "-123456.78901234"])[1]) == bits(float(number))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.integers(1, 17))
def test_printed_numbers_come_back_as_float_reads_them(values, digits):
    numbers = [f"{value:.{digits}g}" for value in values]
    assert bits(parse(numbers)) == bits([float(number) for number in numbers])


def test_no_number_at_all():
    assert parse([]).shape == (0,)


@pytest.mark.parametrize("number", ["", "-", ".", "1.2.3", "1-2", "--1", "0x1", "1a", "1\x00"])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(ValueError, match="could not convert"):
        parse(["1.0", number, "2.0"])
