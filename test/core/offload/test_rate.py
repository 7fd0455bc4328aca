"""A peer gets its rate and a burst, not more, whatever it tries."""

from __future__ import annotations

import pytest

from fluxshard_core.offload.rate import TokenBucket


def test_a_burst_passes_and_what_exceeds_it_waits_for_exactly_as_long_as_it_takes() -> None:
    bucket = TokenBucket(per_s=10.0)
    assert [bucket.take(1.0, 100.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(5.0, 100.0) == pytest.approx(0.5)
    assert bucket.take(0.0, 100.5) == pytest.approx(0.0)


def test_over_time_no_more_than_the_rate_gets_through() -> None:
    bucket, now_s, units = TokenBucket(per_s=20.0), 0.0, 0
    while now_s < 60.0:
        now_s += bucket.take(1.0, now_s)
        units += 1
    assert units == pytest.approx(20 * 61, rel=0.01)


def test_idleness_earns_one_burst_and_no_more() -> None:
    bucket = TokenBucket(per_s=10.0)
    bucket.take(10.0, 0.0)
    assert bucket.take(10.0, 3600.0) == 0.0
    assert bucket.take(1.0, 3600.0) > 0.0
