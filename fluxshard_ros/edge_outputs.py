"""The topics an edge node publishes, created and destroyed together."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from fluxshard_core.frame import Frame
from fluxshard_core.overlay import draw
from fluxshard_core.session import FrameResult
from fluxshard_msgs.msg import FrameStats, InstanceMasks
from fluxshard_ros import detection_conversion as convert
from fluxshard_ros.image_conversion import message_of_rgb
from fluxshard_ros.qos import LATCHED, PICTURES, RESULTS


class EdgeOutputs:
    """Publishes only while the node is active; there is a mask topic only if ``with_masks``."""

    def __init__(
        self, node: LifecycleNode, class_names: Sequence[str], *, with_masks: bool
    ) -> None:
        self._node = node
        self._class_names = class_names
        make = node.create_lifecycle_publisher
        self._detections = make(Detection2DArray, "detections", RESULTS)
        self._masks = make(InstanceMasks, "instance_masks", RESULTS) if with_masks else None
        self._stats = make(FrameStats, "frame_stats", RESULTS)
        self._overlay = make(Image, "overlay", PICTURES)
        self._labels = make(LabelInfo, "label_info", LATCHED)

    def announce(self, header: Header, confidence: float) -> None:
        """Publish the class names, once, for whoever subscribes now or later."""
        self._labels.publish(convert.label_info(self._class_names, header, confidence))

    def publish(self, header: Header, frame: Frame, result: FrameResult) -> None:
        """Publish one frame's results under the header of its image."""
        found = result.detections
        self._detections.publish(convert.detection_array(found, header))
        if self._masks is not None:
            height, width = frame.image.shape[:2]
            self._masks.publish(convert.instance_masks(found, header, height, width))
        if self._overlay.get_subscription_count() > 0:
            picture = draw(frame.image, found, self._class_names, result.path)
            self._overlay.publish(message_of_rgb(picture, header))

    def publish_stats(self, stats: FrameStats) -> None:
        """Publish how the frame was made; last, so that it includes the publishing."""
        self._stats.publish(stats)

    def destroy(self) -> None:
        """Drop every topic."""
        for publisher in (self._detections, self._masks, self._stats, self._overlay, self._labels):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)
