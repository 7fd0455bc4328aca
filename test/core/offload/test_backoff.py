"""Pauses between attempts grow, stay below a cap, and differ between robots."""

from __future__ import annotations

import random

from fluxshard_core.offload.backoff import Backoff


def test_pauses_double_up_to_the_cap_within_their_jitter() -> None:
    backoff = Backoff(0.1, 1.0, random.Random(1))
    for step in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert step / 2 <= backoff.next_delay() <= step


def test_a_success_starts_again_from_the_shortest() -> None:
    backoff = Backoff(0.1, 10.0, random.Random(1))
    for _ in range(5000):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() <= 0.1


def test_two_robots_do_not_return_at_the_same_moment() -> None:
    one, other = Backoff(random=random.Random(1)), Backoff(random=random.Random(2))
    assert [one.next_delay() for _ in range(4)] != [other.next_delay() for _ in range(4)]
