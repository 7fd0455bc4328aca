"""Every method of the lab is an edge session that runs; unknown ones are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.netlab.methods import METHODS, Specification
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.models.detections import Detections
from fluxshard_core.session import Engine


@pytest.fixture(scope="module")
def cloud(random_engine: Callable[[str], Engine]) -> Engine:
    return random_engine("yolo11n")


@pytest.mark.parametrize(
    "name", ["edge_only", "full_offload:h264", "coach", "fluxshard_cloud:jpeg"]
)
def test_a_method_sends_what_its_name_says(cloud: Engine, name: str) -> None:
    method = Specification.parse(name)
    transport = InProcessTransport(cloud) if method.needs_cloud else None
    runner = method.open(cloud, transport)
    picture = next(iter(GeneratedScene(height=64, width=96, count=1)))
    first, again = runner.process(picture), runner.process(picture)
    assert (first.path == "cloud") == (first.tx_bytes > 0) == method.needs_cloud
    assert (again.tx_bytes == 0) == (name in ("edge_only", "coach")), "coach repeats its result"


def test_a_session_that_is_told_what_is_in_a_frame_keeps_that_fresh(cloud: Engine) -> None:
    method = Specification.parse("fluxshard_edge")
    frames = list(GeneratedScene(height=256, width=384, count=3))
    box = np.array([[64, 64, 200, 160]], np.float32)
    there = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))
    told = [method.open(cloud, None, [found] * 3) for found in (there, Detections())]
    for frame in frames:
        with_object, without = (runner.process(frame) for runner in told)
    assert with_object.compute_ratio > without.compute_ratio


def test_a_session_with_random_weights_finds_about_as_many_objects_as_it_is_told_of(
    cloud: Engine,
) -> None:
    method = Specification.parse("fluxshard_edge")
    (frame,) = GeneratedScene(height=256, width=384, count=1)
    found = method.open(cloud, None).process(frame).detections
    assert len(found) >= 4
    half = Detections(*(part[::2] for part in (found.boxes, found.scores, found.class_ids)))
    told = method.open(cloud, None, [half]).process(frame).detections
    assert len(told) == len(half)


@pytest.mark.parametrize("text", ["roi", "full_offload:mp3", ""])
def test_what_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="choose"):
        Specification.parse(text)


def test_every_name_is_a_method() -> None:
    assert all(Specification.parse(name).config.path for name in METHODS)
