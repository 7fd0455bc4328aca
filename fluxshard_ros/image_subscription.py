"""A camera subscription that takes on the quality of service its publishers offer."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from fluxshard_ros.qos import following

DISCOVERY_PERIOD_S = 0.2


class ImageSubscription:
    """Subscribes once a publisher is there, and again when the publishers' reliability changes."""

    def __init__(self, node: Node, topic: str, callback: Callable[[Image], None]) -> None:
        self._node = node
        self._topic = node.resolve_topic_name(topic)
        self._callback = callback
        self._subscription: Subscription[Image] | None = None
        self._reliability: ReliabilityPolicy | None = None
        self._timer = node.create_timer(DISCOVERY_PERIOD_S, self._follow)

    def _follow(self) -> None:
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        if not publishers:
            return
        profile = following(publishers)
        if profile.reliability == self._reliability:
            return
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._node.create_subscription(
            Image, self._topic, self._callback, profile
        )
        self._reliability = profile.reliability
        self._node.get_logger().info(
            f"subscribed to {self._topic} ({profile.reliability.name.lower().replace('_', ' ')})"
        )

    def destroy(self) -> None:
        """Stop looking for publishers and drop the subscription."""
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
