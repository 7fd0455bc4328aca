"""What can be wrong with bytes read from a peer; each error carries expected and actual."""

from __future__ import annotations

from fluxshard_core.offload.transport import LinkError


class WireError(LinkError):
    """Bytes that are not a valid frame of this protocol, or a message that does not fit in one."""

    def __init__(self, what: str, *, expected: object, actual: object) -> None:
        super().__init__(f"{what}: expected {expected}, got {actual}")
        self.what = what
        self.expected = expected
        self.actual = actual


class MagicError(WireError):
    """The peer does not speak this protocol at all."""


class VersionError(WireError):
    """The peer speaks another version of this protocol."""


class KindError(WireError):
    """An unknown kind of message, unknown flags, or a kind that does not belong here."""


class LengthError(WireError):
    """A length that is above its cap or disagrees with the bytes that are there."""


class MetadataError(WireError):
    """Metadata that is not what this kind of message declares."""


class SectionError(WireError):
    """A payload section with a forbidden dtype, a wrong shape or an unexpected name."""


class ContentError(WireError):
    """A well-formed frame whose message breaks a rule of ``validation``."""
