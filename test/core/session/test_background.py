"""Background work: it freshens both sides, gives way at once, and both ends go on agreeing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.cloud_service import CloudService
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.frame import Frame
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.criterion import block_difference
from fluxshard_core.session import BackgroundConfig, EdgeSession, Engine, SessionConfig

SCENE = list(GeneratedScene(height=150, width=200, count=12))
# However slow this machine is just now, a piece may be sent.
BOTH = BackgroundConfig(
    edge=True, cloud=True, piece_blocks=16, least_staleness=1.0, most_send_ms=1e4
)
# Random weights find weak objects everywhere: small ones too are left to background work, and no
# shapes are recomputed, so that frames are not computed whole.
RARELY_DUE = ReuseConfig(large=0.0, shape_confidence=1.0)


def config(path: str, **changes: object) -> SessionConfig:
    usual = SessionConfig(
        confidence=0.05,
        cloud_timeout_s=30.0,
        background=BOTH,
        whole_if_sooner=False,
        reuse=RARELY_DUE,
    )
    return replace(usual, path=path, **changes)


def never() -> bool:
    return False


def after(calls: int) -> Callable[[], bool]:
    """A next frame that arrives when it is asked for so many times."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def staleness(session: EdgeSession, side: str, image: np.ndarray) -> float:
    """How far the pixels that a side's features come from are from the last frame."""
    view = session._state.endpoint(side).view()
    seen = session.detector.preprocess(image)[0]
    return float(block_difference(seen, view.reference.image).mean())


def test_spare_cycles_bring_all_of_the_robot_up_to_date(engine: Engine) -> None:
    session = EdgeSession(engine, config("edge"))
    for frame in SCENE[:4]:
        result = session.process(frame)
    assert result.background.edge_blocks == 0
    before = staleness(session, "edge", frame.image)
    session.idle(never)
    assert staleness(session, "edge", frame.image) < 0.5 * before
    fresher = session.process(SCENE[4])
    assert fresher.background.edge_blocks > 0
    assert (fresher.background.cloud_blocks, fresher.background.tx_bytes) == (0, 0)
    assert session.process(SCENE[5]).background.edge_blocks == 0, "nobody was idle"


def test_a_frame_that_arrives_stops_the_work_after_one_operator(engine: Engine) -> None:
    session, other = (EdgeSession(engine, config("edge")) for _ in range(2))
    for frame in SCENE[:3]:
        session.process(frame)
        other.process(frame)
    session.idle(after(5))
    stopped = session.process(SCENE[3])
    assert stopped.background.edge_blocks == 0, "what did not end counts for nothing"
    # Neither whole nor anything left over of the piece.
    assert stopped.dense_reason == other.process(SCENE[3]).dense_reason == ""
    assert session._background._edge._proposal is None


def test_the_robot_gets_ready_to_take_over_while_the_cloud_infers(engine: Engine) -> None:
    session = EdgeSession(engine, config("cloud"), InProcessTransport(engine))
    for frame in SCENE[:3]:
        assert session.process(frame).path == "cloud"
        session.idle(never)
    session.config = config("edge")
    took_over = session.process(SCENE[3])
    assert took_over.dense_reason == ""
    assert took_over.compute_ratio < 1


@pytest.mark.parametrize("steps", [3, 60])
def test_a_piece_that_rests_is_ended_before_the_robot_needs_its_features(
    engine: Engine, steps: int
) -> None:
    session = EdgeSession(engine, config("cloud"), InProcessTransport(engine))
    for frame in SCENE[:4]:
        session.process(frame)
        session.idle(after(steps))
    session.config = config("edge")
    taken_over = session.process(SCENE[4])
    assert session._background._edge._proposal is None
    assert len(taken_over.detections) > 0
    # A first, whole pass that rested is dropped: this frame was going to be whole anyway.
    assert bool(taken_over.dense_reason) == (steps < 20)
    assert session.process(SCENE[5]).dense_reason == ""


@pytest.mark.parametrize("codec", ["raw", "webp", "h264"])
def test_spare_bandwidth_keeps_the_cloud_up_to_date_and_both_agree(
    engine: Engine, cloud_engine: Engine, codec: str
) -> None:
    with InferenceServer(CloudService(cloud_engine).handle) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(engine, config("cloud", codec=codec), transport) as session:
            sent, moved = 0, []
            # Content coded anew may differ from itself; fresh blocks gain six times as much here.
            recoded = 0.0 if codec == "raw" else 5e-4
            for number, frame in enumerate(SCENE):
                path = "edge" if number % 4 in (1, 2) else "cloud"
                session.config = replace(session.config, path=path)
                result = session.process(frame)
                assert (result.path, result.resyncs) == (path, 0), result.fallback_reason
                sent += result.background.cloud_blocks
                before = staleness(session, "cloud", frame.image)
                session.config = replace(session.config, path="auto")
                session.idle(after(300))
                moved.append(staleness(session, "cloud", frame.image) <= before + recoded)
    assert sent > 0
    assert all(moved)


def test_a_cloud_that_stalls_on_background_work_costs_one_frame_on_the_edge(
    engine: Engine, cloud_engine: Engine
) -> None:
    service = CloudService(cloud_engine)
    stalled, goes_on = threading.Event(), threading.Event()

    def stalling(frame: ShardFrame) -> InferenceResult:
        if frame.background and not stalled.is_set():
            stalled.set()
            goes_on.wait(30.0)
        return service.handle(frame)

    with InferenceServer(stalling) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(engine, config("cloud"), transport) as session:
            for frame in SCENE[:2]:
                assert session.process(frame).path == "cloud"
            session.idle(stalled.is_set)
            session.config = config("cloud", cloud_timeout_s=0.5)
            late = session.process(SCENE[2])
            assert (late.path, late.resyncs) == ("edge", 1)
            goes_on.set()
            session.config = config("cloud")
            again = session.process(SCENE[3])
            assert (again.path, again.resyncs, again.dense_reason) == ("cloud", 1, "first frame")


def test_without_a_frame_or_without_leave_nothing_is_done(engine: Engine) -> None:
    session = EdgeSession(engine, config("edge"))
    session.idle(never)
    session = EdgeSession(engine, config("edge", background=BackgroundConfig()))
    session.process(Frame(SCENE[0].image))
    session.idle(never)
    assert session.process(SCENE[1]).background.edge_blocks == 0
