"""Decoding must agree with ultralytics' own postprocessing, and refuse garbage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from fluxshard_core.errors import InputError
from fluxshard_core.models.architecture import build_model, fuse_model
from fluxshard_core.models.catalog import ModelName, Task
from fluxshard_core.models.checkpoint import read_checkpoint
from fluxshard_core.models.decode import decode
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.head_layout import HeadLayout, HeadOutput, OutputKind
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.network import network_input
from fluxshard_core.models.quiet_import import import_ultralytics


def reference_rows(detector: Detector, outputs: tuple[Tensor, ...], **thresholds: float) -> Tensor:
    """ultralytics' dense decode and suppression of our raw outputs: ``(N, 6 + extra)``."""
    layout = detector.layout
    heads = import_ultralytics("ultralytics.nn.modules.head")
    kind = {Task.DETECT: heads.Detect, Task.SEGMENT: heads.Segment, Task.POSE: heads.Pose}
    head = kind[detector.name.task](nc=layout.num_classes, ch=(16, 16, 16)).eval()
    head.stride = torch.tensor(layout.strides)
    raw: dict[str, Any] = {
        key: torch.cat([outputs[i].flatten(2) for i in layout.indices(kind)], dim=2)
        for key, kind in {
            "boxes": OutputKind.BOX,
            "scores": OutputKind.CLASS,
            "mask_coefficient": OutputKind.COEFFICIENT,
            "kpts": OutputKind.KEYPOINT,
        }.items()
        if layout.indices(kind)
    }
    raw["feats"] = [outputs[i] for i in layout.indices(OutputKind.BOX)]  # read for their shapes
    suppression = import_ultralytics("ultralytics.utils.nms").non_max_suppression
    rows: list[Tensor] = suppression(
        head._inference(raw), thresholds["confidence"], thresholds["iou"], nc=layout.num_classes
    )
    return rows[0]


def assert_boxes_agree(
    found: Detections, rows: Tensor, letterbox: Letterbox, score_error: float = 1e-6
) -> None:
    assert len(found) == len(rows) > 0
    expected = letterbox.boxes_to_original(rows[:, :4].numpy())
    np.testing.assert_allclose(found.boxes, expected, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.scores, rows[:, 4], rtol=0, atol=score_error)
    np.testing.assert_array_equal(found.class_ids, rows[:, 5].int())


def assert_masks_agree(
    found: Detections, rows: Tensor, prototypes: Tensor, letterbox: Letterbox
) -> None:
    """Compare with ultralytics' masks at input size; the image must not have been resized."""
    process_mask = import_ultralytics("ultralytics.utils.ops").process_mask
    size = (letterbox.input_height, letterbox.input_width)
    expected = process_mask(prototypes, rows[:, 6:], rows[:, :4], size, upsample=True)
    assert found.masks is not None
    assert len(found.masks) == len(rows)
    differing = 0
    for mask, reference in zip(found.masks, expected, strict=True):
        canvas = np.zeros(size, dtype=np.uint8)
        canvas[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width] = mask.unpack()
        visible = reference[: letterbox.original_height, : letterbox.original_width].numpy()
        shown = canvas[: letterbox.original_height, : letterbox.original_width]
        differing += int((shown != visible).sum())
    # Logits of exactly the threshold may round either way.
    assert differing <= len(rows)


