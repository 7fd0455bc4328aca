"""The link to the cloud over DDS: shards out on one topic, answers back on another."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from time import monotonic

from rclpy.node import Node

from fluxshard_core.errors import InputError
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.transport import LinkDown, LinkTimeout
from fluxshard_msgs.msg import InferenceResult as InferenceResultMsg
from fluxshard_msgs.msg import ShardFrame as ShardFrameMsg
from fluxshard_ros.qos import SHARDS
from fluxshard_ros.shard_conversion import inference_result_of, shard_frame_message

SHARD_TOPIC = "shard_frames"
RESULT_TOPIC = "inference_results"
_POLL_S = 0.05

Key = tuple[str, int, int]


class DdsTransport:
    """A ``Transport`` whose answers arrive on the node's executor while ``infer`` waits elsewhere.

    Bytes are counted as the messages' arrays, without the framing DDS adds.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(ShardFrameMsg, SHARD_TOPIC, SHARDS)
        self._subscription = node.create_subscription(
            InferenceResultMsg, RESULT_TOPIC, self._on_result, SHARDS
        )
        self._arrived = threading.Condition()
        self._waiting: dict[Key, InferenceResult | None] = {}
        self._closed = False
        self._tx_bytes = 0
        self._rx_bytes = 0

    @property
    def connected(self) -> bool:
        """Whether a cloud node is subscribed to the shards and publishes answers."""
        return (
            not self._closed
            and self._publisher.get_subscription_count() > 0
            and self._node.count_publishers(self._subscription.topic_name) > 0
        )

    @property
    def tx_bytes(self) -> int:
        """Bytes of every array sent so far."""
        return self._tx_bytes

    @property
    def rx_bytes(self) -> int:
        """Bytes of every array received so far."""
        return self._rx_bytes

    def tcp_info(self) -> None:
        """DDS is no TCP."""

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        """Send a frame and wait for its answer; see ``Transport.infer``."""
        if not self.connected:
            raise LinkDown(f"no cloud node on {self._publisher.topic_name}")
        key = (frame.session, frame.epoch, frame.number)
        with self._arrived:
            self._waiting[key] = None
        try:
            message = shard_frame_message(frame)
            self._tx_bytes += _sent_bytes(message)
            self._publisher.publish(message)
            return self._wait(key, timeout_s)
        finally:
            with self._arrived:
                self._waiting.pop(key, None)

    def _wait(self, key: Key, timeout_s: float) -> InferenceResult:
        deadline = monotonic() + timeout_s
        with self._arrived:
            while self._waiting[key] is None:
                # Discovery notices a vanished cloud long before a generous deadline passes.
                if self._closed or not self.connected:
                    raise LinkDown("the cloud node went away before it answered")
                left = deadline - monotonic()
                if left <= 0:
                    raise LinkTimeout(f"no answer from the cloud node within {timeout_s:g} s")
                self._arrived.wait(min(left, _POLL_S))
            result = self._waiting[key]
        assert result is not None
        return result

    def _on_result(self, message: InferenceResultMsg) -> None:
        key = (message.session, message.epoch, message.frame_number)
        with self._arrived:
            if key not in self._waiting:
                return  # late, a duplicate, or another robot's
        try:
            result = inference_result_of(message)
        except InputError as error:
            self._node.get_logger().error(f"answer of the cloud node dropped: {error}")
            return
        self._rx_bytes += _bytes(message)
        with self._arrived:
            if key in self._waiting:
                self._waiting[key] = result
                self._arrived.notify_all()

    def close(self) -> None:
        """Wake whoever waits and drop both topics."""
        if self._closed:
            return
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
        self._node.destroy_publisher(self._publisher)
        self._node.destroy_subscription(self._subscription)


def _sent_bytes(message: ShardFrameMsg) -> int:
    shards = message.shards
    return len(shards.payload) + len(shards.blocks) + len(shards.strides) + len(message.motion)


def _bytes(message: InferenceResultMsg) -> int:
    arrays: Sequence[array[float]] = (
        message.boxes,
        message.scores,
        message.class_ids,
        message.mask_boxes,
        message.mask_bits,
        message.keypoints,
    )
    return sum(len(values) * values.itemsize for values in arrays)
