"""`ros2 launch`: the launch file's arguments, and both nodes really started by it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sensor_msgs.msg import Image

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_msgs.msg import FrameStats
from fluxshard_ros.image_conversion import message_of_rgb
from fluxshard_ros.qos import CAMERA, RESULTS
from fluxshard_ros.stamps import header_of

launch = pytest.importorskip("launch", reason="launch is not installed (it is not on PyPI)")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on PyPI)")

pytestmark = pytest.mark.timeout(300)

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "fluxshard.launch.py"
# A shell's background job may leave SIGINT ignored, and children inherit that.
LAUNCH = (
    "import signal, os, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def test_every_argument_is_described_and_choices_are_checked() -> None:
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    description = source.get_launch_description(launch.LaunchContext())
    arguments = {a.name: a for a in description.get_launch_arguments()}
    assert all(len(a.description) > 10 for a in arguments.values())
    assert arguments["role"].choices == ["edge", "cloud", "both"]
    assert arguments["path"].choices == ["edge", "cloud", "auto"]
    assert arguments["transport"].choices == ["tcp", "dds", "none"]


@pytest.mark.skipif(shutil.which("ros2") is None, reason="ros2cli is not installed (not on PyPI)")
@pytest.mark.parametrize("transport", ["tcp", "dds"])
def test_launch_starts_both_nodes_and_stops_them(
    observer: Any, tmp_path: Path, transport: str
) -> None:
    config = tmp_path / "node.yaml"
    config.write_text(
        yaml.safe_dump({"/**": {"ros__parameters": {"random_seed": 0, "threads": 1}}})
    )
    port = 20000 + os.getpid() % 10000
    words = [
        f"namespace:={observer.get_namespace()}",
        f"edge_config:={config}",
        f"cloud_config:={config}",
        f"transport:={transport}",
        "path:=cloud",
        "image:=camera/image_raw",
        f"cloud_port:={port}",
    ]
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    camera = observer.create_publisher(Image, "camera/image_raw", CAMERA)
    command = ["ros2", "launch", "fluxshard", "fluxshard.launch.py", *words]
    with (tmp_path / "launch.log").open("wb") as log:
        run = subprocess.Popen([sys.executable, "-c", LAUNCH, *command], stdout=log, stderr=log)
    try:
        observer.spin_until(lambda: camera.get_subscription_count() == 1)
        scene = GeneratedScene(height=160, width=224, count=1).render(0)
        for number in range(100):
            camera.publish(message_of_rgb(scene, header_of(number, "camera")))
            observer.spin_until_count(number + 1, stats)
            if stats[-1].path == FrameStats.PATH_CLOUD:
                break
            observer.spin_for(0.2)
        assert stats[-1].path == FrameStats.PATH_CLOUD
    finally:
        run.send_signal(signal.SIGINT)
        status = run.wait(30)
    assert status == 0, (tmp_path / "launch.log").read_text()
    assert "Traceback" not in (tmp_path / "launch.log").read_text()
