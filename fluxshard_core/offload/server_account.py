"""What one robot uses of a server, whichever of its connections it uses it through."""

from __future__ import annotations

from collections import OrderedDict

from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.rate import TokenBucket
from fluxshard_core.offload.server_config import ServerConfig


class SessionLimitError(FluxShardError):
    """A robot asked for more sessions than it may have."""


class Account:
    """The rates and the sessions of one identity; an empty one is not shared by connections."""

    def __init__(self, identity: str, config: ServerConfig) -> None:
        self.identity = identity
        self._config = config
        self._frames = TokenBucket(config.max_frames_per_s)
        self._bytes = TokenBucket(config.max_bytes_per_s)
        self._sessions: OrderedDict[str, float] = OrderedDict()

    def count_frame(self, now_s: float) -> float:
        """Return for how many seconds to read nothing after one more frame."""
        return self._frames.take(1.0, now_s)

    def count_bytes(self, nbytes: int, now_s: float) -> float:
        """Return for how many seconds to read nothing after so many more bytes."""
        return self._bytes.take(nbytes, now_s)

    def session(self, name: str, now_s: float) -> str:
        """Return the server's name for the robot's session ``name``.

        It begins with the robot's identity, so that no robot can name another's session.

        :raises SessionLimitError: when the robot has too many sessions in use.
        """
        if self._sessions.pop(name, None) is None:
            self._make_room(now_s)
        self._sessions[name] = now_s
        return f"{self.identity}/{name}" if self.identity else name

    def _make_room(self, now_s: float) -> None:
        most, idle_s = self._config.max_sessions_per_robot, self._config.session_idle_s
        if len(self._sessions) < most:
            return
        oldest, used_s = next(iter(self._sessions.items()))
        if now_s - used_s < idle_s:
            raise SessionLimitError(
                f"this robot already has {most} sessions in use; one is free for another name "
                f"{idle_s:g} s after its last frame"
            )
        del self._sessions[oldest]
