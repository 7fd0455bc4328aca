"""A captured plan computes what the model computes, and says what it could not take apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, fx, nn

from fluxshard_core.errors import InputError
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.loading import random_model
from fluxshard_core.session import Engine
from fluxshard_core.sparse.capture import UnknownOperatorWarning, capture
from fluxshard_core.sparse.nodes import (
    Activation,
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    DenseIsland,
    Node,
    Pointwise,
    Pool,
    Slice,
    Upsample,
)
from fluxshard_core.sparse.normalise import is_plain
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.recognise_attention import Attention, recognise_attention


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    """Small maps run several times faster on one thread; ``two_threads`` puts the number back."""
    torch.set_num_threads(1)


def activate(x: Tensor, activation: Activation | None) -> Tensor:
    if activation is None:
        return x
    if activation.kind == "leaky_relu":
        return functional.leaky_relu(x, activation.slope)
    named: Callable[[Tensor], Tensor] = (
        getattr(torch, activation.kind)
        if activation.kind in ("sigmoid", "tanh")
        else getattr(functional, activation.kind)
    )
    return named(x)


def evaluate(node: Node, values: list[Tensor]) -> tuple[Tensor, ...]:
    """One plan node as plain PyTorch on NCHW maps."""
    x = values[0]
    if isinstance(node, DenseIsland):
        return node.function(*(value.contiguous() for value in values))
    if isinstance(node, Conv | Pool):
        window = node.window
        top, left, bottom, right = node.padding
        fill = window.pad_value if window else 0.0
        x = functional.pad(x, (left, right, top, bottom), value=fill)
    if isinstance(node, Conv):
        y = functional.conv2d(x, node.weight, node.bias, node.stride, 0, node.dilation, node.groups)
        return (activate(y, node.activation),)
    if isinstance(node, ConvTranspose):
        y = functional.conv_transpose2d(
            x, node.weight, node.bias, node.stride, node.padding, node.output_padding, node.groups
        )
        return (activate(y, node.activation),)
    if isinstance(node, Pool) and node.kind == "max":
        return (functional.max_pool2d(x, node.kernel, node.stride, 0, node.dilation),)
    if isinstance(node, Pool):
        return (functional.avg_pool2d(x, node.kernel, node.stride),)
    if isinstance(node, Upsample):
        return (functional.interpolate(x, scale_factor=node.factor),)
    if isinstance(node, Concat):
        return (torch.cat(values, dim=1),)
    if isinstance(node, Slice):
        return (x[:, node.start : node.stop],)
    if isinstance(node, Binary):
        return (x + values[1] if node.operator == "add" else x * values[1],)
    assert isinstance(node, Pointwise)
    return (activate(x, node.activation),)


@torch.inference_mode()
def run(plan: Plan, image: Tensor) -> list[Tensor]:
    """Run a plan densely and check every described shape on the way."""
    values = {plan.inputs[0]: image}
    for node in plan.nodes:
        results = evaluate(node, [values[name] for name in node.inputs])
        for name, result in zip(node.outputs, results, strict=True):
            spec = plan.tensors[name]
            if spec.stride:
                assert tuple(result.shape) == (1, spec.channels, spec.height, spec.width)
            values[name] = result
    return [values[name] for name in plan.outputs]


def assert_same(model: nn.Module, plan: Plan, height: int, width: int, channels: int = 3) -> None:
    image = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.eval()(image)
    expected = list(expected) if isinstance(expected, tuple | list) else [expected]
    actual = run(plan, image)
    assert len(actual) == len(expected)
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5 * max(1, right.abs().max()))


def module_macs(model: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates counted by forward hooks on modules, the plan not involved."""
    total = 0

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0, 0].numel() * module.weight.numel()
        elif isinstance(module, nn.ConvTranspose2d):
            total += inputs[0][0, 0].numel() * module.weight.numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()
        elif type(module).__name__ == "Attention":
            cells = output[0, 0].numel()
            total += module.num_heads * cells * cells * (module.key_dim + module.head_dim)

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, height, width))
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize(
    "name", ["yolo11n", "yolo11s", "yolo11m", "yolo11n-seg", "yolo11n-pose", "yolov8n"]
)
def test_yolo_plans_compute_what_the_network_computes(name: str) -> None:
    network = random_model(ModelName.parse(name), 0).network
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownOperatorWarning)
        plan = capture(network, 64, 96)
    assert_same(network, plan, 64, 96)
    islands = [node for node in plan.nodes if isinstance(node, DenseIsland)]
    assert len(islands) == (1 if name.startswith("yolo11") else 0)
    assert all("attention" in node.reason for node in islands)
    for island in islands:
        heads = {"n": 2, "s": 4, "m": 4}[name[6]]
        expected = Attention(heads, 32, 64, 32**-0.5, ("attention", "values"))
        assert recognise_attention(island, plan.tensors[island.inputs[0]]) == expected
    assert plan.strides == (1, 2, 4, 8, 16, 32)
    assert plan.total_multiply_accumulates == module_macs(network, 64, 96)
    assert {plan.tensors[name].stride for name in plan.outputs} <= {4, 8, 16, 32}


