"""`fluxshard demo` end to end: real processes, real DDS, real sockets.

``FLUXSHARD_AGREE_FRAMES`` sets for how many frames edge, TCP and DDS are compared (default 4; as
many as wanted of a small scene).
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import av
import psutil
import pytest
from click.testing import Result

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.evaluation.video_writer import VideoWriter

AGREE_FRAMES = int(os.environ.get("FLUXSHARD_AGREE_FRAMES", "4"))

# Several processes load a network each: a busy machine takes its time.
pytestmark = pytest.mark.timeout(300 + 3 * AGREE_FRAMES)

Demo = Callable[..., tuple[Result, Path]]
Lines = Callable[[Path], list[dict[str, Any]]]


def found(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = ("boxes", "class_ids", "scores", "masks")
    return [tuple(line.get(key) for key in keys) for line in lines]


@pytest.fixture
def small_scene(tmp_path: Path) -> Path:
    """A video of ``AGREE_FRAMES`` frames."""
    with VideoWriter(tmp_path / "scene.mp4", 10.0) as writer:
        for frame in GeneratedScene(height=192, width=256, count=AGREE_FRAMES):
            writer.write(frame.image)
    return tmp_path / "scene.mp4"


def test_both_sides_and_both_links_find_the_same(
    demo: Demo, read_lines: Lines, small_scene: Path
) -> None:
    runs = {
        "edge": {"path": "edge"},
        "tcp": {"path": "cloud", "transport": "tcp", "codec": "raw"},
        "dds": {"path": "cloud", "transport": "dds", "codec": "raw"},
    }
    results = {}
    for name, options in runs.items():
        result, out = demo(
            name,
            model="yolo11n-seg",
            video=small_scene,
            random_weights=True,
            whole_if_sooner=False,
            **options,
        )
        assert result.exit_code == 0, result.output
        lines = read_lines(out)
        side = "edge" if name == "edge" else "cloud"
        assert [line["path"] for line in lines] == [side] * AGREE_FRAMES
        results[name] = found(lines)
    assert any(boxes for boxes, *_ in results["edge"]), "nothing found: nothing compared"
    assert results["tcp"] == results["edge"]
    assert results["dds"] == results["edge"]


def test_auto_uses_both_sides_and_loses_no_frame(demo: Demo, read_lines: Lines) -> None:
    result, out = demo(model="yolo11n", random_weights=True, max_frames=14, path="auto")
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames_in"], summary["frames_out"], summary["frames_dropped"]) == (14, 14, 0)
    assert summary["frames_edge"] > 0
    assert summary["frames_cloud"] > 0
    assert summary["tx_bytes_per_frame"] > 0
    lines = read_lines(out)
    stamps = [(line["stamp"]["sec"], line["stamp"]["nanosec"]) for line in lines]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 14
    assert summary["detections"] == sum(len(line["boxes"]) for line in lines)
    with av.open(str(out / "annotated.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 14


def test_a_camera_faster_than_inference_drops_and_counts(demo: Demo) -> None:
    result, out = demo(model="yolo11n", random_weights=True, max_frames=40, path="edge", rate=200)
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames_dropped"] > 0
    assert summary["frames_out"] > 0
    assert summary["frames_out"] + summary["frames_dropped"] <= 40


@pytest.mark.weights
@pytest.mark.video
def test_a_real_video_plays_through_both_sides(
    demo: Demo, read_lines: Lines, fluxshard_home: Path
) -> None:
    video = fluxshard_home / "data" / "davis" / "soapbox" / "JPEGImages"
    result, out = demo(model="yolo11n-seg", video=video, path="auto")
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames_in"], summary["frames_out"]) == (50, 50)
    assert min(summary["frames_edge"], summary["frames_cloud"]) > 0
    lines = read_lines(out)
    assert sum("person" in line["classes"] for line in lines) > 40
    assert all(len(line["masks"]) == len(line["boxes"]) for line in lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video": "/nowhere/video.mp4", "random_weights": True}, "no such video"),
        ({"video": __file__, "random_weights": True}, "cannot read video"),
        ({"model": "/nowhere/yolo11n.safetensors"}, "no such file"),
        ({"model": "yolo11q", "random_weights": True}, "unknown model 'yolo11q'"),
    ],
)
def test_bad_input_is_one_clear_error(demo: Demo, options: dict[str, Any], message: str) -> None:
    result, _ = demo(max_frames=2, path="edge", **options)
    assert result.exit_code != 0
    assert message in str(result.exception) + result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    words = ["demo", "--random-weights", "--path", "cloud", "--out", str(tmp_path / "out")]
    program = "from fluxshard_core.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = monotonic() + 120
    children: list[psutil.Process] = []
    while len(children) < 3:  # cloud, edge, camera
        assert monotonic() < deadline
        assert run.poll() is None, run.stderr.read()
        sleep(0.1)
        children = psutil.Process(run.pid).children(recursive=True)
    os.kill(run.pid, number)
    run.wait(30)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    if number is not signal.SIGKILL:
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["frames_in"] >= 0
