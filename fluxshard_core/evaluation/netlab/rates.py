"""Rates of a link: one that stays, or a trace of `seconds,mbps` that is replayed."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fluxshard_core.errors import InputError

_UNITS = {"kbit": 1e-3, "mbit": 1.0, "gbit": 1e3}
MAX_MBIT = 100_000.0


@dataclass(frozen=True)
class Step:
    """From ``at_s`` on the link carries ``mbit`` megabits a second."""

    at_s: float
    mbit: float


@dataclass(frozen=True)
class Rate:
    """What a link is shaped to: ``steps`` from 0 s on, the last one lasting."""

    name: str
    steps: tuple[Step, ...]

    @classmethod
    def constant(cls, text: str) -> Rate:
        """Parse ``25mbit``; :raises InputError: for anything else."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit)", text.lower())
        if match is None:
            raise InputError(f"rate {text!r} is not a number and a unit, such as 25mbit")
        return cls(text, (Step(0.0, _checked(float(match[1]) * _UNITS[match[2]], text)),))

    @classmethod
    def trace(cls, file: Path) -> Rate:
        """Read lines of ``seconds,mbps``, times ascending from 0; a first line of words is skipped.

        :raises InputError: for a file that is not that.
        """
        try:
            rows = [row for row in csv.reader(file.read_text().splitlines()) if row]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read trace {file}: {error}") from error
        if rows and not _is_number(rows[0][0]):
            rows = rows[1:]
        steps = tuple(_step(row, file) for row in rows)
        times = [step.at_s for step in steps]
        if not steps or times[0] != 0 or any(b <= a for a, b in pairwise(times)):
            raise InputError(f"the times of trace {file} must ascend from 0")
        return cls(file.stem, steps)

    @contextmanager
    def replayed(self, shape: Callable[[float], None]) -> Iterator[None]:
        """Call ``shape`` with every later rate at its time, on a thread, while the block lasts."""
        ended = threading.Event()

        def replay() -> None:
            at_s = 0.0
            for step in self.steps[1:]:
                if ended.wait(step.at_s - at_s):
                    return
                at_s = step.at_s
                shape(step.mbit)

        shape(self.steps[0].mbit)
        thread = threading.Thread(target=replay, name="netlab-trace", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _step(row: list[str], file: Path) -> Step:
    if len(row) != 2 or not all(_is_number(text) for text in row):
        raise InputError(f"trace {file} has the line {','.join(row)!r} instead of seconds,mbps")
    return Step(float(row[0]), _checked(float(row[1]), str(file)))


def _checked(mbit: float, source: str) -> float:
    if not 0.001 <= mbit <= MAX_MBIT:
        raise InputError(f"{source}: {mbit:g} Mbit/s is outside 0.001 to {MAX_MBIT:g}")
    return mbit


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
