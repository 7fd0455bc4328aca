"""Real nodes in real processes over real DDS, kept apart from everything else on this machine."""
# ruff: noqa: E402  # the skips must come before the imports they protect

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("fluxshard_msgs.msg", reason="the interface packages are not built")

from fluxshard_ros.dds_settings import apply_dds_settings

# Before rclpy starts: a domain of this test run's own, on this machine only.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
apply_dds_settings(local_only=True)

import rclpy
from click.testing import CliRunner, Result
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from fluxshard_ros.child_processes import ChildProcesses
from fluxshard_ros.demo import command as demo_command

PREFIX = "/fluxshard_test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ros)


class Observer(Node):
    """A node of the test: publishes, subscribes, and spins until something is seen."""

    def __init__(self) -> None:
        super().__init__("observer", namespace=PREFIX)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def collect(self, kind: type[Any], topic: str, profile: Any) -> list[Any]:
        """Subscribe and return the list that fills."""
        messages: list[Any] = []
        self.create_subscription(kind, topic, messages.append, profile)
        return messages

    def spin_too(self, node: Node) -> None:
        """Spin another node of this process beside this one."""
        self._executor.add_node(node)

    def spin_until(self, reached: Callable[[], Any], timeout_s: float = 60.0) -> None:
        """Spin until ``reached`` is true, or fail the test."""
        deadline = monotonic() + timeout_s
        while not reached():
            assert monotonic() < deadline, "waited in vain"
            self._executor.spin_once(timeout_sec=0.05)

    def spin_until_count(self, count: int, *collected: list[Any]) -> None:
        """Spin until every list holds ``count`` messages."""
        self.spin_until(lambda: all(len(messages) >= count for messages in collected))

    def spin_for(self, seconds: float) -> None:
        """Spin for a while."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def observer() -> Iterator[Observer]:
    rclpy.init()
    node = Observer()
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[ChildProcesses]:
    with ChildProcesses(tmp_path / "logs") as processes:
        yield processes


@pytest.fixture
def start_node(children: ChildProcesses, tmp_path: Path) -> Callable[..., None]:
    """Start a node of the package as a process, with parameters, in the test's namespace."""

    def start(name: str, **parameters: Any) -> None:
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        arguments = ["--ros-args", "-r", f"__ns:={PREFIX}", "--params-file", str(file)]
        children.start(name, f"fluxshard_ros.{name}", arguments)

    return start


@pytest.fixture
def log_of(tmp_path: Path) -> Callable[[str], str]:
    """What a started node has printed so far."""
    return lambda name: (tmp_path / "logs" / f"{name}.log").read_text()


@pytest.fixture
def demo(tmp_path: Path) -> Callable[..., tuple[Result, Path]]:
    """Run `fluxshard demo` with the given options; return what it printed and its folder."""

    def run(name: str = "demo", **options: object) -> tuple[Result, Path]:
        out = tmp_path / name
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        flags = [word.removesuffix("=True") for word in words]
        flags = [
            f"--no-{word[2:].removesuffix('=False')}" if word.endswith("=False") else word
            for word in flags
        ]
        return CliRunner().invoke(demo_command, [*flags, "--out", str(out)]), out

    return run


@pytest.fixture(scope="session")
def read_lines() -> Callable[[Path], list[dict[str, Any]]]:
    """Read detections.jsonl of a demo's folder."""
    return lambda out: [json.loads(line) for line in (out / "detections.jsonl").open()]
