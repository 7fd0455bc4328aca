"""The cost formula against the captured plan."""

from fluxshard_core.baselines.context import MethodContext


def test_cost_at_any_size_is_the_plans(context: MethodContext) -> None:
    assert context.cost.multiply_accumulates(96, 128) == (
        context.engine.plan(96, 128).total_multiply_accumulates
    )
