"""Messages to frames of bytes and back: header, session name, typed metadata, raw arrays.

Nothing read from a peer is executed or unpickled, and no input makes a decoder fail in any way
but with a ``WireError``.
"""

from __future__ import annotations

from dataclasses import dataclass

from fluxshard_core.errors import InputError
from fluxshard_core.offload import sections as wire_sections
from fluxshard_core.offload.header import HEADER_BYTES, Header, Kind, WireLimits
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.metadata import (
    RefusalMetadata,
    ResultMetadata,
    ShardFrameMetadata,
    decode_metadata,
    encode_metadata,
)
from fluxshard_core.offload.sections import Array, Section
from fluxshard_core.offload.wire_errors import ContentError, LengthError, MetadataError
from fluxshard_core.offload.wire_result import build_result, result_arrays, result_metadata
from fluxshard_core.offload.wire_shard_frame import build_frame, frame_arrays, frame_metadata

Message = ShardFrame | InferenceResult | Refusal
Data = bytes | bytearray | memoryview

DEFAULT_LIMITS = WireLimits()


@dataclass(frozen=True)
class EncodedFrame:
    """One frame in two parts, so that its largest array is never copied just to send it."""

    prefix: bytes
    tail: memoryview

    def __len__(self) -> int:
        return len(self.prefix) + len(self.tail)

    def __bytes__(self) -> bytes:
        return self.prefix + self.tail


def encode(message: Message, wire_limits: WireLimits = DEFAULT_LIMITS) -> EncodedFrame:
    """Return the frame of a message; ``tail`` is a view of its largest array.

    :raises LengthError: when the message is larger than ``wire_limits`` allow.
    """
    arrays: dict[str, Array] = {}
    if isinstance(message, ShardFrame):
        arrays = frame_arrays(message)
    elif isinstance(message, InferenceResult):
        arrays = result_arrays(message)
    sections, buffers = wire_sections.pack(arrays)
    kind, metadata = _metadata(message, sections)
    session = message.session.encode()
    payload_bytes = sum(len(buffer) for buffer in buffers)
    header = Header(kind, message.number, len(session), len(metadata), payload_bytes)
    tail = buffers.pop() if buffers else memoryview(b"")
    prefix = b"".join([header.pack(wire_limits), session, metadata, *buffers])
    return EncodedFrame(prefix, tail)


def decode(data: Data, wire_limits: WireLimits = DEFAULT_LIMITS) -> Message:
    """Read one whole frame; arrays may be views of ``data``.

    :raises WireError: when ``data`` is anything but exactly one valid frame.
    """
    view = memoryview(data).cast("B")
    header = Header.unpack(view[:HEADER_BYTES], wire_limits)
    return decode_body(header, view[HEADER_BYTES:])


def decode_body(header: Header, body: Data) -> Message:
    """Read what follows a header that was read before; arrays may be views of ``body``.

    :raises WireError: when the body is not what the header announced.
    """
    view = memoryview(body).cast("B")
    if len(view) != header.body_bytes:
        raise LengthError("body length", expected=header.body_bytes, actual=len(view))
    session = _session(view[: header.session_bytes])
    payload_start = header.session_bytes + header.metadata_bytes
    metadata = view[header.session_bytes : payload_start]
    try:
        return _build(header, session, metadata, view[payload_start:])
    except InputError as error:
        raise ContentError("message", expected="a valid one", actual=error) from error


def _metadata(message: Message, sections: tuple[Section, ...]) -> tuple[Kind, bytes]:
    if isinstance(message, ShardFrame):
        return Kind.SHARD_FRAME, encode_metadata(frame_metadata(message, sections))
    if isinstance(message, InferenceResult):
        return Kind.RESULT, encode_metadata(result_metadata(message, sections))
    return Kind.REFUSAL, encode_metadata(RefusalMetadata(message.reason))


def _build(header: Header, session: str, metadata: memoryview, payload: memoryview) -> Message:
    if header.kind is Kind.SHARD_FRAME:
        request = decode_metadata(metadata, ShardFrameMetadata)
        arrays = wire_sections.unpack(request.sections, payload)
        return build_frame(header, session, request, arrays)
    if header.kind is Kind.RESULT:
        answer = decode_metadata(metadata, ResultMetadata)
        arrays = wire_sections.unpack(answer.sections, payload)
        return build_result(header, session, answer, arrays)
    refusal = decode_metadata(metadata, RefusalMetadata)
    wire_sections.unpack((), payload)
    return Refusal(refusal.reason, session, header.number)


def _session(name: memoryview) -> str:
    try:
        return str(name, "utf-8")
    except UnicodeDecodeError as error:
        raise MetadataError("session name", expected="UTF-8", actual=error) from error
