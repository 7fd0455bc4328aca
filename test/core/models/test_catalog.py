"""The catalogue of model names."""

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.models.catalog import ModelName, Task, model_names


def test_every_listed_name_parses_back_to_itself() -> None:
    names = model_names()
    assert len(names) == len(set(names)) == 30
    assert [str(ModelName.parse(name)) for name in names] == names


def test_a_name_says_family_scale_and_task() -> None:
    assert ModelName.parse("yolo11m-pose") == ModelName("yolo11", "m", Task.POSE)
    assert ModelName.parse("yolov8x") == ModelName("yolov8", "x", Task.DETECT)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("yolov11n", "yolo11n"), ("yolo8n-seg", "yolov8n-seg"), ("YOLO11n", "yolo11n")],
)
def test_an_unknown_name_suggests_close_ones(name: str, suggestion: str) -> None:
    with pytest.raises(InputError, match=f"did you mean .*{suggestion}"):
        ModelName.parse(name)


@pytest.mark.parametrize("name", ["", "resnet50", "yolo11n\n"])
def test_a_name_like_no_other_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="unknown model"):
        ModelName.parse(name)
