"""The models FluxShard knows by name: ``yolo11`` and ``yolov8`` in every size and task."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import Enum

from fluxshard_core.errors import InputError


class Task(Enum):
    """What a model finds; the value is the suffix of the model's name."""

    DETECT = ""
    SEGMENT = "-seg"
    POSE = "-pose"


FAMILIES = ("yolo11", "yolov8")
SCALES = ("n", "s", "m", "l", "x")

_NAME = re.compile(rf"({'|'.join(FAMILIES)})([{''.join(SCALES)}])(-seg|-pose)?")


@dataclass(frozen=True)
class ModelName:
    """One model of the catalogue; ``str(name)`` is the name as users write it."""

    family: str
    scale: str
    task: Task

    def __str__(self) -> str:
        return f"{self.family}{self.scale}{self.task.value}"

    @classmethod
    def parse(cls, name: str) -> ModelName:
        """Parse ``yolo11n-seg`` and the like; case matters.

        :raises InputError: for a name outside the catalogue, with the closest known names.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            close = difflib.get_close_matches(name.lower(), model_names(), n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else f"known: {_patterns()}"
            raise InputError(f"unknown model {name!r}: {hint}")
        family, scale, suffix = match.groups()
        return cls(family, scale, Task(suffix or ""))


def model_names() -> list[str]:
    """Every name of the catalogue, for tab completion and messages."""
    return [
        str(ModelName(family, scale, task))
        for family in FAMILIES
        for task in Task
        for scale in SCALES
    ]


def _patterns() -> str:
    sizes = "{" + ",".join(SCALES) + "}"
    suffixes = ", ".join(task.value for task in Task if task.value)
    return f"{' or '.join(family + sizes for family in FAMILIES)}, alone or with {suffixes}"
