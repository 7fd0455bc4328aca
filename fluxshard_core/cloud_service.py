"""The cloud's answer to every robot: one `CloudSession` each, a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from fluxshard_core.errors import FluxShardError
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.session import CloudSession, Engine

MAX_SESSIONS = 16
IDLE_S = 60.0


class CloudService:
    """Routes each request to its robot's session; all calls come from one thread.

    A new robot takes the place of one silent for ``idle_s`` seconds, or is refused with the
    reason when ``max_sessions`` are all in use.
    """

    def __init__(
        self,
        model: Detector | Engine,
        *,
        max_sessions: int = MAX_SESSIONS,
        idle_s: float = IDLE_S,
    ) -> None:
        self.engine = model if isinstance(model, Engine) else Engine(model)
        self._max_sessions = max_sessions
        self._idle_s = idle_s
        self._sessions: OrderedDict[str, tuple[CloudSession, float]] = OrderedDict()

    def handle(self, frame: ShardFrame) -> InferenceResult:
        """Answer one request; what is wrong with it is said in ``InferenceResult.error``."""
        session: CloudSession | None = None
        try:
            session = self._session_of(frame.session)
            return session.process(frame)
        except FluxShardError as error:
            return InferenceResult.failure(frame, str(error))
        finally:
            if session is not None:
                self._sessions[frame.session] = session, monotonic()

    def _session_of(self, name: str) -> CloudSession:
        """Take the robot's session out of the table, where the longest silent comes first."""
        found = self._sessions.pop(name, None)
        return found[0] if found else self._new_session(monotonic())

    def _new_session(self, now: float) -> CloudSession:
        if len(self._sessions) >= self._max_sessions:
            oldest, (_, last_used) = next(iter(self._sessions.items()))
            if now - last_used < self._idle_s:
                raise FluxShardError(
                    f"this cloud already serves {self._max_sessions} robots; raise max_sessions "
                    f"or wait until one has been silent for {self._idle_s:g} s"
                )
            del self._sessions[oldest]
        return CloudSession(self.engine)
