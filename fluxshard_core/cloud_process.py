"""One of several inference processes of a cloud: frames in on standard input, answers out.

A request is how many frames and how many threads, a byte each, then the frames as on the wire. For
every answer a byte says which frame it is of; ``DONE`` ends the answers, ``FAILED`` says that the
others have none. After either comes the length of a JSON object, four bytes, and that object.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final

from fluxshard_core.cloud_service import CloudService
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload import wire
from fluxshard_core.offload.header import HEADER_BYTES, Header
from fluxshard_core.offload.messages import ShardFrame

FAILED: Final = 254
DONE: Final = 255
LENGTH: Final = struct.Struct("<I")
MOST_FRAMES: Final = FAILED

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessSettings:
    """What a process serves, and its part of the bounds of :class:`CloudService`; ``sizes`` are
    the inputs ``(height, width)`` that it is to be ready for."""

    model: str
    random_seed: int | None
    threads: int
    sizes: Sequence[tuple[int, int]]
    max_sessions: int
    max_memory_mb: float
    idle_s: float

    def to_json(self) -> str:
        """Return what :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ProcessSettings:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))


def read_message(stream: BinaryIO) -> wire.Message:
    """Return the next message of a pipe.

    :raises EOFError: at its end.
    """
    header = Header.unpack(read_exactly(stream, HEADER_BYTES), wire.DEFAULT_LIMITS)
    return wire.decode_body(header, read_exactly(stream, header.body_bytes))


def read_exactly(stream: BinaryIO, count: int) -> bytearray:
    """Return so many bytes; :raises EOFError: if there are fewer."""
    data = bytearray(count)
    view = memoryview(data)
    while len(view):
        got = stream.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        view = view[got:]
    return data


def _write_object(stream: BinaryIO, kind: int, value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    stream.write(bytes([kind]) + LENGTH.pack(len(text)) + text)
    stream.flush()


def _serve(service: CloudService, source: BinaryIO, out: BinaryIO) -> None:
    """Serve one request. :raises EOFError: if there is none any more."""
    count, service.cores.threads = read_exactly(source, 2)
    frames: list[ShardFrame] = []
    for _ in range(count):
        frame = read_message(source)
        assert isinstance(frame, ShardFrame)
        frames.append(frame)
    try:
        for index, answer in service.serve(frames):
            encoded = wire.encode(answer)
            out.write(bytes([index]) + encoded.prefix)
            out.write(encoded.tail)
            out.flush()
    except Exception as error:
        _log.exception("inference failed")
        _write_object(out, FAILED, {"reason": f"{type(error).__name__}: {error}"})
    else:
        _write_object(out, DONE, asdict(service.status))


def main() -> None:
    """Serve until standard input ends."""
    settings = ProcessSettings.from_json(sys.argv[1])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not come between answers
    detector = Detector.load(
        settings.model, random_seed=settings.random_seed, threads=settings.threads
    )
    service = CloudService(
        detector,
        max_sessions=settings.max_sessions,
        max_memory_mb=settings.max_memory_mb,
        idle_s=settings.idle_s,
    )
    for height, width in settings.sizes:
        service.engine.binding(height, width)
    _write_object(out, DONE, asdict(service.status))
    try:
        while True:
            _serve(service, sys.stdin.buffer, out)
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
