"""A cloud that computes frames whole finds all the network finds in the pixels it was sent."""

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
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import Transport
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.criterion import block_difference
from fluxshard_core.session import BackgroundConfig, EdgeSession, Engine, SessionConfig
from fluxshard_core.session.config import Profiles
from fluxshard_core.session.endpoint import Extent
from fluxshard_core.session.placement import WORTH_MS, Placement
from fluxshard_core.session.robot_state import RobotState

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
@pytest.mark.parametrize("codec", ["raw", "webp", "h264"])
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
    if codec == "h264":
        assert min(shares) == 1, "a stream shows all of the frame"
    else:
        assert max(shares[1:]) < 1
        assert np.mean(shares[1:]) < 0.8


def test_a_stream_shows_coarsely_what_is_not_critical(engine: Engine) -> None:
    session = EdgeSession(engine, replace(WHOLE, codec="h264"), InProcessTransport(engine))
    apart: dict[bool, list[float]] = {False: [], True: []}
    for frame in SCENE:
        session.process(frame)
        image = engine.detector.preprocess(frame.image)[0]
        important = session._state._proposals["cloud"].important
        lost = block_difference(image, proxy(session))
        if not important.all():
            for critical, blocks in apart.items():
                blocks.extend(lost[important == critical])
    assert 0 < np.mean(apart[True]) < np.mean(apart[False])


@pytest.mark.parametrize(
    ("compute", "codec", "whole_ms", "expected"),
    [
        ("auto", "raw", 1.0, Extent.CRITICAL),
        ("auto", "h264", 1.0, Extent.STREAM),
        ("auto", "jpeg", 1.0, Extent.WHOLE),
        ("auto", "auto", 1.0, Extent.WHOLE),
        ("auto", "h264", 5.0 + WORTH_MS, Extent.STREAM),
        ("auto", "h264", 100.0, Extent.CRITICAL),
        ("critical", "h264", 1.0, Extent.CRITICAL),
        ("whole", "raw", 1e3, Extent.WHOLE),
        ("whole", "h264", 1e3, Extent.STREAM),
    ],
)
def test_by_itself_a_cloud_computes_whole_what_is_lossy_where_it_needs_hardly_longer(
    engine: Engine, compute: str, codec: str, whole_ms: float, expected: Extent
) -> None:
    def costs(dense_ms: float) -> LatencyProfile:
        return LatencyProfile(
            "any", "0" * 64, (64, 96), "any", 1, (0.1, 1.0), (6.0, 60.0), dense_ms
        )

    config = SessionConfig(
        "cloud", codec=codec, cloud_compute=compute, profiles=Profiles(costs(60.0), costs(whole_ms))
    )
    placement = Placement(None, config)
    state = RobotState(engine, (64, 96), config)
    image = np.zeros((64, 96, 3), dtype=np.uint8)
    state.follow(image)
    proposal = replace(state.propose("cloud", image, None), critical_ratio=0.1)
    assert placement.extent(config, proposal) is expected


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


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
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
