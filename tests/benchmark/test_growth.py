"""Exponents of growth by hand."""

import pytest

from amr_jax.benchmark.growth import MARGIN, Axis, Growth, Point, between, exponent

LINEAR = Axis("bodies", 1, "…")


def test_exponents_by_hand():
    assert exponent(2, 8) == pytest.approx(3)
    assert exponent(3, 3) == pytest.approx(1)
    assert exponent(4, 2) == pytest.approx(0.5)
    assert exponent(2, 1) == 0


def test_growth_takes_the_ratio_of_each_round():
    # Ratios 4, 2 and 4; of the medians, 4 and 2, it would be 2.
    smaller = Point(8, 8, [1.0, 4.0, 2.0], memory_bytes=100, flops=10)
    larger = Point(32, 32, [4.0, 8.0, 8.0], memory_bytes=1600, flops=20)
    grown = between(smaller, larger)
    assert grown.time == pytest.approx(1)
    assert grown.fastest == pytest.approx(1)  # 1 and 4
    assert grown.memory == pytest.approx(2)
    assert grown.flops == pytest.approx(0.5)
    assert grown.surprises(LINEAR) == ["memory"]


def test_what_is_not_known_has_no_exponent():
    grown = between(Point(1, 1, [1.0]), Point(2, 2, [], memory_bytes=3, problem="out of memory"))
    assert grown == Growth(None, None, None, None)
    assert grown.surprises(LINEAR) == []


def test_a_surprise_is_more_than_what_is_allowed_and_the_margin():
    over, under = 1 + MARGIN + 0.01, 1 + MARGIN - 0.01
    assert Growth(under, under, None, 9.0).surprises(LINEAR) == []
    assert Growth(over, over, None, None).surprises(LINEAR) == ["time"]
    assert Growth(2.2, 2.2, 2.3, None).surprises(Axis("width", 2, "…")) == ["memory"]
    # Noise makes one of the two slower.
    assert Growth(over, under, None, None).surprises(LINEAR) == []
    assert Growth(under, over, None, None).surprises(LINEAR) == []
