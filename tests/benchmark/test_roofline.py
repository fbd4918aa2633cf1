"""The roofline's arithmetic by hand, and that the device is measured as it says."""

import itertools

import pytest

from amr_jax.benchmark import roofline

PEAKS = roofline.Peaks("float32", 1e12, 2048, 1e11, 2**29)


def test_roof_by_hand():
    # 6 GFLOP at 1 TFLOP/s take 6 ms; 2 GB at 100 GB/s take 20.
    roof = roofline.roof(6e9, 2e9, PEAKS)
    assert (roof.compute_s, roof.memory_s) == pytest.approx((0.006, 0.02))
    assert roof.bound == "memory"
    assert roof.share(0.05) == pytest.approx(0.4)

    roof = roofline.roof(6e9, 2e8, PEAKS)
    assert roof.bound == "compute"
    assert roof.share(0.05) == pytest.approx(0.12)


def test_utilisation_counts_the_backward_pass_twice():
    # 2 GFLOP forward are 6 in all; 30 ms at the peak would do 30.
    assert roofline.model_flops_utilisation(2e9, 0.03, PEAKS) == pytest.approx(0.2)


def test_peaks_are_the_best_rate_of_all_sizes(monkeypatch):
    # 2 · 10³ in 1 s, 2 · 20³ in 4 s, 2 · 40³ in 100 s: 2000, 4000 and 1280 a second.
    seconds = {10: 1.0, 20: 4.0, 40: 100.0}
    monkeypatch.setattr(roofline, "_matmul_seconds", lambda size, dtype: seconds[size])
    monkeypatch.setattr(roofline, "_scale_seconds", lambda copy_bytes: 0.5)
    peaks = roofline.measure("bfloat16", (10, 20, 40), 600)
    assert peaks == roofline.Peaks("bfloat16", 4000, 20, 1200, 600)


def test_the_first_call_does_not_count(monkeypatch):
    ticks = itertools.accumulate(itertools.chain([0], *((d, 7) for d in (1, 3, 2, 5, 4, 3))))
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(ticks))
    seen = []

    def arguments(result):
        seen.append(result)
        return (result + 1,)

    assert roofline._best_seconds(lambda x: 10 * x, arguments, 0) == 2
    assert seen[:3] == [0, 10, 110]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_this_device_can_be_measured(dtype):
    peaks = roofline.measure(dtype, (16, 32), 2**12)
    assert peaks.matmul_size in (16, 32)
    assert peaks.flops_per_s > 0
    assert peaks.bytes_per_s > 0
