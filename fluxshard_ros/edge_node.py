"""The node on the robot: camera images in, detections, masks and statistics out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from fluxshard_core.errors import FluxShardError, InputError
from fluxshard_core.frame import Frame
from fluxshard_core.models.catalog import Task
from fluxshard_core.newest import NewestSlot
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.security import ClientSecurity
from fluxshard_core.offload.transport import Transport
from fluxshard_core.session import EdgeSession
from fluxshard_core.timing import StageTimer
from fluxshard_ros.dds_transport import DdsTransport
from fluxshard_ros.detection_conversion import frame_stats
from fluxshard_ros.edge_outputs import EdgeOutputs
from fluxshard_ros.edge_parameters import PARAMETERS, session_config
from fluxshard_ros.image_conversion import rgb_of_message
from fluxshard_ros.image_subscription import ImageSubscription
from fluxshard_ros.model_parameters import load_detector
from fluxshard_ros.parameters import ParameterTable
from fluxshard_ros.running import autostart, run
from fluxshard_ros.stamps import nanoseconds

_LOG_PERIOD_S = 5.0


class EdgeNode(LifecycleNode):
    """Infers the newest image on a thread of its own; every output bears the image's header."""

    def __init__(self) -> None:
        super().__init__("edge_node")
        self.parameters = ParameterTable(self, PARAMETERS, self._apply)
        self._session: EdgeSession | None = None
        self._newest: NewestSlot[tuple[Image, float]] = NewestSlot()
        self._worker: threading.Thread | None = None
        self._images: ImageSubscription | None = None
        self._outputs: EdgeOutputs | None = None
        self._dropped_before = 0
        self._unusable = 0
        if self.parameters.values()["autostart"]:
            autostart(self)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and open the way to the cloud."""
        values = self.parameters.values()
        try:
            detector = load_detector(values)
            self._session = EdgeSession(detector, session_config(values), self._transport(values))
        except FluxShardError as error:
            self.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        self._outputs = EdgeOutputs(
            self, detector.names, with_masks=detector.name.task is Task.SEGMENT
        )
        self.parameters.configured = True
        self.get_logger().info(
            f"{detector.name} loaded ({detector.weights}), path {self._session.config.path}, "
            f"transport {values['transport']}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start taking images."""
        result = super().on_activate(state)
        assert self._outputs is not None
        now = Header(stamp=self.get_clock().now().to_msg())
        self._outputs.announce(now, self.parameters.values()["confidence"])
        self._newest = NewestSlot()
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._worker.start()
        self._images = ImageSubscription(self, "image", self._on_image)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images and finish the one in work."""
        self._stop_working()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unload the model and close the way to the cloud."""
        self.close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, for good."""
        self.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Release threads, sockets and topics; further calls do nothing."""
        self._stop_working()
        self.parameters.configured = False
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None

    def _transport(self, values: Mapping[str, Any]) -> Transport | None:
        if values["transport"] == "tcp":
            security = ClientSecurity.of_paths(
                values["tls_ca"], values["tls_cert"], values["tls_key"]
            )
            return TcpTransport(values["cloud_host"], values["cloud_port"], security=security)
        return DdsTransport(self) if values["transport"] == "dds" else None

    def _stop_working(self) -> None:
        if self._images is not None:
            self._images.destroy()
            self._images = None
        if self._worker is not None:
            self._newest.close()
            self._worker.join()
            self._worker = None
            self._dropped_before += self._newest.dropped

    def _apply(self, changed: Mapping[str, Any]) -> str:
        """Take over changed parameters between two frames; say why when they do not fit."""
        session = self._session
        if session is None:
            return ""
        values = self.parameters.values() | changed
        if values["path"] == "cloud" and values["transport"] == "none":
            return "path is 'cloud', but transport is 'none'"
        session.config = session_config(values)
        return ""

    # One image

    def _on_image(self, message: Image) -> None:
        self._newest.put((message, perf_counter()))

    def _work(self) -> None:
        while (item := self._newest.take()) is not None:
            try:
                self._process(*item)
                self._background()
            except InputError as error:
                self._unusable += 1
                self.get_logger().error(
                    f"image {self._unusable} that cannot be used: {error}",
                    throttle_duration_sec=_LOG_PERIOD_S,
                )
            except Exception as error:  # a frame may fail, the node must not
                self.get_logger().error(f"frame lost: {type(error).__name__}: {error}")

    def _background(self) -> None:
        """Work for the session's own good until the next image is there."""
        assert self._session is not None
        self._session.idle(self._newest.ready)

    def _process(self, message: Image, arrived_s: float) -> None:
        assert self._session is not None
        assert self._outputs is not None
        timer = StageTimer()
        timer.stage_ms["wait"] = (perf_counter() - arrived_s) * 1e3
        with timer.stage("convert"):
            image = rgb_of_message(message)
        header = message.header
        frame = Frame(image, nanoseconds(header.stamp), frame_id=header.frame_id)
        result = self._session.process(frame)
        timer.stage_ms |= result.stage_ms
        with timer.stage("publish"):
            self._outputs.publish(header, frame, result)
        stats = frame_stats(
            replace(result, stage_ms=timer.stage_ms),
            header,
            total_ms=(perf_counter() - arrived_s) * 1e3,
            frames_dropped=self._dropped_before + self._newest.dropped,
        )
        self._outputs.publish_stats(stats)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run(EdgeNode, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
