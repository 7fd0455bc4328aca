"""A program: the cable between robots and a cloud, which can be cut, stalled and made to lie.

``cable.py PORT`` listens on a free port, which it prints, and relays every connection to PORT on
this machine. Each line on its standard input sets what happens from then on; the answer is ``ok``:

- ``pass``: bytes pass both ways.
- ``cut``: every connection is reset, new ones too.
- ``stall``: nothing is read any more; what waits passes once the cable passes again.
- ``swallow``: the cloud's end is closed and the robot's end stays open: a half-open connection.
- ``duplicate``, ``swap``, ``truncate``, ``flip``: answers of the cloud arrive twice, in the other
  order in pairs, up to the middle and then the end of the connection, with a wrong byte.
- ``duplicate-requests``, ``truncate-requests``: the same to what robots send.

What lies knows the frames of the protocol, so it needs an unencrypted link; the rest does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from fluxshard_core.offload.header import HEADER_BYTES, Header, Kind, WireLimits

LIES = {"duplicate", "swap", "truncate", "flip"}


class Cable:
    """All connections, and what is done to them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._mode = "pass"
        self._changed = asyncio.Condition()
        self._writers: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []

    async def set(self, mode: str) -> None:
        """Do ``mode`` from now on."""
        for robot, cloud in self._writers:
            if mode == "cut":
                robot.transport.abort()
            if mode in ("cut", "swallow"):
                cloud.transport.abort()
        async with self._changed:
            self._mode = mode
            self._changed.notify_all()

    async def connect(self, reader: asyncio.StreamReader, robot: asyncio.StreamWriter) -> None:
        """Relay one connection for as long as either end lasts."""
        if self._mode == "cut":
            robot.transport.abort()
            return
        try:
            if self._mode == "swallow":
                await self._drop_everything(reader)
            from_cloud, cloud = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            robot.transport.abort()
            return
        pair = robot, cloud
        self._writers.append(pair)
        try:
            await asyncio.gather(
                self._relay(reader, cloud, robot, "-requests"),
                self._relay(from_cloud, robot, cloud, ""),
            )
        except (OSError, asyncio.IncompleteReadError):
            robot.transport.abort()
            cloud.transport.abort()
        finally:
            self._writers.remove(pair)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        suffix: str,
    ) -> None:
        async for piece in self._pieces(reader, suffix):
            if self._mode == "swallow":
                await self._drop_everything(reader)
            async with self._changed:
                await self._changed.wait_for(lambda: self._mode != "stall")
            writer.write(piece)
            await writer.drain()
        if self._mode == "swallow":
            await self._drop_everything(reader)
        writer.transport.abort()
        other.transport.abort()

    async def _pieces(self, reader: asyncio.StreamReader, suffix: str) -> AsyncIterator[bytes]:
        held = b""
        while True:
            if not self._mode.startswith(tuple(LIES)):
                chunk = await reader.read(65536)
                if not chunk:
                    return
                yield chunk
                continue
            head = await reader.readexactly(HEADER_BYTES)
            header = Header.unpack(head, WireLimits())
            frame = head + await reader.readexactly(header.body_bytes)
            lie, _, which = self._mode.partition("-")
            if header.kind is Kind.HELLO or bool(which) != bool(suffix):
                yield frame
            elif lie == "duplicate":
                yield frame + frame
            elif lie == "truncate":
                yield frame[: len(frame) // 2]
                return
            elif lie == "flip":
                yield frame[:40] + bytes([frame[40] ^ 0xFF]) + frame[41:]
            elif held:
                yield frame + held
                held = b""
            else:
                held = frame

    async def _drop_everything(self, reader: asyncio.StreamReader) -> None:
        """Read and answer nothing until the cable passes again; then there is no other end."""
        while self._mode == "swallow":
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(65536), 0.05)
        raise OSError("half open for good")


async def main(port: int) -> None:
    """Relay until the standard input ends."""
    cable = Cable(port)
    server = await asyncio.start_server(cable.connect, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await cable.set(line.strip())
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
