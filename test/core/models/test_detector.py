"""The dense model as one object."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fluxshard_core.errors import InputError
from fluxshard_core.models.detector import Detector


def test_steps_and_shortcut_agree(
    random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detector = random_detector("yolo11n-seg")
    image, letterbox = detector.preprocess(scene)
    stepwise = detector.decode(detector.infer(image), letterbox, confidence=0.1, iou=0.5)
    at_once = detector.detect(scene, confidence=0.1, iou=0.5)
    assert len(at_once) > 0
    np.testing.assert_array_equal(stepwise.boxes, at_once.boxes)
    np.testing.assert_array_equal(stepwise.scores, at_once.scores)


def test_results_are_in_pixels_of_the_original_image(
    random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    found = random_detector("yolo11n-seg").detect(scene[:150, :199], confidence=0.05)
    assert len(found) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [199, 150, 199, 150]).all()
    assert found.masks is not None
    for mask in found.masks:
        assert mask.x + mask.width <= 199
        assert mask.y + mask.height <= 150


def test_a_requested_input_size_is_what_the_network_sees(scene: npt.NDArray[np.uint8]) -> None:
    detector = Detector.load("yolo11n", random_seed=7, input_size=(96, 160))
    image, letterbox = detector.preprocess(scene)
    assert image.shape == (96, 160, 3)
    assert letterbox.scale == pytest.approx(0.6)
    assert detector.infer(image)[0].shape[2:] == (12, 20)


def test_threads_share_a_detector(
    random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detectors = [random_detector("yolo11n"), random_detector("yolo11n-seg")]
    images = [np.roll(scene, shift, axis=1) for shift in range(4)]
    jobs = [(detector, image) for detector in detectors for image in images]

    def boxes(job: tuple[Detector, npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        return job[0].detect(job[1], confidence=0.1).boxes

    alone = [boxes(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(boxes, jobs))
    for expected, actual in zip(alone, together, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_weights_that_give_nan_never_give_boxes(scene: npt.NDArray[np.uint8]) -> None:
    detector = Detector.load("yolo11n", random_seed=7)
    next(detector.network.parameters()).data.fill_(float("nan"))
    with pytest.raises(InputError, match="NaN or infinite"):
        detector.detect(scene)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((96, 100, 3), "uint8"),
        ((96, 128), "uint8"),
        ((96, 128, 3), "float32"),
        ((0, 0, 3), "uint8"),
    ],
)
def test_an_input_that_is_not_letterboxed_is_refused(
    shape: tuple[int, ...], dtype: str, random_detector: Callable[[str], Detector]
) -> None:
    with pytest.raises(InputError, match="input is"):
        random_detector("yolo11n").infer(np.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("shape", [(480, 640), (0, 640, 3), (480, 640, 4)])
def test_a_frame_that_is_not_an_rgb_image_is_refused(
    shape: tuple[int, ...], random_detector: Callable[[str], Detector]
) -> None:
    with pytest.raises(InputError, match=r"image"):
        random_detector("yolo11n").preprocess(np.zeros(shape, dtype=np.uint8))


def test_bad_load_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="not a multiple of 32: use 480"):
        Detector.load("yolo11n", random_seed=0, input_size=(470, 640))
    threads = torch.get_num_threads()
    with pytest.raises(InputError, match="threads must be at least 1"):
        Detector.load("yolo11n", random_seed=0, threads=0)
    assert torch.get_num_threads() == threads
