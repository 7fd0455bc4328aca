"""The search over policies, on made-up accuracy and compute."""

from __future__ import annotations

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.calibration import INPUT_SHARE, KNOBS, Knob, Measured, search
from fluxshard_core.reuse.config import ReuseConfig

BACKGROUND = Knob("background_threshold", (0.1, 0.2, 0.3, 0.4))
EASE = Knob("fine_ease", (0.0, 0.1, 0.2))


def linear(config: ReuseConfig, sequence: str) -> Measured:
    """Every tenth of a threshold costs one percent and saves a tenth of the compute."""
    steps = 10 * (config.background_threshold - 0.1 + config.fine_ease)
    loss = 0.01 * steps * (1.5 if sequence == "hard" else 0.5)
    return Measured(1 - loss, 1 - 0.1 * steps, 0.0)


def test_the_first_knob_may_spend_two_thirds_and_the_others_the_rest() -> None:
    found = search(["hard", "easy"], linear, budget=0.031, knobs=(BACKGROUND, EASE))
    assert 0.02 < INPUT_SHARE * 0.031 < 0.03
    assert found.config.background_threshold == 0.3
    assert found.config.fine_ease == 0.1
    assert found.measured.retention == pytest.approx(0.97)
    assert found.measured.compute_ratio == pytest.approx(0.7)


def test_no_budget_keeps_the_most_careful_policy() -> None:
    found = search(["hard"], linear, budget=0.0, knobs=(BACKGROUND, EASE))
    assert (found.config.background_threshold, found.config.fine_ease) == (0.1, 0.0)


def test_the_whole_curve_is_kept_and_says_what_was_chosen() -> None:
    found = search(["easy"], linear, budget=0.012, knobs=(BACKGROUND, EASE))
    tried = [(p.config.background_threshold, p.config.fine_ease) for p in found.curve]
    assert tried == [(0.1, 0), (0.2, 0), (0.3, 0), (0.2, 0.1), (0.2, 0.2), (0.1, 0.05)]
    assert [point.chosen for point in found.curve] == [True, True, False, True, False, False]


def test_a_step_that_saves_nothing_or_raises_alarms_is_not_taken() -> None:
    def dear(config: ReuseConfig, sequence: str) -> Measured:
        return Measured(1.0, 0.5 + config.background_threshold, 10 * config.fine_ease)

    found = search(["easy"], dear, budget=0.5, knobs=(BACKGROUND, EASE), max_false_alarms=0.5)
    assert (found.config.background_threshold, found.config.fine_ease) == (0.1, 0.0)


@pytest.mark.parametrize(("budget", "ease"), [(0.04, 0.05), (0.0, 0.05), (0.5, 0.2)])
def test_what_the_search_starts_from_is_taken_where_nothing_better_is_found(
    budget: float, ease: float
) -> None:
    def kind_in_between(config: ReuseConfig, sequence: str) -> Measured:
        loss = 0.03 if config == ReuseConfig() else 0.03 + config.fine_ease
        return Measured(1 - loss, 0.5 - config.fine_ease, 0.0)

    found = search(["a"], kind_in_between, budget=budget, knobs=(EASE,))
    assert found.config.fine_ease == ease
    assert next(point for point in found.curve if point.config == found.config).chosen


def test_whole_numbers_stay_whole() -> None:
    found = search(["easy"], linear, budget=0.1, knobs=(Knob("shape_interval", (1, 2)),))
    assert isinstance(found.config.shape_interval, int)


def test_the_seed_changes_the_order_of_work_only() -> None:
    asked: dict[int, list[str]] = {}
    results = []
    for seed in (0, 1, 1):

        def noted(config: ReuseConfig, sequence: str, seed: int = seed) -> Measured:
            asked.setdefault(seed, []).append(sequence)
            return linear(config, sequence)

        names = ["c", "a", "hard", "b"]
        results.append(search(names, noted, budget=0.03, knobs=(BACKGROUND,), seed=seed))
    assert results[0] == results[1] == results[2]
    assert asked[0][:4] != asked[1][:4]


def test_every_default_knob_is_one_of_the_configuration_from_careful_on() -> None:
    for knob in KNOBS:
        assert hasattr(ReuseConfig(), knob.name)
        assert list(knob.values) == sorted(set(knob.values))


def test_a_search_without_anything_to_search_is_refused() -> None:
    with pytest.raises(InputError, match="at least one sequence"):
        search([], linear, budget=0.03)
    with pytest.raises(InputError, match="budget is 1"):
        search(["easy"], linear, budget=1.0)
