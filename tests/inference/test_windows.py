"""Windows of long sequences: exact at the edges, and what the flags refuse."""

import itertools

import hypothesis
import hypothesis.strategies as st
import pytest

from amr_jax.errors import UserError
from amr_jax.inference.windows import Windows, parse
from amr_jax.pictures import timeline


@pytest.mark.parametrize(
    ("length", "frames", "stride", "spans"),
    [
        (10, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (11, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10), (7, 11)]),
        (3, 4, 2, [(0, 3)]),
        (4, 4, 1, [(0, 4)]),
        (9, 2, 5, [(0, 2), (5, 7), (7, 9)]),
        (1, 1, 1, [(0, 1)]),
    ],
)
def test_spans_by_hand(length, frames, stride, spans):
    assert Windows(frames, stride).spans(length) == spans


@hypothesis.given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 60))
@hypothesis.settings(max_examples=60)
def test_windows_are_full_in_order_and_reach_both_ends(length, frames, stride):
    spans = Windows(frames, stride).spans(length)
    starts = [start for start, _ in spans]
    assert starts == sorted(set(starts))
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert all(end - start == min(frames, length) for start, end in spans)
    assert all(b - a <= stride for a, b in itertools.pairwise(starts))


def test_flags():
    assert parse("60", None, None, 300) == Windows(60, 30, None)
    assert parse("2s", "0.5s", 30.0, 300) == Windows(60, 15, 30.0)
    assert parse("1", None, 25.0, 300) == Windows(1, 1, 25.0)
    for argv, message in (
        (("0", None, None), "--window=0 is 0 frames; expected at least 1"),
        (("1.5", None, None), "--window=1.5: expected frames, such as 60, or seconds"),
        (("2s", None, None), "seconds need --fps"),
        (("60", "x", None), "--stride=x: expected frames"),
        (("60", "0.001s", 30.0), "--stride=0.001s is 0 frames"),
        (("20s", None, 30.0), "is 600 frames; expected at most 300"),
        (("2s", None, -1.0), "--fps=-1.0: expected frames per second"),
    ):
        with pytest.raises(UserError, match=message):
            parse(*argv, 300)


def test_a_timeline_has_a_line_for_each_class_that_wins_and_a_limit():
    rows = [(0, 2, "wave", 0.5), (1, 3, "clap", 1.0), (2, 4, "wave", 0.9)]
    axes = timeline.timeline({"a.json": rows, "b.json": rows[1:2]}, "seconds").axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["wave", "clap"]
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["clap"]
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + 0.35) for bar in axes[0].patches]
    assert bars == [(0, 1.5, 0), (1.5, 1, 1), (2.5, 1.5, 0)]
    with pytest.raises(UserError, match="9 files with 2 classes; expected at most 8"):
        timeline.timeline({str(i): rows for i in range(9)}, "frames")