@pytest.mark.parametrize("name", ["yolo11n", "yolo11n-seg", "yolo11n-pose", "yolov8n"])
def test_random_weights_decode_as_ultralytics_does(
    name: str, random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detector = random_detector(name)
    image, letterbox = detector.preprocess(scene)
    outputs = detector.infer(image)
    for confidence, iou in ((0.15, 0.7), (0.02, 0.3)):
        found = detector.decode(outputs, letterbox, confidence=confidence, iou=iou)
        rows = reference_rows(detector, outputs, confidence=confidence, iou=iou)
        assert_boxes_agree(found, rows, letterbox)
        if name.endswith("-seg"):
            assert_masks_agree(found, rows, outputs[-1][0], letterbox)
        if name.endswith("-pose"):
            assert found.keypoints is not None
            points = rows[:, 6:].view(len(rows), 17, 3).numpy()
            np.testing.assert_allclose(
                found.keypoints[..., :2], letterbox.points_to_original(points[..., :2]), atol=1e-3
            )
            np.testing.assert_allclose(found.keypoints[..., 2], points[..., 2], atol=1e-6)


@pytest.mark.weights
@pytest.mark.video
@pytest.mark.parametrize("name", ["yolo11n", "yolo11n-seg"])
def test_real_weights_on_a_real_frame_agree_with_the_whole_ultralytics_path(
    name: str, weights_directory: Path, street: npt.NDArray[np.uint8]
) -> None:
    path = weights_directory / f"{name}.safetensors"
    detector = Detector.load(path)
    image, letterbox = detector.preprocess(street)
    found = detector.decode(detector.infer(image), letterbox)
    assert {"person", "bicycle"} <= {detector.names[i] for i in found.class_ids}
    assert len(detector.names) == 80

    model = fuse_model(build_model(ModelName.parse(name), 80))
    tensors = read_checkpoint(path).tensors
    model.load_state_dict({key: value.float() for key, value in tensors.items()})
    with torch.inference_mode():
        predicted, raw = model(network_input(image))
    predicted = predicted[0] if isinstance(predicted, tuple) else predicted
    suppression = import_ultralytics("ultralytics.utils.nms").non_max_suppression
    rows = suppression(predicted, 0.25, 0.7, nc=80)[0]
    # Their convolutions run in another memory layout, so sums round differently.
    assert_boxes_agree(found, rows, letterbox, score_error=1e-5)
    if name.endswith("-seg"):
        assert_masks_agree(found, rows, raw["proto"][0], letterbox)


LAYOUT = HeadLayout(
    (HeadOutput(OutputKind.BOX, 8, 64), HeadOutput(OutputKind.CLASS, 8, 2)),
    num_classes=2,
    reg_max=16,
)
LETTERBOX = Letterbox.fit(64, 96)


def handmade(cells: dict[tuple[int, int], tuple[float, int]], side: int = 1) -> list[Tensor]:
    """Outputs of a 96x64 input: ``(row, column) -> (logit, class)``, boxes ``2 * side`` cells."""
    box = torch.full((1, 64, 8, 12), -100.0)
    box.view(1, 4, 16, 8, 12)[:, :, side] = 100.0
    classes = torch.full((1, 2, 8, 12), -100.0)
    for (row, column), (logit, class_id) in cells.items():
        classes[0, class_id, row, column] = logit
    return [box, classes]


def test_a_box_reaches_its_distances_from_the_cell_centre() -> None:
    outputs = handmade({(2, 5): (0.0, 1)})
    outputs[0].view(4, 16, 8, 12)[:, :, 2, 5] = -100.0
    for side, bins in enumerate((1, 2, 3, 4)):
        outputs[0].view(4, 16, 8, 12)[side, bins, 2, 5] = 100.0
    found = decode(outputs, LAYOUT, LETTERBOX, confidence=0.4, iou=0.7)
    centre_x, centre_y = 5.5 * 8, 2.5 * 8
    expected = [[centre_x - 8, centre_y - 16, centre_x + 24, centre_y + 32]]
    np.testing.assert_allclose(found.boxes, expected)
    assert found.scores.tolist() == [0.5]
    assert found.class_ids.tolist() == [1]
    assert found.class_ids.dtype == np.int32
    assert found.masks is None
    assert found.keypoints is None


def test_equal_scores_keep_the_order_of_the_cells() -> None:
    cells = [(row, column) for row in range(8) for column in range(12)]
    outputs = handmade(dict.fromkeys(cells, (1.0, 0)), side=0)
    outputs[0].view(4, 16, 8, 12)[2:, :2] = 0.0  # half a cell wide: no two overlap
    found = decode(outputs, LAYOUT, LETTERBOX, confidence=0.5, iou=0.7)
    starts = [[int(y) // 8, int(x) // 8] for x, y in found.boxes[:, :2]]
    assert starts == [list(cell) for cell in cells]


def test_the_confidence_itself_is_not_enough() -> None:
    outputs = handmade({(0, 0): (0.0, 0), (5, 9): (0.01, 0)})
    assert len(decode(outputs, LAYOUT, LETTERBOX, confidence=0.5, iou=0.7)) == 1
    assert len(decode(outputs, LAYOUT, LETTERBOX, confidence=1.0, iou=0.7)) == 0
    assert len(decode(outputs, LAYOUT, LETTERBOX, confidence=0.0, iou=0.0)) > 0


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    outputs = handmade({(3, 3): (2.0, 0), (3, 4): (1.0, 0), (4, 3): (1.5, 1)}, side=4)
    found = decode(outputs, LAYOUT, LETTERBOX, confidence=0.5, iou=0.3)
    assert found.class_ids.tolist() == [0, 1]


def test_at_most_max_detections_come_back_best_first() -> None:
    cells = {(row, column): (row + column / 12, 0) for row in range(8) for column in range(12)}
    outputs = handmade(cells)
    found = decode(outputs, LAYOUT, LETTERBOX, confidence=0.1, iou=1.0, max_detections=5)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(found) == 5


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolo11n-pose"])
def test_a_frame_without_objects_gives_empty_arrays_of_the_right_shape(
    name: str, random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    found = random_detector(name).detect(scene, confidence=1.0)
    assert (found.boxes.shape, found.scores.shape, found.class_ids.shape) == ((0, 4), (0,), (0,))
    if name.endswith("-seg"):
        assert found.masks == ()
    else:
        assert found.keypoints is not None
        assert found.keypoints.shape == (0, 17, 3)


def test_memory_layout_does_not_matter(
    random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detector = random_detector("yolo11n-seg")
    image, letterbox = detector.preprocess(scene)
    outputs = detector.infer(image)
    plain = tuple(output.contiguous() for output in outputs)
    expected = detector.decode(outputs, letterbox, confidence=0.1)
    found = detector.decode(plain, letterbox, confidence=0.1)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_bfloat16_outputs_decode_as_their_float32_values(
    random_detector: Callable[[str], Detector], scene: npt.NDArray[np.uint8]
) -> None:
    detector = random_detector("yolo11n-seg")
    image, letterbox = detector.preprocess(scene)
    outputs = detector.infer(image)
    rounded = tuple(output.to(torch.bfloat16) for output in outputs)
    found = detector.decode(rounded, letterbox, confidence=0.15)
    again = detector.decode(tuple(o.float() for o in rounded), letterbox, confidence=0.15)
    assert found.boxes.dtype == np.float32
    np.testing.assert_array_equal(found.boxes, again.boxes)
    assert found.masks is not None
    assert len(found.masks) == len(found) > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", [0, 1], ids=["box", "class"])
def test_an_output_that_is_not_finite_is_refused(value: float, which: int) -> None:
    outputs = handmade({(2, 5): (0.0, 1)})
    outputs[which][0, 1, 7, 11] = value
    with pytest.raises(InputError, match=r"output at stride 8 holds NaN or infinite"):
        decode(outputs, LAYOUT, LETTERBOX, confidence=0.25, iou=0.7)


def test_outputs_of_another_input_size_are_refused() -> None:
    with pytest.raises(InputError, match="do not match"):
        decode(handmade({}), LAYOUT, Letterbox.fit(96, 96), confidence=0.25, iou=0.7)


@pytest.mark.parametrize(("confidence", "iou"), [(-0.1, 0.7), (0.25, 1.1), (float("nan"), 0.7)])
def test_thresholds_outside_zero_to_one_are_refused(confidence: float, iou: float) -> None:
    with pytest.raises(InputError, match=r"must be in \[0, 1\]"):
        decode(handmade({}), LAYOUT, LETTERBOX, confidence=confidence, iou=iou)