def test_a_graph_that_needs_no_decomposition_gives_the_same_plan_without(
    monkeypatch: pytest.MonkeyPatch, random_engine: Callable[[str], Engine]
) -> None:
    network = random_engine("yolo11n-seg").detector.network
    plain = capture(network, 64, 96)
    asked: list[bool] = []

    def decomposed(graph: fx.Graph) -> bool:
        asked.append(is_plain(graph))
        return False

    monkeypatch.setattr("fluxshard_core.sparse.capture.is_plain", decomposed)
    other = capture(network, 64, 96)
    assert asked == [True], "or both were decomposed"
    assert [type(node) for node in plain.nodes] == [type(node) for node in other.nodes]
    shapes = [[replace(spec, name="") for spec in p.tensors.values()] for p in (plain, other)]
    assert shapes[0] == shapes[1]
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    assert all(map(torch.equal, run(plain, image), run(other, image)))
    assert plain.total_multiply_accumulates == other.total_multiply_accumulates


class InPlace(nn.Module):
    """Changes what another branch has read, and a view of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        before = functional.silu(y)
        y[:, :2].mul_(2.0)
        return before, torch.cat([y, before], dim=1)


def test_what_changes_in_place_is_captured_as_it_runs() -> None:
    model = InPlace()
    with pytest.warns(UnknownOperatorWarning):
        plan = capture(model, 32, 48)
    assert_same(model, plan, 32, 48)


class Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False, groups=2)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = (
            nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu_(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return functional.relu_(y)


class ResNetLike(nn.Module):
    """Normalisation, stem with padding on one side, residual stages, pooled classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1))
        self.stem = nn.Conv2d(3, 8, 7, 2, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.stages = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 24, 2))
        self.drop = nn.Dropout(0.5)
        self.classify = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = (x - self.mean) / 0.25
        x = self.pool(torch.relu(self.bn(self.stem(functional.pad(x, (2, 3, 3, 2))))))
        features = self.stages(x)
        pooled = self.drop(functional.adaptive_avg_pool2d(features, 1).flatten(1))
        return features, self.classify(pooled)


class UNetLike(nn.Module):
    """Encoder and decoder with skips, transposed convolution, every other activation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 8, 3, padding="same"), nn.LeakyReLU(0.2))
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=2, dilation=2), nn.Hardswish())
        self.bottom = nn.Sequential(nn.Conv2d(16, 16, 5, padding=2), nn.GELU(), nn.ReLU6())
        self.up2 = nn.ConvTranspose2d(16, 16, 2, 2)
        self.up1 = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(32, 8, (1, 3), padding=(0, 1))
        )
        self.norm = nn.BatchNorm2d(16)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(functional.max_pool2d(a, 2))
        c = self.bottom(functional.avg_pool2d(b, 2))
        d = self.up1(torch.cat([functional.silu(self.up2(c)), b], dim=1))
        left, right = self.norm(torch.cat([d, a], dim=1)).chunk(2, dim=1)
        mixed = torch.cat(
            [left * torch.sigmoid(right), torch.tanh(right)[:, 2:] + 1.0, left[:, :2]], 1
        )
        return self.out(mixed)


def randomised(model: nn.Module) -> nn.Module:
    """Give BatchNorm statistics that matter."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 101)])
def test_a_residual_network_folds_its_norms_and_leaves_only_the_classifier_dense(
    height: int, width: int
) -> None:
    model = randomised(ResNetLike())
    plan = capture(model, height, width)
    assert_same(model, plan, height, width)
    islands = [node for node in plan.nodes if isinstance(node, DenseIsland)]
    assert [node.reason for node in islands] == ["reads the whole map: adaptive_avg_pool2d, linear"]
    assert plan.strides == (1, 2, 4, 8, 16)
    assert plan.tensors[plan.outputs[1]].stride == 0
    # Two channelwise convolutions stand for the normalisation and one for the padding.
    pointless = (2 * height * width + (height + 5) * (width + 5)) * 3
    assert plan.total_multiply_accumulates - pointless == module_macs(model, height, width)


def test_an_encoder_decoder_needs_no_island() -> None:
    model = randomised(UNetLike())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownOperatorWarning)
        plan = capture(model, 48, 80)
    assert_same(model, plan, 48, 80)
    assert not any(isinstance(node, DenseIsland) for node in plan.nodes)
    assert plan.strides == (1, 2, 4)
    (output,) = plan.outputs
    assert (plan.tensors[output].height, plan.tensors[output].width) == (48, 80)


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(InputError, match="must be positive"):
        capture(UNetLike(), 0, 64)


def test_capture_leaves_the_model_as_it_was() -> None:
    model = UNetLike().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    capture(model, 16, 16)
    assert model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
