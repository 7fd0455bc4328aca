"""What frames cost, learned from what they took: a line over the ratio, whole frames apart."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.offload.side_cost import LearnedCost


def _learned(frames: list[tuple[float, bool, float]]) -> LearnedCost:
    cost = LearnedCost()
    for frame in [(1.0, True, 1e4), *frames]:
        cost.took(*frame)
    return cost


def test_nothing_is_known_before_a_second_frame() -> None:
    cost = _learned([])
    assert cost.frame_ms(0.5, dense=False) is None
    assert cost.frame_ms(1.0, dense=True) is None


def test_fixed_cost_and_cost_by_ratio_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    frames = [(r, False, 20 + 80 * r + rng.normal(0, 1)) for r in rng.uniform(0.05, 0.8, 60)]
    cost = _learned(frames)
    for ratio in (0.1, 0.4, 0.7):
        assert cost.frame_ms(ratio, dense=False) == pytest.approx(20 + 80 * ratio, rel=0.1)


def test_where_ratios_hardly_differ_they_are_not_extrapolated_wildly() -> None:
    rng = np.random.default_rng(3)
    cost = _learned([(0.3 + rng.normal(0, 0.002), False, 50 + rng.normal(0, 3)) for _ in range(30)])
    cost.took(1.0, True, 60.0)
    assert 45 < cost.frame_ms(0.3, dense=False) < 55
    assert 50 < cost.frame_ms(0.6, dense=False) < 80
    assert cost.frame_ms(1.0, dense=True) == 60.0


def test_it_follows_a_machine_that_slows_down() -> None:
    cost = _learned([(0.3, False, 30.0)] * 20 + [(0.3, False, 90.0)] * 15)
    assert cost.frame_ms(0.3, dense=False) > 80


def test_one_accident_does_not_spoil_it() -> None:
    cost = _learned([(0.3, False, 30.0)] * 20 + [(0.3, False, 1e6)] + [(0.3, False, 30.0)] * 20)
    assert cost.frame_ms(0.3, dense=False) < 45


@pytest.mark.parametrize("whole", [True, False])
def test_right_after_an_accident_the_side_is_not_taken_to_be_many_times_as_slow(
    whole: bool,
) -> None:
    usual = [(0.2 + 0.05 * (number % 5), False, 30.0) for number in range(20)]
    cost = _learned([*usual, (1.0, True, 50.0), (1.0 if whole else 0.3, whole, 40_000.0)])
    assert cost.frame_ms(0.3, dense=False) < 60
    assert cost.frame_ms(1.0, dense=True) <= 80


def test_a_machine_ten_times_as_slow_is_believed_after_some_frames() -> None:
    cost = _learned([(0.3, False, 30.0)] * 20 + [(0.3, False, 300.0)] * 12)
    assert cost.frame_ms(0.3, dense=False) > 200


def test_after_some_sparse_frames_a_whole_one_is_worth_a_look_once() -> None:
    cost = _learned([(0.3, False, 30.0)] * 3)
    assert cost.wants_whole
    cost.took(1.0, True, 25.0)
    assert not cost.wants_whole
