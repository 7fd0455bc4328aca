"""Every message survives serialization with every field set, and arrays keep their types."""

from __future__ import annotations

import array
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.ros
serialization = pytest.importorskip("rclpy.serialization", reason="rclpy is not installed")
msgs = pytest.importorskip("fluxshard_msgs.msg", reason="fluxshard_msgs is not built")
vision = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not built")

MESSAGES = [
    msgs.BlockShards,
    msgs.FrameStats,
    msgs.InferenceResult,
    msgs.InstanceMask,
    msgs.InstanceMasks,
    msgs.MotionField,
    msgs.ShardFrame,
    vision.Detection2DArray,
    vision.LabelInfo,
]


def fill(message: Any, numbers: Iterator[int]) -> Any:
    """Set every field of ``message``, nested ones too, to values that are no defaults."""
    for name in message.get_fields_and_field_types():
        setattr(message, name, _value(message, name, getattr(message, name), numbers))
    return message


def _value(message: Any, name: str, default: Any, numbers: Iterator[int]) -> Any:
    if isinstance(default, bool):
        return True
    if isinstance(default, (int, float)):
        return type(default)(next(numbers))
    if isinstance(default, str):
        return f"text {next(numbers)}"
    if isinstance(default, np.ndarray):
        return np.array([next(numbers) for _ in default], default.dtype)
    if isinstance(default, array.array):
        return array.array(default.typecode, [next(numbers), next(numbers), next(numbers)])
    if isinstance(default, list):
        return _sequence(message, name, numbers)
    return fill(default, numbers)


def _sequence(message: Any, name: str, numbers: Iterator[int]) -> list[Any]:
    field_type = message.get_fields_and_field_types()[name]
    element = field_type.removeprefix("sequence<").removesuffix(">")
    if element == "string":
        return [f"text {next(numbers)}", f"text {next(numbers)}"]
    package, _, type_name = element.partition("/")
    module = {"fluxshard_msgs": msgs, "vision_msgs": vision}[package]
    return [fill(getattr(module, type_name)(), numbers) for _ in range(2)]


@pytest.mark.parametrize("message_type", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_field_survives(message_type: Any) -> None:
    sent = fill(message_type(), count(1))
    received = serialization.deserialize_message(
        serialization.serialize_message(sent), message_type
    )
    assert received == sent
    assert received != message_type()


def test_no_message_is_left_out() -> None:
    assert {name for name in vars(msgs) if name[0].isupper()} <= {k.__name__ for k in MESSAGES}


def test_payloads_are_byte_arrays_that_numpy_views_without_a_copy() -> None:
    shards = msgs.BlockShards(payload=array.array("B", bytes(range(256))))
    data = serialization.serialize_message(shards)
    received = serialization.deserialize_message(data, msgs.BlockShards)
    assert isinstance(received.payload, array.array)
    view = np.frombuffer(received.payload, np.uint8)
    np.testing.assert_array_equal(view, np.arange(256, dtype=np.uint8))


def test_vectors_hold_the_whole_range_of_quarter_pels() -> None:
    field = msgs.MotionField(vectors=array.array("h", [-32768, -1, 0, 1, 32767]))
    data = serialization.serialize_message(field)
    received = serialization.deserialize_message(data, msgs.MotionField)
    assert list(received.vectors) == [-32768, -1, 0, 1, 32767]


def test_the_paths_of_a_frame_have_names() -> None:
    assert (msgs.FrameStats.PATH_EDGE, msgs.FrameStats.PATH_CLOUD) == ("edge", "cloud")
