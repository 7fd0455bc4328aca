"""Header stamps as nanoseconds and back."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

NANOSECONDS = 10**9


def nanoseconds(stamp: Time) -> int:
    """Return a stamp as nanoseconds since its clock's epoch."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def header_of(stamp_ns: int, frame_id: str) -> Header:
    """Return a header of ``stamp_ns`` nanoseconds."""
    seconds, rest = divmod(stamp_ns, NANOSECONDS)
    return Header(stamp=Time(sec=seconds, nanosec=rest), frame_id=frame_id)
