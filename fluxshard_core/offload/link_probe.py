"""A probe of the uplink: padding in two pieces, and the time between the echoes of both.

A link may let a first burst pass faster than it goes on (a token bucket, a queue that is empty):
the first piece uses that up, the second is timed. The time between two echoes holds no round trip.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Final

from fluxshard_core.offload.header import Header, Kind, WireLimits
from fluxshard_core.offload.transport import Probed
from fluxshard_core.offload.wire import EncodedFrame

PIECES: Final = (16 * 1024, 24 * 1024)
"""Bytes of the piece that goes ahead and of the one that is timed, headers not counted."""

_LIMITS: Final = WireLimits(max_metadata_bytes=0, max_payload_bytes=max(PIECES))
_LONGEST_S: Final = 5.0


class PendingProbe:
    """A ``Probing`` on the client's event loop."""

    def __init__(self, probed: concurrent.futures.Future[Probed | None]) -> None:
        self._probed = probed

    def done(self) -> bool:
        """Whether :meth:`result` says at once what came of it."""
        return self._probed.done()

    def result(self) -> Probed | None:
        """Return what was measured by a probe that is done; None if nothing was."""
        if self._probed.cancelled():
            return None
        return self._probed.result(0)


def padding(number: int, size: int = 0) -> EncodedFrame:
    """Return a piece of a probe with ``size`` bytes, or, with none, the echo of one."""
    header = Header(Kind.PROBE, number, session_bytes=0, metadata_bytes=0, payload_bytes=size)
    return EncodedFrame(header.pack(_LIMITS), memoryview(bytes(size)))


def fits(header: Header) -> bool:
    """Whether a header of this kind announces no more than a probe has."""
    return header.body_bytes <= _LIMITS.max_payload_bytes


class Echoes:
    """Matches echoes to the pieces of one probe at a time; lives on an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._awaited: dict[int, asyncio.Future[float]] = {}

    @property
    def busy(self) -> bool:
        """Whether a probe is under way."""
        return bool(self._awaited)

    def expect(self) -> tuple[int, ...]:
        """Return the numbers of a new probe's pieces."""
        numbers = tuple(range(self._next, self._next + len(PIECES)))
        self._next += len(PIECES)
        self._awaited = {number: self._loop.create_future() for number in numbers}
        return numbers

    async def measured(self) -> Probed | None:
        """Wait for the echoes, so long and no longer; None without them."""
        try:
            ahead, timed = await asyncio.wait_for(
                asyncio.gather(*self._awaited.values()), _LONGEST_S
            )
        except (asyncio.TimeoutError, asyncio.CancelledError):
            return None
        finally:
            self._awaited = {}
        return Probed(len(padding(0, PIECES[-1])), timed - ahead)

    def take(self, number: int) -> None:
        """Note that the echo of a piece is here; one of an earlier probe tells nothing."""
        awaited = self._awaited.get(number)
        if awaited is not None and not awaited.done():
            awaited.set_result(self._loop.time())

    def give_up(self) -> None:
        """No more echoes will come."""
        for awaited in self._awaited.values():
            awaited.cancel()
