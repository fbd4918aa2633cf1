"""Reads many decimal numbers out of one text at once: the same doubles as `float`, in arrays.

A set of skeletons is tens of gigabytes of printed numbers; turning them back one by one is where
its preparation would spend its time.
"""

import numpy as np

# Bytes looked at per number, counted from its end. One less is read this way: 15 digits are an
# integer that a double holds exactly, so that one division by a power of ten rounds correctly.
WINDOW = 16

_POWER = 10 ** np.arange(WINDOW, dtype=np.int64)


def parse(text: bytes, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The numbers at text[start[i]:end[i]].

    Args:
      text: begins with at least `WINDOW` bytes that belong to no number.
      start: (n,) int64, each number's first byte.
      end: (n,) int64, one past its last byte.

    Returns:
      (n,) float64, equal to `float` of each.

    Raises:
      ValueError: one of them is not a number, or is empty.
    """
    windows = np.ndarray((len(text) - WINDOW + 1,), f"V{WINDOW}", buffer=text, strides=(1,))
    length = end - start
    width = min(int(length.max(initial=0)), WINDOW)
    # (width, n): one row per place, the last row holds the numbers' last characters.
    chars = windows[end - WINDOW].view(np.uint8).reshape(-1, WINDOW)[:, WINDOW - width :].T.copy()
    column = np.arange(width, dtype=np.uint8)[:, None]
    inside = np.maximum(width - length, 0).astype(np.uint8) <= column
    digit = chars - ord("0")  # wraps around: whatever is no digit becomes 10 or more
    is_digit = inside & (digit < 10)
    is_point = inside & (chars == ord("."))
    negative = np.frombuffer(text, np.uint8)[start] == ord("-")

    num_digits = is_digit.sum(axis=0, dtype=np.uint8)
    num_points = is_point.sum(axis=0, dtype=np.uint8)
    plain = (num_digits + num_points + negative == length) & (length < WINDOW)
    plain &= (num_digits > 0) & (num_points <= 1)

    # Read as if the point were a digit 0: whole · 10^(places + 1) + fraction. Then close the gap.
    digits = np.zeros(len(start))
    for row in digit * is_digit:  # by hand: a matrix product would wake BLAS threads in each worker
        digits *= 10
        digits += row
    digits = digits.astype(np.int64)
    places = (is_point * (width - column)).sum(axis=0, dtype=np.uint8) & (WINDOW - 1)
    whole, fraction = np.divmod(digits, _POWER[places])  # places counts the point, 0 without one
    scale = _POWER[np.maximum(places, 1) - 1]
    value = (whole * scale + fraction) / scale
    value *= np.where(negative, -1, 1)

    for i in np.flatnonzero(~plain):  # exponents, very long numbers
        value[i] = float(text[start[i] : end[i]])
    return value
