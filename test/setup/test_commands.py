"""Commands of the set-up: failures are explained, the shell stays out, no child is left."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from fluxshard_setup.commands import CommandLog, clean_environment
from fluxshard_setup.errors import SetupError

TOOLS = Path(__file__).parents[2] / "tools"
RUN_FOREVER = """
import signal, sys
from pathlib import Path
from fluxshard_setup import commands
signal.signal(signal.SIGTERM, signal.default_int_handler)
commands.SIGN_OF_LIFE_S = 0.0
log = commands.CommandLog(Path(sys.argv[1]), sys.stdout)
log.run([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
"""


@pytest.fixture
def log(tmp_path: Path) -> CommandLog:
    return CommandLog(tmp_path / "step.log", io.StringIO())


def test_failure_names_the_command_its_last_lines_and_the_log(
    log: CommandLog, tmp_path: Path
) -> None:
    lines = "\n".join(f"line {number}" for number in range(100))
    with pytest.raises(SetupError) as failure:
        log.run([sys.executable, "-S", "-c", f"print({lines!r}); raise SystemExit(3)"])
    message = str(failure.value)
    assert "status 3" in message
    assert "line 99" in message
    assert "line 5\n" not in message
    assert str(tmp_path / "step.log") in message


def test_all_output_is_in_the_log(log: CommandLog, tmp_path: Path) -> None:
    log.run([sys.executable, "-S", "-c", "import sys; print('one'); print('two', file=sys.stderr)"])
    log.run([sys.executable, "-S", "-c", "print('three')"])
    text = (tmp_path / "step.log").read_text()
    assert all(word in text.splitlines() for word in ("one", "two", "three"))


def test_a_missing_program_is_named(log: CommandLog) -> None:
    with pytest.raises(SetupError, match="cannot run no-such-program"):
        log.run(["no-such-program"])


def test_settings_of_the_shell_do_not_reach_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/jazzy/lib/python3.12/site-packages")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    monkeypatch.setenv("KEPT", "yes")
    env = clean_environment({"ADDED": "too"})
    assert "PYTHONPATH" not in env
    assert "AMENT_PREFIX_PATH" not in env
    assert (env["KEPT"], env["ADDED"]) == ("yes", "too")


def test_a_terminated_set_up_takes_its_child_along(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", RUN_FOREVER, str(tmp_path / "step.log")],
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with parent:
        assert parent.stdout is not None
        assert b"0 s:" in parent.stdout.readline()  # it watches its child now
        (child,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGTERM)
        parent.communicate(timeout=20)
        assert not child.is_running()
