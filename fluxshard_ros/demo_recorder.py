"""Subscribes to everything a demo publishes and writes the video and the detections."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32
from vision_msgs.msg import Detection2DArray, LabelInfo

from fluxshard_core.evaluation.video_writer import VideoWriter
from fluxshard_msgs.msg import FrameStats, InstanceMasks
from fluxshard_ros.demo_answers import Answers, Parts
from fluxshard_ros.image_conversion import rgb_of_message
from fluxshard_ros.qos import LATCHED, PICTURES, RESULTS
from fluxshard_ros.stamps import nanoseconds


class DemoRecorder(Node):
    """Gathers the topics of one namespace by stamp; an image is answered when all have come.

    One of which a message was lost is left out of the video and the detections, and counted.
    """

    def __init__(self, namespace: str, out: Path, fps: float) -> None:
        super().__init__("demo_recorder", namespace=namespace)
        self.stats: list[FrameStats] = []
        self.frames_in = 0
        self.frames_dropped = 0  # by the edge node, because newer ones came
        self.detections = 0
        self.seconds = 0.0  # between the first and the last answer
        self._first_answer_s = 0.0
        self._names: dict[str, str] = {}
        self._answers = Answers({"detections", "stats", "overlay"})
        self._video = VideoWriter(out / "annotated.mp4", fps)
        self._lines = (out / "detections.jsonl").open("w", encoding="utf-8")
        self._subscribe(Detection2DArray, "detections", "detections")
        self._subscribe(FrameStats, "frame_stats", "stats")
        self._subscribe(Image, "overlay", "overlay", PICTURES)
        self._subscribe(InstanceMasks, "instance_masks", "masks")
        self.create_subscription(LabelInfo, "label_info", self._on_labels, LATCHED)
        self.create_subscription(UInt32, "frames_played", self._on_played, LATCHED)
        self._state_clients: dict[str, Client[Any, Any]] = {}
        self._state_calls: dict[str, Future[Any]] = {}

    @property
    def frames_out(self) -> int:
        """Images answered in full."""
        return len(self.stats)

    @property
    def frames_incomplete(self) -> int:
        """Images left out because some of what answered them was lost."""
        return self._answers.skipped

    @property
    def frames_ended(self) -> int:
        """Images answered, dropped or left out: nothing more is to come of them."""
        return self.frames_out + self.frames_dropped + self.frames_incomplete

    def is_active(self, node_name: str) -> bool:
        """Ask a lifecycle node for its state; true once it has answered that it is active."""
        client = self._state_clients.setdefault(
            node_name, self.create_client(GetState, f"{node_name}/get_state")
        )
        call = self._state_calls.get(node_name)
        if call is not None and call.done():
            del self._state_calls[node_name]
            answer = call.result()
            return answer is not None and answer.current_state.id == State.PRIMARY_STATE_ACTIVE
        if call is None and client.service_is_ready():
            self._state_calls[node_name] = client.call_async(GetState.Request())
        return False

    def hears_edge(self) -> bool:
        """Whether every topic an answer is made of has its publisher."""
        if self.count_publishers("instance_masks"):
            self._answers.wanted.add("masks")
        topics = ("detections", "frame_stats", "overlay")
        return all(self.count_publishers(topic) for topic in topics)

    def close(self) -> None:
        """Finish both files and say what became of the images that are in neither."""
        self._answers.finish()
        self._video.close()
        self._lines.close()
        recorded = f"recorded {self.frames_out} of {self.frames_in} images"
        self.get_logger().info("; ".join([recorded, *self._gaps()]))

    def _subscribe(
        self, kind: type[Any], topic: str, part: str, profile: QoSProfile = RESULTS
    ) -> None:
        self.create_subscription(kind, topic, self._gatherer(part), profile)

    def _gatherer(self, part: str) -> Callable[[Any], None]:
        def gather(message: Any) -> None:
            stamp_ns = nanoseconds(message.header.stamp)
            if part == "stats":
                self.frames_dropped = int(message.frames_dropped)
            for parts in self._answers.add(part, stamp_ns, message):
                self._write(parts)

        return gather

    def _on_played(self, message: UInt32) -> None:
        self.frames_in = message.data

    def _on_labels(self, message: LabelInfo) -> None:
        self._names = {str(label.class_id): label.class_name for label in message.class_map}

    def _gaps(self) -> list[str]:
        """Why there are fewer images than were played."""
        lost = ", ".join(f"{count} of {part}" for part, count in sorted(self._answers.lost.items()))
        gaps = [
            (self.frames_dropped, "dropped by the edge for newer ones"),
            (self.frames_incomplete, f"missing, messages lost: {lost}"),
            (self.frames_in - self.frames_ended, "never answered"),
        ]
        return [f"{count} {why}" for count, why in gaps if count > 0]

    def _write(self, parts: Parts) -> None:
        detections, stats = parts["detections"], parts["stats"]
        self._video.write(rgb_of_message(parts["overlay"]))
        line = self._line(detections, stats, parts.get("masks"))
        self._lines.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.stats.append(stats)
        self._first_answer_s = self._first_answer_s or monotonic()
        self.seconds = monotonic() - self._first_answer_s
        self.detections += len(detections.detections)

    def _line(
        self, detections: Detection2DArray, stats: FrameStats, masks: InstanceMasks | None
    ) -> dict[str, Any]:
        """One line of detections.jsonl; boxes are x1, y1, x2, y2 in pixels of the image."""
        stamp = detections.header.stamp
        best = [found.results[0].hypothesis for found in detections.detections]
        line: dict[str, Any] = {
            "frame": len(self.stats),
            "stamp": {"sec": stamp.sec, "nanosec": stamp.nanosec},
            "path": stats.path,
            "boxes": [_corners(found.bbox) for found in detections.detections],
            "classes": [self._names.get(h.class_id, h.class_id) for h in best],
            "class_ids": [int(h.class_id) for h in best],
            "scores": [_short(h.score) for h in best],
        }
        if masks is not None:
            line["masks"] = [
                {
                    "box": [mask.x, mask.y, mask.width, mask.height],
                    "bits": base64.b64encode(bytes(mask.bits)).decode("ascii"),
                }
                for mask in masks.instances
            ]
        return line


def _short(value: float) -> float:
    """The shortest decimal that is the same float32."""
    return float(str(np.float32(value)))


def _corners(box: Any) -> list[float]:
    centre = box.center.position
    half: npt.NDArray[np.float64] = np.array([box.size_x, box.size_y]) / 2
    middle = np.array([centre.x, centre.y])
    return [_short(side) for side in (*(middle - half), *(middle + half))]
