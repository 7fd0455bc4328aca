"""Seeded random weights stand in for trained ones."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fluxshard_core.models.detector import Detector
from fluxshard_core.models.head_layout import OutputKind

FINGERPRINT = """
import numpy as np
from fluxshard_core.models.detector import Detector
detector = Detector.load("yolo11n", random_seed=7, threads=1)
print(detector.model_hash)
for parameter in detector.network.parameters():
    print(float(parameter.double().sum()).hex())
"""


@pytest.mark.parametrize("name", ["yolo11n", "yolo11n-seg", "yolo11n-pose", "yolov8n-seg"])
def test_activations_stay_near_unit_variance_and_some_objects_are_found(
    name: str, random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detector = random_detector(name)
    for output, described in zip(detector.infer(scene), detector.layout.outputs, strict=True):
        assert 0.1 < output.std() < 10.0, described
        if described.kind is OutputKind.CLASS:
            assert output.mean() < -2.0
    assert 1 <= len(detector.detect(scene, confidence=0.1)) <= 300


def test_the_same_seed_gives_the_same_network_in_another_process(
    random_detector: Callable[[str], Detector],
) -> None:
    detector = random_detector("yolo11n")
    expected = [detector.model_hash]
    expected += [float(p.double().sum()).hex() for p in detector.network.parameters()]
    run = subprocess.run(
        [sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == expected


def test_another_seed_gives_another_hash(random_detector: Callable[[str], Detector]) -> None:
    first, again = random_detector("yolo11n"), Detector.load("yolo11n", random_seed=7)
    other = Detector.load("yolo11n", random_seed=8)
    assert first.model_hash == again.model_hash != other.model_hash
    pairs = zip(first.network.parameters(), again.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    Detector.load("yolo11n", random_seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_weights_are_the_same_to_the_bit_however_many_threads_fold_them() -> None:
    before, states = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            states.append(Detector.load("yolo11n", random_seed=0).network.state_dict())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in states[1:]:
        assert all(torch.equal(states[0][name], other[name]) for name in states[0])
