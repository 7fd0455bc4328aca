"""What has no tiled form runs dense and right, is named, and is refused where no plan can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fluxshard_core.sparse.backends import default_backend
from fluxshard_core.sparse.capture import CaptureError, UnknownOperatorWarning, capture
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.nodes import Conv, DenseIsland
from fluxshard_core.sparse.plan import Plan


def assert_same(model: nn.Module, plan: Plan, height: int, width: int) -> None:
    """A dense run of the executor computes what the model computes."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.eval()(image)
    options = ExecutorOptions(mode="exact")
    (actual,) = Executor(plan, default_backend(), options).run(image).outputs
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


class Forward(nn.Module):
    """Any function of a ``(1, 4, 16, 24)`` map between two convolutions, the first of stride 2."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Conv2d(3, 4, 3, 2, 1)
        self.after = nn.Conv2d(channels, 2, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.function(self.before(x)))


FOREIGN = {
    "bilinear": (lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), 4, 1),
    "reflection": (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), 4, 2),
    "focus": (lambda x: torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1), 8, 4),
    "shuffle": (lambda x: x.view(1, 2, 2, 16, 24).transpose(1, 2).reshape(1, 4, 16, 24), 4, 2),
    "excite": (lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), 4, 2),
    "border average": (lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), 4, 2),
    "anisotropic": (lambda x: functional.max_pool2d(x, (2, 1)), 4, 0),
    "position": (lambda x: x + torch.arange(24.0).expand(1, 4, 16, 24), 4, 2),
    "half to even": (lambda x: torch.round(x * 3), 4, 2),
    "norm": (lambda x: x / x.norm(dim=1, keepdim=True), 4, 2),
    "scaled sum": (lambda x: torch.add(x, x.relu(), alpha=2), 4, 2),
    "dilated transposed": (
        lambda x: functional.conv_transpose2d(x, torch.ones(4, 4, 3, 3), dilation=2, padding=2),
        4,
        2,
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.filterwarnings("ignore::fluxshard_core.sparse.capture.UnknownOperatorWarning")
def test_what_has_no_tiled_form_runs_dense_and_right(name: str) -> None:
    function, channels, stride = FOREIGN[name]
    model = Forward(function, channels)
    plan = capture(model, 32, 48)
    assert_same(model, plan, 32, 48)
    islands = [node for node in plan.nodes if isinstance(node, DenseIsland)]
    assert [plan.tensors[output].stride for node in islands for output in node.outputs] == (
        [stride] * len(islands)
    )
    assert isinstance(plan.nodes[-1], Conv if stride else DenseIsland)


def test_an_unknown_operator_is_named_in_one_warning() -> None:
    expected = r"every frame: no tiled form of round$"
    with pytest.warns(UnknownOperatorWarning, match=expected) as seen:
        capture(Forward(torch.round), 32, 48)
    assert len(seen) == 1


@pytest.mark.filterwarnings("ignore::fluxshard_core.sparse.capture.UnknownOperatorWarning")
def test_an_island_used_in_bfloat16_keeps_its_constants_for_float32() -> None:
    offsets = torch.rand(1, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    plan = capture(Forward(lambda x: torch.round(x + offsets)), 32, 48)
    (island,) = (node for node in plan.nodes if isinstance(node, DenseIsland))
    x = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1))
    (before,) = island.function(x)
    (half,) = island.function(x.to(torch.bfloat16))
    (after,) = island.function(x)
    assert half.dtype is torch.bfloat16
    assert torch.equal(before, torch.round(x + offsets))
    assert torch.equal(after, before)


class Ring(nn.Module):
    """Unknown operators around a known one: joined into one island they would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.round(x * 4)
        return torch.atan2(first, self.conv(first) + 2.0)


@pytest.mark.filterwarnings("ignore::fluxshard_core.sparse.capture.UnknownOperatorWarning")
def test_an_island_never_swallows_its_own_input() -> None:
    model = Ring()
    plan = capture(model, 16, 16)
    assert_same(model, plan, 16, 16)
    assert [type(node) for node in plan.nodes if isinstance(node, DenseIsland)] == [DenseIsland] * 2


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Constant(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2.0, torch.ones(3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TwoInputs(), "TwoInputs cannot be exported"),
        (Branching(), "Branching cannot be exported"),
        (Constant(), "is not a tensor computed from the input"),
        (Forward(lambda x: x + torch.rand(1, 4, 16, 24)), "draws random numbers"),
    ],
    ids=["two inputs", "branching on content", "constant output", "random"],
)
def test_a_model_without_a_plan_is_refused_with_the_reason(model: nn.Module, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture(model, 32, 48)
