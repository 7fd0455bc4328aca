"""A link that is cut, stalls, or is only half there: every frame has its result, in time.

``FLUXSHARD_STALL_S`` sets how long the stall lasts (default 2; 30 for a long run).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

STALL_S = float(os.environ.get("FLUXSHARD_STALL_S", "2"))
DEADLINE_S = 0.4
MOST_DEADLINES = 4
CLIENT = {
    "first_retry_s": 0.02,
    "max_retry_s": 0.2,
    "silence_limit_s": 0.5,
    "connect_timeout_s": 0.5,
    "max_pause_s": 1.0,
}
Check = Callable[[list[dict[str, Any]]], None]


@pytest.fixture
def line(nursery: Any, lay_cable: Callable[[int], Any]) -> tuple[Any, Any, Any]:
    """A robot behind a cable, another one that has a cable of its own, and the first's cable."""
    _, port = nursery.cloud()
    cable = lay_cable(port)
    robot = nursery.robot(cable.port, timeout_s=DEADLINE_S, client=CLIENT)
    neighbour = nursery.robot(port, timeout_s=5.0, pause_s=0.02)
    robot.wait_for("cloud", 2)
    neighbour.wait_for("cloud", 2)
    return cable, robot, neighbour


@pytest.mark.parametrize(("fault", "lasts_s"), [("cut", 0.5), ("stall", STALL_S), ("swallow", 1.0)])
def test_the_edge_carries_on_and_the_cloud_is_used_again_when_the_link_is(
    line: tuple[Any, Any, Any], assert_right: Check, fault: str, lasts_s: float
) -> None:
    cable, robot, neighbour = line
    cable.set(fault)
    before = len(robot.frames())
    time.sleep(lasts_s)
    if sum(frame["path"] == "edge" for frame in robot.frames()[before:]) < 3:
        robot.wait_for("edge", 3)
    during = robot.frames()[before:]
    cable.set("pass")
    robot.wait_for("cloud", 2)
    frames = robot.finish()
    assert_right(frames)
    assert all(frame["path"] == "edge" for frame in during[2:])
    # A dead link costs a few deadlines until it is known to be dead, and then nothing.
    assert sum(frame["waited_s"] > DEADLINE_S / 2 for frame in during) <= MOST_DEADLINES
    assert max(frame["waited_s"] for frame in frames) < DEADLINE_S + 0.5
    others = neighbour.finish()
    assert_right(others)
    assert all(frame["path"] == "cloud" for frame in others), "another robot was disturbed"


def test_a_cloud_process_that_freezes_is_a_stall_too(nursery: Any, assert_right: Check) -> None:
    cloud, port = nursery.cloud()
    robot = nursery.robot(port, timeout_s=DEADLINE_S, client=CLIENT)
    robot.wait_for("cloud", 2)
    before = len(robot.frames())
    os.kill(cloud.pid, signal.SIGSTOP)
    robot.wait_for("edge", 10)
    os.kill(cloud.pid, signal.SIGCONT)
    robot.wait_for("cloud", 2)
    frames = robot.finish()
    assert_right(frames)
    assert sum(frame["waited_s"] > DEADLINE_S / 2 for frame in frames[before:]) <= MOST_DEADLINES
