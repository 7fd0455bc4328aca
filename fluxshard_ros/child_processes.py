"""Child processes that never outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from types import FrameType, TracebackType
from typing import IO

from fluxshard_core.errors import FluxShardError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GRACE_S = 5.0
_LOG_LINES = 12


class ProcessFailed(FluxShardError):  # noqa: N818
    """A child ended by itself with a failure; the message ends with the end of its log."""


def _die_with(parent: int) -> None:
    """Have the kernel kill this child when its ``parent`` dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


class ChildProcesses:
    """Starts named Python modules, logs each to ``logs/NAME.log``, and stops all of them on exit.

    Each child leads a process group of its own, so that Ctrl-C reaches only the parent, which then
    stops them in order.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._files: list[IO[bytes]] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, module: str, arguments: Sequence[str]) -> None:
        """Run ``python -m module`` with ``arguments``."""
        log = (self._logs / f"{name}.log").open("wb")
        self._files.append(log)
        self._children[name] = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(_die_with, os.getpid()),
        )

    def running(self, name: str) -> bool:
        """Whether the child is still there."""
        return self._children[name].poll() is None

    def wait(self, name: str, timeout_s: float) -> int:
        """Wait for a child to end by itself and return its status."""
        return self._children[name].wait(timeout_s)

    def kill(self, name: str) -> None:
        """End a child at once, as a crash would."""
        os.killpg(self._children[name].pid, signal.SIGKILL)
        self._children[name].wait()

    def check(self) -> None:
        """Raise :class:`ProcessFailed` when any child ended with a failure."""
        for name, child in self._children.items():
            if child.poll():
                log = self._logs / f"{name}.log"
                last = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                raise ProcessFailed(
                    f"{name} ended with status {child.returncode} ({log}):\n  " + "\n  ".join(last)
                )

    def stop(self) -> None:
        """Ask every child to stop, then make it; returns when all are gone."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for child in self._children.values():
                if child.poll() is None:
                    os.killpg(child.pid, number)
            deadline = monotonic() + _GRACE_S
            for child in self._children.values():
                try:
                    child.wait(max(0.0, deadline - monotonic()))
                except subprocess.TimeoutExpired:
                    continue
        for file in self._files:
            file.close()
        self._files.clear()

    def __enter__(self) -> ChildProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt for the body, so that it cleans up the same way."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
