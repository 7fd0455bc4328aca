"""The one way a session talks to the other half, whatever carries the messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.tcp_info import TcpInfo


class LinkError(FluxShardError):
    """The cloud gave no answer for this frame; the edge finishes the frame itself."""


class LinkDown(LinkError):  # noqa: N818
    """There is no connection, or it broke before the answer arrived."""


class NotSent(LinkDown):
    """The request never left this machine: the cloud is where it was."""


class LinkTimeout(LinkError):  # noqa: N818
    """The answer did not arrive before the frame's deadline."""


class RemoteRefused(LinkError):  # noqa: N818
    """The other side answered that it will not serve this request, and why."""


class Pending(Protocol):
    """A request that was begun and that nobody waits for."""

    @property
    def size(self) -> int:
        """Its bytes, framing included."""
        ...

    def done(self) -> bool:
        """Whether :meth:`result` would return or raise at once."""
        ...

    def result(self) -> InferenceResult:
        """Return the answer of a request that is done.

        :raises LinkError: as :meth:`Transport.infer`; :class:`NotSent` where it never left.
        """
        ...

    def withdraw(self) -> bool:
        """Take the request back if nothing of it has left, and return whether that is so."""
        ...


@dataclass(frozen=True)
class Probed:
    """What a probe of the uplink measured: ``size`` bytes arrived within ``seconds``."""

    size: int
    seconds: float


class Probing(Protocol):
    """A probe of the uplink under way."""

    def done(self) -> bool:
        """Whether :meth:`result` says at once what came of it."""
        ...

    def result(self) -> Probed | None:
        """Return what a probe that is done measured; None if nothing."""
        ...


class Transport(Protocol):
    """A link to one cloud, shared by any number of threads."""

    @property
    def connected(self) -> bool:
        """Whether a request sent now would leave this machine."""
        ...

    @property
    def available(self) -> bool:
        """Whether to send a request now makes sense: the cloud is there, and has been serving."""
        ...

    @property
    def tx_bytes(self) -> int:
        """Bytes sent since the transport was made, framing included."""
        ...

    @property
    def rx_bytes(self) -> int:
        """Bytes received since the transport was made, framing included."""
        ...

    def tcp_info(self) -> TcpInfo | None:
        """What the kernel measured on the connection; None where it is no TCP or there is none."""
        ...

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        """Send a frame and wait for its answer, at most ``timeout_s`` seconds.

        The answer may carry ``InferenceResult.error``: the link worked and the cloud failed.

        :raises NotSent: when there is no connection.
        :raises LinkDown: when the connection breaks while waiting.
        :raises LinkTimeout: when the deadline passes first.
        :raises RemoteRefused: when the other side refuses the request or the connection.
        """
        ...

    def begin(self, frame: ShardFrame) -> Pending:
        """Send a frame of background work and return at once; its answer may come or not.

        :raises NotSent: when there is no connection, or the cloud has not been answering in time.
        """
        ...

    def probe(self) -> Probing | None:
        """Begin to measure the uplink, at the cost of some padding on it, and return at once; None
        where that cannot be done."""
        ...

    def close(self) -> None:
        """Release the connection and everything behind it; further calls do nothing."""
        ...
