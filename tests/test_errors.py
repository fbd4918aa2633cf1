"""Errors quote files; whatever stands there, a terminal can show them."""

import pickle

from amr_jax.errors import BadFile


def test_a_long_quotation_is_cut():
    error = BadFile("file", "x" * 10**6, "y" * 10**6)
    assert str(error) == f"file: found {'x' * 600}…; expected {'y' * 600}…."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_cannot_be_printed_is_written_out():
    error = BadFile("file", "a\x1b[2J\n\ud800é", "text", line=3)
    assert str(error) == r"file, line 3: found a\x1b[2J\n\ud800é; expected text."
    str(error).encode()
