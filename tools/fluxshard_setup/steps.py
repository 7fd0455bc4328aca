"""Steps that run once: each has a key, and is skipped while its stamp holds the same key."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fluxshard_setup.commands import CommandLog


@dataclass(frozen=True)
class Step:
    """One stage of the set-up.

    ``key`` identifies everything the step depends on (``digest``); ``action`` does the work and
    sends its commands through the log it is given.
    """

    name: str
    title: str
    key: str
    action: Callable[[CommandLog], None]


def digest(*inputs: str | Path) -> str:
    """Hash texts, files and folders (names and contents of all files below)."""
    total = hashlib.sha256()
    for item in inputs:
        for part in _contents(item):
            total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def _contents(item: str | Path) -> Iterable[bytes]:
    if isinstance(item, str):
        yield item.encode()
    elif item.is_dir():
        for path in sorted(p for p in item.rglob("*") if p.is_file()):
            yield str(path.relative_to(item)).encode()
            yield path.read_bytes()
    else:
        yield item.read_bytes()


def pending(steps: Iterable[Step], state: Path) -> list[Step]:
    """Return the steps whose stamp in the folder ``state`` is missing or of another key."""
    return [step for step in steps if _stamp(step, state) != step.key]


def run_steps(steps: list[Step], state: Path) -> None:
    """Run what is pending, in order; a step that fails or is interrupted keeps no stamp."""
    todo = {step.name for step in pending(steps, state)}
    for number, step in enumerate(steps, start=1):
        label = f"[{number}/{len(steps)}] {step.title}"
        if step.name not in todo:
            print(f"{label}: ready", flush=True)
            continue
        (state / f"{step.name}.stamp").unlink(missing_ok=True)
        started = time.monotonic()
        print(f"{label} ...", flush=True)
        step.action(CommandLog(state / f"{step.name}.log", sys.stdout))
        (state / f"{step.name}.stamp").write_text(step.key)
        print(f"{label}: done in {time.monotonic() - started:.0f} s", flush=True)


def _stamp(step: Step, state: Path) -> str | None:
    path = state / f"{step.name}.stamp"
    return path.read_text() if path.is_file() else None
