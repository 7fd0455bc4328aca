"""Messages, servers and raw peers for the offload tests; everything runs over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.client_config import ClientConfig
from fluxshard_core.offload.header import HEADER_BYTES, Header, WireLimits
from fluxshard_core.offload.hello import hello
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.offload.wire import Message, decode_body

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., ShardFrame]:
    """A frame of a seeded random 64x96 image: ``make_frame(number, session=, ids=, motion=)``."""
    image = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    def make(
        number: int = 1,
        *,
        session: str = "robot",
        epoch: int = 3,
        ids: tuple[int, ...] = (0, 5, 23),
        motion: MotionField | None = None,
        critical: Mapping[int, npt.NDArray[np.bool_]] | None = None,
        background: bool = False,
    ) -> ShardFrame:
        return ShardFrame(
            session=session,
            epoch=epoch,
            number=number,
            stamp_ns=1_700_000_000_000_000_000 + number,
            model_hash="0f" * 16,
            letterbox=Letterbox.fit(50, 90, (HEIGHT, WIDTH)),
            confidence=0.25,
            iou=0.7,
            shards=shard_codec.encode(image, np.array(ids, dtype=np.int32)),
            motion=motion,
            critical=critical or {},
            background=background,
        )

    return make


@pytest.fixture(scope="session")
def random_motion() -> MotionField:
    """A field with fractional, negative and invalid vectors, as an accumulator makes them."""
    rng = np.random.default_rng(8)
    grid = (HEIGHT // 16, WIDTH // 16)
    valid = rng.random(grid) > 0.3
    vectors = rng.integers(-32768, 32768, (*grid, 2)).astype(np.int16)
    vectors[~valid] = 0
    return MotionField(vectors, valid)


@pytest.fixture(scope="session")
def random_critical() -> dict[int, npt.NDArray[np.bool_]]:
    """Critical blocks of three levels, each with all those of the finer ones."""
    rng = np.random.default_rng(9)
    finest = rng.random((HEIGHT // 16, WIDTH // 16)) < 0.3
    middle = finest | (rng.random(finest.shape) < 0.2)
    return {4: finest, 8: finest.copy(), 32: middle}


@pytest.fixture(scope="session")
def random_detections() -> Callable[..., Detections]:
    """``random_detections(count, masks=, keypoints=)`` with masks of awkward sizes."""

    def make(count: int, *, masks: bool = False, keypoints: bool = False) -> Detections:
        rng = np.random.default_rng(count)
        packed = tuple(
            InstanceMask.pack(-1 - i, 2 * i, rng.random((i, 3 * i + 1)) > 0.5) for i in range(count)
        )
        points = rng.normal(0, 100, (count, 17, 3)).astype(np.float32)
        return Detections(
            boxes=rng.normal(0, 100, (count, 4)).astype(np.float32),
            scores=rng.random(count, dtype=np.float32),
            class_ids=rng.integers(0, 80, count).astype(np.int32),
            masks=packed if masks else None,
            keypoints=points if keypoints else None,
        )

    return make


@pytest.fixture(scope="session")
def echo() -> Callable[[ShardFrame], InferenceResult]:
    """A handler whose one box tells which frame of which session it was made from."""

    def handle(frame: ShardFrame) -> InferenceResult:
        mark = [frame.number, len(frame.session), len(frame.shards.ids), 0]
        found = Detections(
            boxes=np.array([mark], dtype=np.float32),
            scores=np.ones(1, dtype=np.float32),
            class_ids=np.zeros(1, dtype=np.int32),
        )
        return InferenceResult(
            frame.session, frame.epoch, frame.number, frame.stamp_ns, found, {"model": 1.5}
        )

    return handle


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    """Whatever a test opens and must be closed, last opened first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(resources: ExitStack) -> Callable[..., InferenceServer]:
    """``serve(handler, max_connections=, ...)`` starts a server that stops with the test."""

    def start(handler: Callable[[ShardFrame], InferenceResult], **bounds: Any) -> InferenceServer:
        return resources.enter_context(InferenceServer(handler, config=ServerConfig(**bounds)))

    return start


@pytest.fixture
def connect(resources: ExitStack) -> Callable[..., TcpTransport]:
    """``connect(port, first_retry_s=, ...)`` opens a transport that closes with the test."""

    def open_transport(port: int, **settings: Any) -> TcpTransport:
        config = ClientConfig(**settings)
        return resources.enter_context(TcpTransport("127.0.0.1", port, config))

    return open_transport


@pytest.fixture
def raw_peer(resources: ExitStack) -> Callable[[int], socket.socket]:
    """``raw_peer(port)`` connects a bare socket that may send anything."""

    def open_socket(port: int) -> socket.socket:
        peer = resources.enter_context(socket.create_connection(("127.0.0.1", port), 5.0))
        peer.settimeout(5.0)
        return peer

    return open_socket


@pytest.fixture(scope="session")
def read_message() -> Callable[[socket.socket], Message]:
    """Read one message from a bare socket; ``ConnectionError`` when the other end has closed."""

    def read_exactly(peer: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = peer.recv(count - len(data))
            if not chunk:
                raise ConnectionError("closed by the other end")
            data += chunk
        return data

    def read(peer: socket.socket) -> Message:
        header = Header.unpack(read_exactly(peer, HEADER_BYTES), WireLimits())
        return decode_body(header, read_exactly(peer, header.body_bytes))

    return read


@pytest.fixture
def scripted_cloud() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """``scripted_cloud(script)`` plays ``script`` on each connection, greeted before; its port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def listen(script: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.settimeout(5.0)
                    try:
                        peer.recv(HEADER_BYTES, socket.MSG_WAITALL)
                        peer.sendall(bytes(hello()))
                        script(peer)
                    except OSError:
                        continue

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield listen
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()
