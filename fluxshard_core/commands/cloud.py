"""`fluxshard cloud`: serves robots over the TCP bridge, without ROS."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import click
import torch

from fluxshard_core.cloud_process import ProcessSettings
from fluxshard_core.cloud_processes import CloudProcesses
from fluxshard_core.cloud_service import IDLE_S, MAX_MEMORY_MB, MAX_SESSIONS, CloudService
from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.addresses import listen_address
from fluxshard_core.offload.inference_worker import MAX_BATCH
from fluxshard_core.offload.security import TOKEN_VARIABLE, ServerSecurity
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.server_config import ServerConfig

DEFAULT_PORT = 7447

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("cloud")
@click.option("--model", required=True, help="A name such as yolo11m, or a weight file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="TCP port; 0 lets the system choose.",
)
@click.option("--tls-cert", type=_FILE, help="The server's certificate (PEM).")
@click.option("--tls-key", type=_FILE, help="Its private key (PEM).")
@click.option("--tls-ca", type=_FILE, help="The CA of the robots' certificates (PEM).")
@click.option("--require-client-cert", is_flag=True, help="Admit no robot without a certificate.")
@click.option(
    "--max-robots",
    type=click.IntRange(1, 1024),
    default=MAX_SESSIONS,
    show_default=True,
    help="Robots served at the same time.",
)
@click.option(
    "--max-memory",
    type=click.FloatRange(min=1.0),
    default=MAX_MEMORY_MB,
    show_default=True,
    help="MB that the features of all robots may take; the model's weights come on top.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 64),
    default=MAX_BATCH,
    show_default=True,
    help="Robots whose waiting frames share one pass over the network.",
)
@click.option(
    "--lanes",
    type=click.IntRange(1, 64),
    help="Frames computed at a time, of different robots; default as many as there are threads, "
    "at most 2.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Inference processes that robots are spread over, each with weights of its own: for many "
    "robots on many cores. Bounds are divided among them.",
)
@click.option(
    "--idle-timeout",
    type=click.FloatRange(1.0, 86400.0),
    default=IDLE_S,
    show_default=True,
    help="Seconds of silence after which a robot's state is dropped; it survives reconnections.",
)
@click.option(
    "--max-fps",
    type=click.FloatRange(min=0.1),
    default=ServerConfig.max_frames_per_s,
    show_default=True,
    help="Frames a second one robot is read at.",
)
@click.option(
    "--drain-timeout",
    type=click.FloatRange(0.0, 600.0),
    default=ServerConfig.drain_timeout_s,
    show_default=True,
    help="Seconds to finish accepted frames when told to stop.",
)
@click.option(
    "--size",
    "sizes",
    type=ImageSize(),
    multiple=True,
    help="Network input to be ready for; may be repeated. Another one delays its first frame.",
)
@click.option("--threads", type=click.IntRange(1, 256), help="PyTorch threads; default all cores.")
@click.option("--random-weights", is_flag=True, help="Seeded weights; no file is read.")
@click.option(
    "--status-every",
    type=click.FloatRange(0.0),
    default=30.0,
    show_default=True,
    help="Seconds between two lines of status; 0 for none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every line as a JSON object.")
def command(**options: Any) -> None:
    """Serve robots until told to stop (SIGINT or SIGTERM; a second one stops at once).

    Beyond loopback, robots must prove themselves: with certificates (--tls-cert --tls-key --tls-ca
    --require-client-cert; `fluxshard certs` makes them), or with the token in the environment
    variable FLUXSHARD_TOKEN, which is used only together with --tls-cert and --tls-key.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    security = _security(options)
    listen_address(options["host"], security)  # before the model takes its time to load
    detector = Detector.load(
        options["model"],
        random_seed=0 if options["random_weights"] else None,
        threads=options["threads"],
    )
    with ExitStack() as running:
        service, lanes = _service(options, detector, running)
        _serve(options, detector, security, service, lanes)


def _service(
    options: dict[str, Any], detector: Detector, running: ExitStack
) -> tuple[CloudService | CloudProcesses, int]:
    """Return what answers, in this process or in others, and how many lanes it takes."""
    if (count := options["processes"]) > 1:
        settings = ProcessSettings(
            options["model"],
            0 if options["random_weights"] else None,
            torch.get_num_threads(),
            options["sizes"],
            options["max_robots"],
            options["max_memory"],
            options["idle_timeout"],
        )
        return running.enter_context(CloudProcesses(settings, count)), count
    service = CloudService(
        detector,
        max_sessions=options["max_robots"],
        max_memory_mb=options["max_memory"],
        idle_s=options["idle_timeout"],
    )
    for height, width in options["sizes"]:
        service.engine.binding(height, width)
    return service, options["lanes"] or service.cores.lanes


def _serve(
    options: dict[str, Any],
    detector: Detector,
    security: ServerSecurity | None,
    service: CloudService | CloudProcesses,
    lanes: int,
) -> None:
    """Serve until told to stop."""
    config = ServerConfig(
        max_connections=options["max_robots"],
        max_frames_per_s=options["max_fps"],
        session_idle_s=options["idle_timeout"],
        drain_timeout_s=options["drain_timeout"],
        max_batch=options["max_batch"],
        lanes=lanes,
    )
    server = InferenceServer(
        service.handle,
        options["host"],
        options["port"],
        config,
        security,
        serve=service.serve,
        lane_of=service.lane_of if isinstance(service, CloudProcesses) else None,
    )
    say = _Lines(options["as_json"])
    stopping = _stop_on_signals()
    with server:
        say("ready", **_ready(server, detector, security))
        while not stopping.wait(options["status_every"] or None):
            say("status", **asdict(server.stats), **_service_status(service))
        say("stopping", **asdict(server.stats))
    say("stopped", **asdict(server.stats))


class _Lines:
    """What the command says, one line a time, for people or for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, event: str, **values: Any) -> None:
        if self._as_json:
            click.echo(json.dumps({"event": event, **values}))
        else:
            click.echo(f"{event}: " + ", ".join(f"{key} {value}" for key, value in values.items()))


def _security(options: dict[str, Any]) -> ServerSecurity | None:
    security = ServerSecurity.of_paths(
        options["tls_cert"], options["tls_key"], options["tls_ca"], options["require_client_cert"]
    )
    if security is None and os.environ.get(TOKEN_VARIABLE):
        click.echo(
            f"warning: {TOKEN_VARIABLE} is ignored without --tls-cert and --tls-key", err=True
        )
    return security


def _ready(
    server: InferenceServer, detector: Detector, security: ServerSecurity | None
) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "model": str(detector.name),
        "model_hash": detector.model_hash,
        "weights": detector.weights,
        "tls": security is not None,
        "certificates": security is not None and security.robot_ca is not None,
        "token": security is not None and security.token is not None,
        "pid": os.getpid(),
    }


def _service_status(service: CloudService | CloudProcesses) -> dict[str, Any]:
    status = service.status
    return {
        "sessions": status.sessions,
        "session_mb": status.memory_mb,
        "refused": status.refused,
        "evicted": status.evicted,
        "mean_batch": round(status.frames / max(1, status.passes), 2),
    }


def _stop_on_signals() -> threading.Event:
    """Return an event the first SIGINT or SIGTERM sets; the second ends the process."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopping
