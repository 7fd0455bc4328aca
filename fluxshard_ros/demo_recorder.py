"""Subscribes to everything a demo publishes and writes the video and the detections."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
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
from fluxshard_ros.image_conversion import rgb_of_message
from fluxshard_ros.qos import LATCHED, PICTURES, RESULTS
from fluxshard_ros.stamps import nanoseconds


@dataclass
class Answer:
    """The messages that answered one image so far."""

    detections: Detection2DArray | None = None
    stats: FrameStats | None = None
    overlay: Image | None = None
    masks: InstanceMasks | None = None


class DemoRecorder(Node):
    """Gathers the topics of one namespace by stamp; an image is answered when all have come."""

    def __init__(self, namespace: str, out: Path, fps: float) -> None:
        super().__init__("demo_recorder", namespace=namespace)
        self.stats: list[FrameStats] = []
        self.frames_in = 0
        self.detections = 0
        self.seconds = 0.0  # between the first and the last answer
        self._first_answer_s = 0.0
        self._with_masks = False
        self._names: dict[str, str] = {}
        self._answers: dict[int, Answer] = {}
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
    def frames_dropped(self) -> int:
        """Images the edge node dropped because newer ones came."""
        return int(self.stats[-1].frames_dropped) if self.stats else 0

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
        self._with_masks = self.count_publishers("instance_masks") > 0
        topics = ("detections", "frame_stats", "overlay")
        return all(self.count_publishers(topic) for topic in topics)

    def missing(self) -> list[str]:
        """Name what has not come of every image that is answered in part."""
        wanted = ["detections", "stats", "overlay", *(["masks"] if self._with_masks else [])]
        return [
            f"image {stamp_ns}: " + ", ".join(p for p in wanted if getattr(answer, p) is None)
            for stamp_ns, answer in sorted(self._answers.items())
        ]

    def close(self) -> None:
        """Finish both files."""
        self._video.close()
        self._lines.close()

    def _subscribe(
        self, kind: type[Any], topic: str, part: str, profile: QoSProfile = RESULTS
    ) -> None:
        self.create_subscription(kind, topic, self._gatherer(part), profile)

    def _gatherer(self, part: str) -> Callable[[Any], None]:
        def gather(message: Any) -> None:
            stamp_ns = nanoseconds(message.header.stamp)
            answer = self._answers.setdefault(stamp_ns, Answer())
            setattr(answer, part, message)
            self._write_complete()

        return gather

    def _on_played(self, message: UInt32) -> None:
        self.frames_in = message.data

    def _on_labels(self, message: LabelInfo) -> None:
        self._names = {str(label.class_id): label.class_name for label in message.class_map}

    def _write_complete(self) -> None:
        """Write the oldest images as long as they are answered, so that the order is kept."""
        while self._answers:
            stamp_ns = min(self._answers)
            answer = self._answers[stamp_ns]
            if answer.detections is None or answer.stats is None or answer.overlay is None:
                return
            if self._with_masks and answer.masks is None:
                return
            del self._answers[stamp_ns]
            self._write(answer.detections, answer.stats, answer.overlay, answer.masks)

    def _write(
        self,
        detections: Detection2DArray,
        stats: FrameStats,
        overlay: Image,
        masks: InstanceMasks | None,
    ) -> None:
        self._video.write(rgb_of_message(overlay))
        line = self._line(detections, stats, masks)
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
