"""The node on the big machine: block shards in, inference results out, over TCP or DDS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer

from fluxshard_core.cloud_service import IDLE_S, MAX_MEMORY_MB, MAX_SESSIONS, CloudService
from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.security import ServerSecurity
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_ros.dds_service import DdsService
from fluxshard_ros.model_parameters import AUTOSTART, MODEL_PARAMETERS, load_detector
from fluxshard_ros.parameters import ParameterSpec, ParameterTable
from fluxshard_ros.running import autostart, run

STATUS_S = 30.0
"""Seconds between two lines about who is served."""

PARAMETERS = (
    *MODEL_PARAMETERS,
    AUTOSTART,
    ParameterSpec(
        "transport", "tcp", "How robots reach this node: TCP bridge or DDS", choices=("tcp", "dds")
    ),
    ParameterSpec(
        "bind_host",
        "127.0.0.1",
        "IP address the TCP bridge listens on; beyond loopback it needs TLS, and robots'"
        " certificates or the token in FLUXSHARD_TOKEN",
    ),
    ParameterSpec("port", 7447, "Port of the TCP bridge", minimum=1, maximum=65535),
    ParameterSpec("tls_cert", "", "File with this cloud's certificate (PEM); empty: no TLS"),
    ParameterSpec("tls_key", "", "File with its private key (PEM)"),
    ParameterSpec("tls_ca", "", "File with the CA of the robots' certificates (PEM)"),
    ParameterSpec("require_client_cert", False, "Admit no robot without a certificate"),
    ParameterSpec(
        "max_sessions", MAX_SESSIONS, "Robots served at the same time", minimum=1, maximum=1024
    ),
    ParameterSpec(
        "max_memory_mb",
        float(MAX_MEMORY_MB),
        "Memory in MB for the features of all robots; the model's weights come on top",
        minimum=1.0,
        maximum=1e6,
    ),
    ParameterSpec(
        "idle_timeout",
        IDLE_S,
        "Seconds of silence after which a robot's place may go to another",
        minimum=1.0,
        maximum=86400.0,
    ),
)


class CloudNode(LifecycleNode):
    """Serves robots while active."""

    def __init__(self) -> None:
        super().__init__("cloud_node")
        self.parameters = ParameterTable(self, PARAMETERS)
        self._service: CloudService | None = None
        self._status: Timer | None = None
        self._endpoint: InferenceServer | DdsService | None = None
        if self.parameters.values()["autostart"]:
            autostart(self)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model."""
        values = self.parameters.values()
        try:
            detector = load_detector(values)
        except FluxShardError as error:
            self.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        self._service = CloudService(
            detector,
            max_sessions=values["max_sessions"],
            max_memory_mb=values["max_memory_mb"],
            idle_s=values["idle_timeout"],
        )
        self.parameters.configured = True
        self.get_logger().info(f"{detector.name} loaded ({detector.weights})")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the door to robots."""
        assert self._service is not None
        try:
            self._endpoint = self._open(self.parameters.values(), self._service)
        except FluxShardError as error:
            self.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        self._status = self.create_timer(STATUS_S, self._say_status)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the door."""
        self._close_endpoint()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unload the model."""
        self.close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, for good."""
        self.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Release threads, sockets and the model; further calls do nothing."""
        self._close_endpoint()
        self._service = None
        self.parameters.configured = False

    def _open(
        self, values: Mapping[str, Any], service: CloudService
    ) -> InferenceServer | DdsService:
        if values["transport"] == "dds":
            self.get_logger().info("serving robots over DDS")
            return DdsService(self, service.handle, service.serve, service.cores.lanes)
        security = ServerSecurity.of_paths(
            values["tls_cert"], values["tls_key"], values["tls_ca"], values["require_client_cert"]
        )
        server = InferenceServer(
            service.handle,
            values["bind_host"],
            values["port"],
            self._limits(values, service.cores.lanes),
            security,
            serve=service.serve,
        )
        server.start()
        self.get_logger().info(f"serving robots on {values['bind_host']}:{server.port}")
        return server

    @staticmethod
    def _limits(values: Mapping[str, Any], lanes: int) -> ServerConfig:
        return ServerConfig(
            max_connections=values["max_sessions"],
            session_idle_s=values["idle_timeout"],
            lanes=lanes,
        )

    def _say_status(self) -> None:
        if self._service is not None and (status := self._service.status).sessions:
            self.get_logger().info(
                f"{status.sessions} robots hold {status.memory_mb:.0f} MB; "
                f"{status.frames} frames in {status.passes} passes, "
                f"{status.refused} refused, {status.evicted} evicted"
            )

    def _close_endpoint(self) -> None:
        if self._status is not None:
            self.destroy_timer(self._status)
            self._status = None
        if self._endpoint is not None:
            self._endpoint.stop()
            self._endpoint = None


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run(CloudNode, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
