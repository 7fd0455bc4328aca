"""Quality of service of every topic, in one place."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo


def _profile(
    reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int
) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
    )


RESULTS = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, depth=100)
"""Detections, masks, statistics: small, and nobody wants to miss one.

A lost message is repaired at the writer's next heartbeat, with Fast DDS's defaults up to 3 s later;
what has left the history by then is gone for good. A depth of 100 outlives that at 30 Hz.
"""

PICTURES = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, depth=10)
"""The overlay: each is a megabyte or more."""

LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, depth=1)
"""Class names: whoever comes later still gets them."""

CAMERA = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, depth=20)
"""What the player publishes; a best-effort subscriber may still join.

A publisher counts a subscription before that subscription has discovered the publisher: what is
sent meanwhile is repaired only as long as the history still holds it.
"""

SHARDS = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, depth=4)
"""Requests to the cloud and its answers."""


def following(publishers: Iterable[TopicEndpointInfo]) -> QoSProfile:
    """Return a camera subscription's profile that every one of ``publishers`` can serve.

    Reliable only when all of them are. Only the newest frame is kept: older ones are dropped
    anyway when inference is slower than the camera.
    """
    policies = {publisher.qos_profile.reliability for publisher in publishers}
    reliable = policies == {ReliabilityPolicy.RELIABLE}
    return _profile(
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        DurabilityPolicy.VOLATILE,
        depth=1,
    )
