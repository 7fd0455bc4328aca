"""The cloud's end of the DDS link: shards in on one topic, answers out on another."""

from __future__ import annotations

from rclpy.node import Node

from fluxshard_core.errors import InputError
from fluxshard_core.offload.inference_worker import BatchHandler, Handler, InferenceWorker
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_msgs.msg import InferenceResult as InferenceResultMsg
from fluxshard_msgs.msg import ShardFrame as ShardFrameMsg
from fluxshard_ros.dds_transport import RESULT_TOPIC, SHARD_TOPIC
from fluxshard_ros.qos import SHARDS
from fluxshard_ros.shard_conversion import inference_result_message, shard_frame_of

_MAX_WAITING = 32
_DRAIN_S = 2.0
_LOG_PERIOD_S = 5.0


class DdsService:
    """Answers every shard frame of the topic on threads of its own."""

    def __init__(
        self, node: Node, handler: Handler, serve: BatchHandler | None = None, lanes: int = 1
    ) -> None:
        """``handler``, ``serve`` and ``lanes`` are those of an ``InferenceServer``."""
        self._node = node
        self._closed = False
        self._worker = InferenceWorker(handler, _MAX_WAITING, serve=serve, lanes=lanes)
        self._publisher = node.create_publisher(InferenceResultMsg, RESULT_TOPIC, SHARDS)
        self._worker.start()
        self._subscription = node.create_subscription(
            ShardFrameMsg, SHARD_TOPIC, self._on_frame, SHARDS
        )

    def _on_frame(self, message: ShardFrameMsg) -> None:
        try:
            frame = shard_frame_of(message)
        except InputError as error:
            self._node.get_logger().error(
                f"shard frame dropped: {error}", throttle_duration_sec=_LOG_PERIOD_S
            )
            return
        self._worker.submit(self, frame, self._answer)

    def _answer(self, result: InferenceResult) -> None:
        if not self._closed:
            self._publisher.publish(inference_result_message(result))

    def stop(self) -> None:
        """Finish the frame in work and drop both topics; further calls do nothing."""
        if self._closed:
            return
        self._node.destroy_subscription(self._subscription)
        self._worker.drain(_DRAIN_S)
        self._closed = True
        self._node.destroy_publisher(self._publisher)
