"""A camera made of files: plays images, a video, a bag or the generated scene on a topic."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32
from vision_msgs.msg import Detection2DArray

from fluxshard_core.errors import FluxShardError, InputError
from fluxshard_core.evaluation.datasets import FrameSource, open_frames
from fluxshard_core.frame import Frame
from fluxshard_ros.image_conversion import message_of_rgb
from fluxshard_ros.parameters import ParameterSpec, ParameterTable
from fluxshard_ros.qos import CAMERA, LATCHED, RESULTS
from fluxshard_ros.running import run
from fluxshard_ros.stamps import header_of, nanoseconds

PARAMETERS = (
    ParameterSpec("source", "scene", "Image directory, video, bag, or 'scene' for a generated one"),
    ParameterSpec("bag_topic", "", "Image topic of a bag that holds several"),
    ParameterSpec(
        "rate", 0.0, "Frames a second; 0 for the source's own", minimum=0.0, maximum=1000.0
    ),
    ParameterSpec("loop", False, "Start over at the end"),
    ParameterSpec(
        "max_frames", 0, "Stop after so many frames; 0 for all", minimum=0, maximum=2**31 - 1
    ),
    ParameterSpec("frame_id", "", "frame_id of the images; empty for the source's own"),
    ParameterSpec(
        "stamps",
        "played",
        "Stamp images by when they are played or by what the source recorded",
        choices=("played", "recorded"),
    ),
    ParameterSpec(
        "wait_for_subscribers",
        1,
        "Hold the first frame until so many subscribe",
        minimum=0,
        maximum=64,
    ),
    ParameterSpec(
        "lockstep",
        False,
        "Hold each next frame until `detections` answered the last one: nothing is dropped",
    ),
    ParameterSpec(
        "lockstep_timeout", 30.0, "Seconds to hold a frame at most", minimum=0.1, maximum=3600.0
    ),
)
_POLL_S = 0.05
_ACKNOWLEDGED_S = 4.0  # a lost message is repaired at the next heartbeat, up to 3 s later


class CameraPlayer(Node):
    """Publishes on a thread of its own and shuts its context down after the last frame."""

    def __init__(self) -> None:
        super().__init__("camera_player")
        values = ParameterTable(self, PARAMETERS).values()
        self._values: Mapping[str, Any] = values
        self._source: FrameSource = open_frames(values["source"], topic=values["bag_topic"] or None)
        self._publisher = self.create_publisher(Image, "image", CAMERA)
        self._count_publisher = self.create_publisher(UInt32, "frames_played", LATCHED)
        self._answered = threading.Condition()
        self._last_answer_ns = -1
        if values["lockstep"]:
            self.create_subscription(Detection2DArray, "detections", self._on_answer, RESULTS)
        self._stop = threading.Event()
        self.exit_status = 0
        self._thread = threading.Thread(target=self._play_and_stop, name="player", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop playing; further calls do nothing."""
        self._stop.set()
        self._thread.join()

    def _on_answer(self, message: Detection2DArray) -> None:
        with self._answered:
            self._last_answer_ns = nanoseconds(message.header.stamp)
            self._answered.notify_all()

    def _play_and_stop(self) -> None:
        try:
            self._play()
        except FluxShardError as error:
            self.get_logger().fatal(str(error))
            self.exit_status = 1
        rclpy.try_shutdown(context=self.context)

    def _play(self) -> None:
        while self._publisher.get_subscription_count() < self._values["wait_for_subscribers"]:
            if self._stop.wait(_POLL_S):
                return
        period_ns = round(1e9 / (self._values["rate"] or self._source.fps))
        start_ns, start_s = self.get_clock().now().nanoseconds, monotonic()
        played = 0
        for frame in self._frames():
            if not self._values["lockstep"]:
                self._stop.wait(max(0.0, start_s + played * period_ns / 1e9 - monotonic()))
            if self._stop.is_set():
                return
            stamp_ns = self._stamp(frame, start_ns + played * period_ns)
            self._publish(frame, stamp_ns)
            played += 1
            self._count_publisher.publish(UInt32(data=played))
            if self._values["lockstep"]:
                self._hold(stamp_ns)
        for publisher in (self._publisher, self._count_publisher):
            publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
        self.get_logger().info(f"played {played} frames of {self._source.name}")

    def _stamp(self, frame: Frame, played_ns: int) -> int:
        return frame.stamp_ns if self._values["stamps"] == "recorded" else played_ns

    def _frames(self) -> Iterator[Frame]:
        """Every frame to play, over and over when looping."""
        limit = self._values["max_frames"] or None
        return islice(self._rounds(), limit)

    def _rounds(self) -> Iterator[Frame]:
        while True:
            empty = True
            for frame in self._source:
                empty = False
                yield frame
            if empty:
                raise InputError(f"{self._values['source']} holds no frame that can be read")
            if not self._values["loop"]:
                return

    def _publish(self, frame: Frame, stamp_ns: int) -> None:
        frame_id = self._values["frame_id"] or frame.frame_id
        self._publisher.publish(message_of_rgb(frame.image, header_of(stamp_ns, frame_id)))

    def _hold(self, stamp_ns: int) -> None:
        """Wait until the frame of ``stamp_ns`` is answered."""
        deadline = monotonic() + self._values["lockstep_timeout"]
        with self._answered:
            while self._last_answer_ns != stamp_ns and not self._stop.is_set():
                left = deadline - monotonic()
                if left <= 0:
                    self.get_logger().warning(
                        f"no detections for the image of {stamp_ns} ns; playing on"
                    )
                    return
                self._answered.wait(min(left, _POLL_S))


def main(arguments: list[str] | None = None) -> int:
    """Play until the source ends or the node is told to stop."""
    return run(CameraPlayer, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
