"""Running commands: output to a log, signs of life to the terminal, no child left behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from fluxshard_setup.errors import SetupError

TAIL_LINES = 20
POLL_S = 0.2
GRACE_S = 10.0
SIGN_OF_LIFE_S = 20.0

# Settings of the calling shell that would lead pip, cmake or Python out of the virtual environment.
_LEAKS = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",  # set by a Python of another environment with ROS wheels
)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what leaks into a virtual environment."""
    kept = {name: value for name, value in os.environ.items() if name not in _LEAKS}
    return {**kept, "PIP_USER": "0", "PIP_NO_INPUT": "1", **(extra or {})}


class CommandLog:
    """Runs commands one after another; all their output goes to one log file."""

    def __init__(self, path: Path, terminal: TextIO) -> None:
        self._path = path
        self._terminal = terminal
        path.write_text("")

    def say(self, text: str) -> None:
        """Show ``text`` to whoever waits for the set-up."""
        print(f"      {text}", file=self._terminal, flush=True)

    def run(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Run ``command`` with ``env`` added; raise SetupError with the log's end if it fails."""
        words = [str(word) for word in command]
        with self._path.open("ab") as log:
            log.write(f"$ {shlex.join(words)}\n".encode())
            log.flush()
            status = self._wait(words, log.fileno(), clean_environment(env))
        if status != 0:
            raise SetupError(self._failure(words, status))

    def _wait(self, words: list[str], log: int, env: dict[str, str]) -> int:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env
            )
        except OSError as error:
            raise SetupError(f"cannot run {words[0]}: {error.strerror}") from error
        started = shown = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                if time.monotonic() - shown >= SIGN_OF_LIFE_S:
                    shown = time.monotonic()
                    self._show_life(shown - started)
        finally:
            _end(process)
        return process.returncode

    def _show_life(self, seconds: float) -> None:
        last = self._tail(1)
        doing = last[0].strip()[:80] if last else ""
        self.say(f"{seconds:.0f} s: {doing}")

    def _failure(self, words: list[str], status: int) -> str:
        lines = [f"this command ended with status {status}:", f"  {shlex.join(words)}"]
        lines += ["Its last lines:", *(f"  {line}" for line in self._tail(TAIL_LINES))]
        return "\n".join([*lines, f"The whole log: {self._path}"])

    def _tail(self, count: int) -> list[str]:
        text = self._path.read_text(errors="replace").replace("\r", "\n")
        return [line for line in text.splitlines() if line.strip()][-count:]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
