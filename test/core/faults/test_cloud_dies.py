"""A cloud that is killed again and again in the middle of a frame costs robots no frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

RESTARTS = 20
Check = Callable[[list[dict[str, Any]]], None]


def until_next_frame(cloud: Any) -> None:
    begun = len(cloud.said("begun"))
    while len(cloud.said("begun")) == begun:
        time.sleep(0.001)


def test_killed_in_the_middle_of_a_frame_and_restarted_twenty_times(
    nursery: Any, fleet: Any, assert_right: Check
) -> None:
    files = {name: str(fleet.folder / name) for name in ("cloud.crt", "cloud.key", "ca.crt")}
    of_cloud = [files["cloud.crt"], files["cloud.key"], files["ca.crt"], True]
    of_robots = [
        [files["ca.crt"], *(str(fleet.folder / f"robot-{name}.{end}") for end in ("crt", "key"))]
        for name in ("alice", "bob")
    ]
    settings = {"tls": of_cloud, "slow_s": 0.01}
    cloud, port = nursery.cloud(**settings)
    quick = {"first_retry_s": 0.02, "max_retry_s": 0.1, "silence_limit_s": 20.0}
    robots = [nursery.robot(port, tls=tls, client=quick, timeout_s=10.0) for tls in of_robots]
    for _ in range(RESTARTS):
        for robot in robots:
            robot.wait_for("cloud")
        until_next_frame(cloud)
        cloud.kill()
        cloud, _ = nursery.cloud(port, **settings)
    for robot in robots:
        robot.wait_for("cloud")
        frames = robot.finish()
        assert_right(frames)
        assert sum(frame["path"] == "edge" for frame in frames) >= RESTARTS // 2
        assert max(frame["waited_s"] for frame in frames) < 5.0, "nothing waited for its deadline"
    assert "Traceback" not in cloud.errors
