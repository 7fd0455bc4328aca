"""A cloud that computes frames whole gets no more pixels, and finds all the network finds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.cloud_service import CloudService
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.network import network_input
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import Transport
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.session import BackgroundConfig, EdgeSession, Engine, SessionConfig

SCENE = list(GeneratedScene(height=150, width=200, count=8))
# Random weights find weak objects everywhere: most of a frame would be sent.
RARELY_DUE = ReuseConfig(large=0.0, shape_confidence=1.0)
WHOLE = SessionConfig("cloud", 0.05, cloud_timeout_s=30.0, reuse=RARELY_DUE, cloud_compute="whole")
Link = Callable[[Engine], AbstractContextManager[Transport]]


def in_process(engine: Engine) -> AbstractContextManager[Transport]:
    return nullcontext(InProcessTransport(engine))


@contextmanager
def over_tcp(engine: Engine) -> Iterator[Transport]:
    with InferenceServer(CloudService(engine).handle) as server:
        yield TcpTransport("127.0.0.1", server.port)


def proxy(session: EdgeSession) -> np.ndarray:
    """What the cloud holds, as its last checksum proved."""
    return session._state.endpoint("cloud").view().reference.image


def share_sent(session: EdgeSession) -> float:
    """The share of blocks that the last frame brought."""
    return float(session._state._proposals["cloud"].pixels.mean())


def dense(engine: Engine, session: EdgeSession, image: np.ndarray) -> Detections:
    """What the network finds in the proxy, all of it computed and nothing remembered."""
    config, letterbox = session.config, engine.detector.preprocess(image)[1]
    network = engine.executor(letterbox.input_height, letterbox.input_width)
    run = network.execute(network_input(proxy(session)), network.scheduler.dense("expected"))
    found = engine.detector.decode(
        run.outputs, letterbox, confidence=config.decode_confidence, iou=config.iou
    )
    return found.above(config.confidence)


def check_same(one: Detections, two: Detections) -> None:
    for name in ("boxes", "scores", "class_ids"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("link", [in_process, over_tcp])
@pytest.mark.parametrize("codec", ["raw", "h264"])
def test_results_are_those_of_the_whole_network_on_the_pixels_the_cloud_holds(
    engine: Engine, cloud_engine: Engine, link: Link, codec: str
) -> None:
    shares = []
    with link(cloud_engine) as transport:
        session = EdgeSession(engine, replace(WHOLE, codec=codec), transport)
        for frame in SCENE:
            result = session.process(frame)
            assert (result.path, result.resyncs) == ("cloud", 0), result.fallback_reason
            assert (result.compute_ratio, result.reuse_ratio) == (1.0, 0.0)
            expected = dense(engine, session, frame.image)
            assert len(expected) > 0
            check_same(result.detections, expected)
            shares.append(share_sent(session))
        session.close()
    assert shares[0] == 1
    assert max(shares[1:]) < 1
    assert np.mean(shares[1:]) < 0.8


def test_what_is_computed_may_change_between_two_frames_and_sides(engine: Engine) -> None:
    session = EdgeSession(engine, WHOLE, InProcessTransport(engine))
    ways = ["whole", "whole", "critical", "edge", "whole", "critical", "critical", "whole"]
    for way, frame in zip(ways, SCENE, strict=True):
        path = "edge" if way == "edge" else "cloud"
        compute = "critical" if way == "critical" else "whole"
        session.config = replace(WHOLE, path=path, cloud_compute=compute)
        result = session.process(frame)
        assert (result.path, result.resyncs) == (path, 0), result.fallback_reason
        if path == "cloud":
            assert (result.compute_ratio == 1) == (way == "whole")
        if way == "whole":
            check_same(result.detections, dense(engine, session, frame.image))


@pytest.mark.parametrize("codec", ["raw", "h264"])
def test_background_work_brings_pixels_to_a_cloud_that_computes_frames_whole(
    engine: Engine, codec: str
) -> None:
    work = BackgroundConfig(cloud=True, piece_blocks=16, least_staleness=1.0, most_send_ms=1e4)
    config = replace(WHOLE, codec=codec, background=work)
    session = EdgeSession(engine, config, InProcessTransport(engine))
    sent = 0
    for frame in SCENE[:5]:
        result = session.process(frame)
        assert (result.path, result.resyncs) == ("cloud", 0), result.fallback_reason
        check_same(result.detections, dense(engine, session, frame.image))
        sent += result.background.cloud_blocks
        session.idle(lambda: False)
    assert sent > 0
