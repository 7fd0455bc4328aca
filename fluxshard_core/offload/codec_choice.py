"""Which codec gets a frame's blocks to the cloud soonest, learned from what was sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fluxshard_core.offload.ewma import Ewma

_WEIGHT: Final = 0.2


@dataclass(frozen=True)
class _Cost:
    """Milliseconds and bytes of ``blocks`` blocks: a part for every frame and one for each."""

    frame: float
    block: float

    def of(self, blocks: int) -> float:
        return self.frame + self.block * blocks


# Where learning starts: what one core of a small server took. Too little rather than too much, or
# a codec that was never tried would stay so.
_ENCODE_MS: Final = {
    "raw": _Cost(0.1, 0.0003),
    "jpeg": _Cost(0.3, 0.005),
    "webp": _Cost(0.5, 0.02),
    "h264": _Cost(5.0, 0.004),
}
_DECODE_MS: Final = {
    "raw": _Cost(0.1, 0.0003),
    "jpeg": _Cost(0.3, 0.002),
    "webp": _Cost(0.3, 0.003),
    "h264": _Cost(2.0, 0.001),
}
_BYTES: Final = {
    "raw": _Cost(0.0, 768.0),
    "jpeg": _Cost(600.0, 90.0),
    "webp": _Cost(100.0, 60.0),
    "h264": _Cost(300.0, 35.0),
}


class _Learned:
    """A cost times the average of what it really was over what it should have been."""

    def __init__(self, cost: _Cost) -> None:
        self._cost = cost
        self._factor = Ewma(_WEIGHT)

    def of(self, blocks: int) -> float:
        return self._cost.of(blocks) * (1.0 if self._factor.value is None else self._factor.value)

    def add(self, blocks: int, realised: float) -> None:
        expected = self._cost.of(blocks)
        if expected > 0:  # no blocks tell nothing of a codec without a part for every frame
            self._factor.add(realised / expected)


class CodecChooser:
    """Estimates ``encode ms + bytes / bandwidth + decode ms`` of each codec, and takes the least.

    ``names`` are the codecs to choose from, in order of preference between equals.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._encode_ms = {name: _Learned(_ENCODE_MS[name]) for name in self.names}
        self._decode_ms = {name: _Learned(_DECODE_MS[name]) for name in self.names}
        self._bytes = {name: _Learned(_BYTES[name]) for name in self.names}

    def choose(self, blocks: int, bytes_per_s: float) -> str:
        """Return the codec that should bring ``blocks`` blocks soonest."""
        return min(self.names, key=lambda name: self.expected_ms(name, blocks, bytes_per_s))

    def expected_ms(self, name: str, blocks: int, bytes_per_s: float) -> float:
        """Return the milliseconds from the image here to the image there."""
        coding = self._encode_ms[name].of(blocks) + self._decode_ms[name].of(blocks)
        return coding + 1e3 * self.expected_bytes(name, blocks) / bytes_per_s

    def expected_bytes(self, name: str, blocks: int) -> float:
        """Return the length of the payload that ``blocks`` blocks should make."""
        return self._bytes[name].of(blocks)

    def encoded(self, name: str, blocks: int, encode_ms: float, size: int) -> None:
        """Learn from a payload of ``size`` bytes that took ``encode_ms`` to make."""
        self._encode_ms[name].add(blocks, encode_ms)
        self._bytes[name].add(blocks, float(size))

    def decoded(self, name: str, blocks: int, decode_ms: float) -> None:
        """Learn from what the other end took."""
        self._decode_ms[name].add(blocks, decode_ms)
