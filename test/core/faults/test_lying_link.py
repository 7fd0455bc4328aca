"""Messages that arrive twice, late, out of order, cut or changed: every frame has its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

CLIENT = {"first_retry_s": 0.02, "max_retry_s": 0.1, "silence_limit_s": 1.0, "max_pause_s": 0.2}
Check = Callable[[list[dict[str, Any]]], None]


@pytest.mark.parametrize(
    ("lie", "counted"),
    [
        ("duplicate", "duplicate_answers"),
        ("swap", "late_answers"),
        ("truncate", "connections"),
        ("flip", None),
        ("duplicate-requests", None),
        ("truncate-requests", "connections"),
    ],
)
def test_every_frame_has_its_own_result_and_the_cloud_is_used_again_afterwards(
    nursery: Any,
    lay_cable: Callable[[int], Any],
    assert_right: Check,
    until: Callable[..., None],
    lie: str,
    counted: str | None,
) -> None:
    cloud, port = nursery.cloud()
    cable = lay_cable(port)
    cable.set(lie)
    robot = nursery.robot(cable.port, timeout_s=0.25, client=CLIENT)
    neighbour = nursery.robot(port, timeout_s=5.0, pause_s=0.02)
    neighbour.wait_for("cloud", 4)
    until(lambda: len(robot.frames()) >= 5, "five frames over the lying link")
    cable.set("cut")
    cable.set("pass")
    robot.wait_for("cloud", 2)
    frames = robot.finish()
    assert_right(frames)
    assert all(frame["path"] == "cloud" for frame in neighbour.finish())
    if counted:
        assert robot.said("counters")[0][counted] >= 2
    assert "Traceback" not in cloud.errors
