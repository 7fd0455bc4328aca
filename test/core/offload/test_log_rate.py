"""However often something is said, a log grows slowly and loses no count."""

from __future__ import annotations

import logging

import pytest

from fluxshard_core.offload.log_rate import LogRate


def test_a_flood_is_cut_and_the_next_record_says_how_many_are_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    logger = logging.getLogger("test.flood")
    limit = LogRate(most=3, period_s=10.0, clock=lambda: now)
    logger.addFilter(limit)
    try:
        for number in range(1000):
            logger.warning("peer %d", number)
        assert [record.getMessage() for record in caplog.records] == ["peer 0", "peer 1", "peer 2"]
        now = 10.0
        logger.warning("peer %s", "again")
        logger.warning("and again")
    finally:
        logger.removeFilter(limit)
    last = [record.getMessage() for record in caplog.records[-2:]]
    assert last == ["peer again (997 messages left out)", "and again"]
