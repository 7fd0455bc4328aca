"""Suppression in two steps must give what one step gives."""

import torch

from fluxshard_core.models.quiet_import import import_ultralytics
from fluxshard_core.models.suppression import CLASS_OFFSET, FIRST_CANDIDATES, suppress


def boxes(count: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=generator) * spread
    size = torch.rand(count, 2, generator=generator) * 40 + 5
    class_ids = torch.randint(0, 3, (count,), generator=generator)
    return torch.cat((corner, corner + size), dim=1), class_ids


def test_few_results_read_the_long_tail_of_candidates() -> None:
    rectangles, class_ids = boxes(3 * FIRST_CANDIDATES, spread=200.0)
    nms = import_ultralytics("ultralytics.utils.nms").TorchNMS.nms
    scores = torch.linspace(1.0, 0.1, len(rectangles))
    expected = nms(rectangles + class_ids[:, None] * CLASS_OFFSET, scores, 0.3)
    assert expected.max() > FIRST_CANDIDATES
    assert torch.equal(suppress(rectangles, class_ids, 0.3, 300_000), expected)
    assert torch.equal(suppress(rectangles, class_ids, 0.3, 100), expected[:100])


def test_no_boxes_keep_none() -> None:
    assert suppress(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0.5, 300).tolist() == []
