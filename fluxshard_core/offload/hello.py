"""The greeting: how a robot proves the shared token, and how it asks whether the cloud still lives.

It opens a connection, and may come again at any time; the server answers each at once, whatever
the model is busy with.
"""

from __future__ import annotations

from typing import Final

from fluxshard_core.offload.header import Header, Kind, WireLimits
from fluxshard_core.offload.security import PROOF_BYTES
from fluxshard_core.offload.wire import EncodedFrame

HELLO_LIMITS: Final = WireLimits(max_metadata_bytes=0, max_payload_bytes=PROOF_BYTES)
"""All that a stranger may send."""


def hello(proof: bytes = b"") -> EncodedFrame:
    """Return the greeting with a token's proof (client) or with nothing (client and server)."""
    header = Header(Kind.HELLO, 0, session_bytes=0, metadata_bytes=0, payload_bytes=len(proof))
    return EncodedFrame(header.pack(HELLO_LIMITS) + proof, memoryview(b""))
