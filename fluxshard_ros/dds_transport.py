"""The link to the cloud over DDS: shards out on one topic, answers back on another."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from time import monotonic

from rclpy.node import Node

from fluxshard_core.errors import InputError
from fluxshard_core.offload.backoff import Backoff
from fluxshard_core.offload.circuit_breaker import Circuit, CircuitBreaker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.transport import LinkDown, LinkTimeout, NotSent
from fluxshard_msgs.msg import InferenceResult as InferenceResultMsg
from fluxshard_msgs.msg import ShardFrame as ShardFrameMsg
from fluxshard_ros.qos import SHARDS
from fluxshard_ros.shard_conversion import inference_result_of, shard_frame_message

SHARD_TOPIC = "shard_frames"
RESULT_TOPIC = "inference_results"
_POLL_S = 0.05
_FAILURES, _FIRST_PAUSE_S, _MAX_PAUSE_S = 2, 0.5, 10.0  # as over TCP
_MAX_WAITING = 8  # requests whose answers are still expected; of more the oldest is given up

Key = tuple[str, int, int]


class DdsRequest:
    """A ``Pending`` over DDS, where what was published cannot be taken back."""

    def __init__(self, transport: DdsTransport, key: Key, size: int) -> None:
        self.key = key
        self.size = size
        self._transport = transport

    def done(self) -> bool:
        """Whether an answer came, or the cloud went away."""
        # Discovery notices a vanished cloud long before a generous deadline passes.
        return self._transport.arrived(self.key) is not None or not self._transport.connected

    def result(self) -> InferenceResult:
        """Return the answer; see ``Pending.result``."""
        answer = self._transport.arrived(self.key)
        self._transport.forget(self.key)
        if answer is None:
            raise LinkDown("the cloud node went away before it answered")
        return answer

    def withdraw(self) -> bool:
        """Too late."""
        return False


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
        self._arrived = threading.Condition(threading.RLock())
        self._waiting: dict[Key, InferenceResult | None] = {}
        self._breaker = CircuitBreaker(_FAILURES, Backoff(_FIRST_PAUSE_S, _MAX_PAUSE_S))
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
    def available(self) -> bool:
        """Whether there is a cloud node and the circuit lets a request pass."""
        return self.connected and self._breaker.state(monotonic()) is not Circuit.OPEN

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

    def probe(self) -> None:
        """DDS has no message for it: the link is measured by frames."""

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        """Send a frame and wait for its answer; see ``Transport.infer``."""
        return self._breaker.ask(lambda: self._exchange(frame, timeout_s))

    def begin(self, frame: ShardFrame) -> DdsRequest:
        """Send a frame and return at once; see ``Transport.begin``."""
        if not self.connected:
            raise NotSent(f"no cloud node on {self._publisher.topic_name}")
        message = shard_frame_message(frame)
        key = frame.session, frame.epoch, frame.number
        request = DdsRequest(self, key, _sent_bytes(message))
        with self._arrived:
            self._waiting[request.key] = None
            while len(self._waiting) > _MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
        self._tx_bytes += request.size
        self._publisher.publish(message)
        return request

    def _exchange(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        deadline = monotonic() + timeout_s
        request = self.begin(frame)
        with self._arrived:
            while not request.done():
                left = deadline - monotonic()
                if left <= 0:
                    self._waiting.pop(request.key, None)
                    raise LinkTimeout(f"no answer from the cloud node within {timeout_s:g} s")
                self._arrived.wait(min(left, _POLL_S))
        return request.result()

    def arrived(self, key: Key) -> InferenceResult | None:
        """Return the answer to a request, or None where there is none yet."""
        with self._arrived:
            return self._waiting.get(key)

    def forget(self, key: Key) -> None:
        """Drop a request and its answer."""
        with self._arrived:
            self._waiting.pop(key, None)

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
