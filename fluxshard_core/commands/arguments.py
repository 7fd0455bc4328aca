"""Argument types that several commands share."""

from __future__ import annotations

import re

import click


class ImageSize(click.ParamType[tuple[int, int]]):
    """``HEIGHTxWIDTH`` in pixels, both positive multiples of 32; one number means a square."""

    name = "HxW"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return ``(height, width)``."""
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value).lower())
        if match is None:
            self.fail(f"{value!r} is not HEIGHTxWIDTH, such as 480x864", param, ctx)
        height = int(match[1])
        width = int(match[2] or height)
        if not (height and width) or height % 32 or width % 32:
            self.fail(f"{height}x{width}: both sides must be positive multiples of 32", param, ctx)
        return height, width
