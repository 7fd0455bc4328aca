"""The network cut before its decode."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from fluxshard_core.models.architecture import build_model, fuse_model
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.head_layout import OutputKind
from fluxshard_core.models.network import Network, network_input

HEIGHT, WIDTH = 96, 128
TASKS = ["yolo11n", "yolo11n-seg", "yolo11n-pose", "yolov8n"]


@pytest.mark.parametrize("name", TASKS)
def test_outputs_are_the_spatial_tensors_the_layout_names(
    name: str, random_detector: Callable[[str], Detector]
) -> None:
    network = random_detector(name).network
    outputs = network(torch.zeros(2, 3, HEIGHT, WIDTH))
    assert [tuple(output.shape) for output in outputs] == [
        (2, described.channels, HEIGHT // described.stride, WIDTH // described.stride)
        for described in network.layout.outputs
    ]
    assert network.layout.strides == (8, 16, 32)


def test_each_task_has_its_own_extra_outputs(random_detector: Callable[[str], Detector]) -> None:
    kinds = [output.kind for output in random_detector("yolo11n-seg").layout.outputs]
    assert kinds[:6] == [OutputKind.BOX, OutputKind.CLASS] * 3
    assert kinds[6:] == [OutputKind.COEFFICIENT] * 3 + [OutputKind.PROTOTYPE]
    pose = random_detector("yolo11n-pose").layout
    assert [output.kind for output in pose.outputs[6:]] == [OutputKind.KEYPOINT] * 3
    assert pose.keypoint_shape == (17, 3)


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_left_to_train(name: str, random_detector: Callable[[str], Detector]) -> None:
    network = random_detector(name).network
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


def test_outputs_equal_the_raw_predictions_of_ultralytics() -> None:
    torch.manual_seed(0)
    fused = fuse_model(build_model(ModelName.parse("yolo11n-seg"), 80))
    network = Network(fused)
    image = torch.rand(1, 3, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        _, raw = fused(image)
        outputs = network(image)
    layout = network.layout

    def joined(kind: OutputKind) -> torch.Tensor:
        return torch.cat([outputs[i].flatten(2) for i in layout.indices(kind)], dim=2)

    assert torch.equal(joined(OutputKind.BOX), raw["boxes"])
    assert torch.equal(joined(OutputKind.CLASS), raw["scores"])
    assert torch.equal(joined(OutputKind.COEFFICIENT), raw["mask_coefficient"])
    assert torch.equal(outputs[-1], raw["proto"])


def test_it_exports_to_a_flat_graph_that_computes_the_same(
    random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detector = random_detector("yolo11n-seg")
    image = scene[:HEIGHT, :WIDTH].copy()
    exported = torch.export.export(
        detector.network, (torch.zeros(1, 3, HEIGHT, WIDTH),), strict=False
    )
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert not any("batch_norm" in target for target in targets)
    expected = detector.infer(image)
    with torch.inference_mode():
        actual = exported.module()(network_input(image))
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_network_input_is_rgb_in_unit_range() -> None:
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[4, 5] = (255, 128, 0)
    tensor = network_input(image)
    assert tensor.shape == (1, 3, 32, 32)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(
        tensor[0, :, 4, 5], np.array([255, 128, 0], dtype=np.float32) / 255
    )


@pytest.mark.filterwarnings("error")
def test_read_only_and_flipped_images_are_taken_without_a_warning() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    frozen = np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(image.shape)
    assert torch.equal(network_input(frozen), network_input(image))
    assert torch.equal(network_input(image[::-1, :, ::-1]), network_input(image).flip(1, 2))
