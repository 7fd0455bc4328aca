"""Opening a motion source by its configured name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from fluxshard_core.errors import InputError
from fluxshard_core.motion.block_matching import BlockMatchingMotion, MatchingOptions
from fluxshard_core.motion.codec import CodecMotion
from fluxshard_core.motion.encoder import EncoderMotion, EncoderOptions
from fluxshard_core.motion.none import NoMotion
from fluxshard_core.motion.source import MotionSource

OPTIONS: dict[str, tuple[str, ...]] = {
    "codec": ("codec", "estimator"),
    "encoder": ("lossy", *(option.name for option in fields(EncoderOptions))),
    "block_matching": tuple(option.name for option in fields(MatchingOptions)),
    "none": (),
}

IMAGE_SOURCES = ("encoder", "block_matching", "none")


def open_source(name: str, **options: Any) -> MotionSource[Any]:
    """Return the motion source called ``name``, one of ``codec|encoder|block_matching|none``.

    ``options`` are those of :class:`CodecMotion`, :class:`EncoderOptions` (and ``lossy``) or
    :class:`MatchingOptions`. ``codec`` takes packets (bytes), the others RGB images.

    :raises InputError: if the name or an option is unknown, or a value out of range.
    """
    if name not in OPTIONS:
        raise InputError(f"motion source is {name!r}; use one of {', '.join(OPTIONS)}")
    unknown = sorted(set(options) - set(OPTIONS[name]))
    if unknown:
        known = ", ".join(OPTIONS[name]) or "none"
        raise InputError(f"motion source {name} has no option {', '.join(unknown)}; it has {known}")
    if name == "codec":
        return CodecMotion(**options)
    if name == "encoder":
        lossy = options.pop("lossy", False)
        return EncoderMotion(lossy=lossy, options=EncoderOptions(**options))
    if name == "block_matching":
        return BlockMatchingMotion(MatchingOptions(**options))
    return NoMotion()
