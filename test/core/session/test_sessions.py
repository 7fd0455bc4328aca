"""Sessions: both ends find the same, the edge finishes what the cloud does not, errors are said."""

import time
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.cloud_service import CloudService
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.reuse import shipped
from fluxshard_core.reuse.calibration import Found, Measured
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import MotionBin, ReuseProfile
from fluxshard_core.session import CloudSession, EdgeSession, Engine, SessionConfig
from fluxshard_core.session.config import BackgroundConfig, Profiles

SCENE = GeneratedScene(height=150, width=200, count=4)


def config(path: str, **changes: object) -> SessionConfig:
    """What a session computes must not depend on how fast this machine happens to be."""
    usual = SessionConfig(confidence=0.05, cloud_timeout_s=30.0, whole_if_sooner=False)
    return replace(usual, path=path, **changes)


def same(one: Detections, two: Detections) -> bool:
    arrays = all(
        np.array_equal(getattr(one, name), getattr(two, name))
        for name in ("boxes", "scores", "class_ids")
    )
    pairs = zip(one.masks or (), two.masks or (), strict=True)
    return arrays and all(np.array_equal(a.unpack(), b.unpack()) for a, b in pairs)


def request(detector: Detector, image: np.ndarray) -> ShardFrame:
    net_input, letterbox = detector.preprocess(image)
    shards = shard_codec.encode(net_input, shard_codec.all_blocks(*net_input.shape[:2]))
    return ShardFrame("robot", 0, 0, 0, detector.model_hash, letterbox, 0.05, 0.7, shards)


@pytest.mark.parametrize("reuse", [ReuseConfig(), None], ids=["reuse", "dense"])
def test_edge_and_cloud_find_the_same(
    engine: Engine, reuse: ReuseConfig | None, cloud_engine: Engine
) -> None:
    with InferenceServer(CloudService(cloud_engine).handle) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        local = EdgeSession(engine, config("edge", reuse=reuse))
        with EdgeSession(engine, config("cloud", reuse=reuse), transport) as remote:
            ratios = []
            for frame in GeneratedScene(height=150, width=200, count=12):
                here, there = local.process(frame), remote.process(frame)
                assert (here.path, there.path) == ("edge", "cloud"), there.fallback_reason
                assert same(here.detections, there.detections)
                assert len(here.detections) > 0
                assert here.compute_ratio == there.compute_ratio
                assert there.tx_bytes > 0
                assert here.tx_bytes == 0
                assert {"preprocess", "motion", "encode", "cloud.infer"} <= set(there.stage_ms)
                ratios.append(here.compute_ratio)
    assert ratios[0] == 1
    assert (min(ratios) < 0.9) == (reuse is not None)


@pytest.mark.parametrize("codec", ["jpeg", "webp", "h264"])
def test_both_ends_agree_on_the_proxy_under_every_codec(engine: Engine, codec: str) -> None:
    transport = InProcessTransport(engine)
    with EdgeSession(engine, config("cloud", codec=codec), transport) as session:
        for frame in GeneratedScene(height=150, width=200, count=12):
            result = session.process(frame)
            assert (result.path, result.resyncs) == ("cloud", 0), result.fallback_reason
    assert result.tx_bytes < 150 * 200 * 3 / 2


class DamagedOnce(InProcessTransport):
    """Flips a pixel of the cloud's input on the way to it, once."""

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        if frame.number == 2:
            payload = frame.shards.payload.copy()
            payload[5] ^= 1
            frame = replace(frame, shards=replace(frame.shards, payload=payload))
        return super().infer(frame, timeout_s)


def test_an_answer_made_from_other_pixels_is_not_believed(engine: Engine) -> None:
    scene = GeneratedScene(height=150, width=200, count=5)
    local = EdgeSession(engine, config("edge", reuse=None))
    session = EdgeSession(engine, config("cloud", reuse=None), DamagedOnce(engine))
    results = []
    for frame in scene:
        results.append(session.process(frame))
        assert same(results[-1].detections, local.process(frame).detections)
    assert [result.path for result in results] == ["cloud", "cloud", "edge", "cloud", "cloud"]
    assert "other pixels" in results[2].fallback_reason
    assert results[-1].resyncs == 1


def test_a_cloud_that_was_restarted_gets_one_dense_frame(engine: Engine) -> None:
    transport = InProcessTransport(engine)
    session = EdgeSession(engine, config("cloud"), transport)
    paths = []
    for number, frame in enumerate(GeneratedScene(height=150, width=200, count=6)):
        if number == 3:
            transport.restart()
        paths.append(session.process(frame).path)
    assert paths == ["cloud", "cloud", "cloud", "edge", "cloud", "cloud"]


@pytest.mark.parametrize("path", ["edge", "cloud"])
def test_nothing_is_left_of_what_was_before_a_cut(engine: Engine, path: str) -> None:
    before = GeneratedScene(height=150, width=200, count=6, seed=6, pan=7.0)
    scene = GeneratedScene(height=150, width=200, count=8, seed=8)
    after = [replace(frame, image=255 - frame.image) for frame in scene]

    # The surest of what random weights find: not everything is full of objects.
    few = config(path, confidence=0.25, weak_results=False)

    def session() -> EdgeSession:
        return EdgeSession(engine, few, InProcessTransport(engine))

    cut, fresh = session(), session()
    for frame in before:
        cut.process(frame)
    for number, frame in enumerate(after):
        one, two = cut.process(frame), fresh.process(frame)
        assert (one.compute_ratio == 1) == (number == 0)
        assert one.compute_ratio == two.compute_ratio, number
        assert same(one.detections, two.detections)
        assert len(one.detections) > 0


def test_a_fast_scene_of_contested_objects_is_inferred_as_without_reuse_on_both_sides(
    engine: Engine,
) -> None:
    scene = GeneratedScene(height=150, width=200, count=5, pan=7.0)
    fast = ReuseConfig(whole_motion=4.0, large=16.0)
    dense = EdgeSession(engine, config("edge", reuse=None))
    here = EdgeSession(engine, config("edge", reuse=fast))
    there = EdgeSession(engine, config("cloud", reuse=fast), InProcessTransport(engine))
    for frame in scene:
        expected = dense.process(frame).detections
        for session in (here, there):
            result = session.process(frame)
            assert not result.fallback_reason
            assert result.compute_ratio == 1, frame.number
            assert same(result.detections, expected)


def test_after_a_pause_the_cloud_is_sent_what_it_missed(engine: Engine) -> None:
    """The edge runs some frames of its own; the cloud's proxy then catches up without a resync."""
    transport = InProcessTransport(engine)
    session = EdgeSession(engine, config("cloud"), transport)
    paths = []
    for number, frame in enumerate(GeneratedScene(height=150, width=200, count=12)):
        path = "edge" if number % 6 in (2, 3, 4) else "cloud"
        session.config = replace(session.config, path=path)
        result = session.process(frame)
        assert result.path == path, result.fallback_reason
        assert result.resyncs == 0
        paths.append((result.path, result.dense_reason))
    assert paths[2] == ("edge", "first frame")
    assert ("cloud", "first frame") not in paths[1:]


def test_the_edge_finishes_the_frame_when_nobody_answers(
    engine: Engine, cloud_engine: Engine
) -> None:
    frame = SCENE.render(0)
    with InferenceServer(CloudService(cloud_engine).handle) as server:
        port = server.port
    expected = EdgeSession(engine, config("edge")).process(Frame(frame)).detections
    with EdgeSession(engine, config("cloud"), TcpTransport("127.0.0.1", port)) as session:
        result = session.process(Frame(frame))
    assert (result.path, bool(result.fallback_reason)) == ("edge", True)
    assert same(result.detections, expected)


def test_the_edge_finishes_the_frame_when_the_answer_is_late(engine: Engine) -> None:
    def slow(frame: ShardFrame) -> InferenceResult:
        time.sleep(0.5)
        return InferenceResult.failure(frame, "too late to matter")

    with InferenceServer(slow) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(engine, config("cloud", cloud_timeout_s=0.1), transport) as session:
            result = session.process(Frame(SCENE.render(0)))
    assert result.path == "edge"
    assert "100 ms" in result.fallback_reason
    assert len(result.detections) > 0


def test_a_cloud_that_fails_says_why_and_the_edge_finishes(engine: Engine) -> None:
    other = Detector.load("yolo11n-seg", random_seed=1)
    with InferenceServer(CloudService(other).handle) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(engine, config("cloud"), transport) as session:
            result = session.process(Frame(SCENE.render(0)))
    assert result.path == "edge"
    assert "same model and weights" in result.fallback_reason


def test_results_follow_their_frames(engine: Engine) -> None:
    session = EdgeSession(engine, config("edge"))
    sizes = [(150, 200), (97, 131), (150, 200)]
    for number, (height, width) in enumerate(sizes):
        image = GeneratedScene(height=height, width=width, count=1).render(0)
        result = session.process(Frame(image, stamp_ns=number * 7, frame_id="left"))
        assert (result.number, result.stamp_ns, result.frame_id) == (number, number * 7, "left")
        assert (result.detections.boxes[:, 2] <= width).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "moon"},
        {"confidence": 1.5},
        {"iou": -0.1},
        {"cloud_timeout_s": 0.0},
        {"cloud_compute": "dense"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SessionConfig(**wrong)


def test_a_cloud_path_needs_a_transport(engine: Engine) -> None:
    with pytest.raises(InputError, match="no transport"):
        EdgeSession(engine, config("cloud"))


def test_an_epoch_must_start_with_a_dense_frame(engine: Engine) -> None:
    image = SCENE.render(0)
    whole = request(engine.detector, image)
    sparse = replace(whole, number=1, critical={2: np.ones((10, 14), dtype=bool)})
    session = CloudSession(engine)
    with pytest.raises(InputError, match="first frame must bring every block"):
        session.process(sparse)
    session.process(whole)
    with pytest.raises(InputError, match="epoch 1"):
        session.process(replace(sparse, epoch=1))
    with pytest.raises(InputError, match="came after"):
        session.process(replace(sparse, number=0))


def test_a_full_cloud_refuses_new_robots_until_one_falls_silent(engine: Engine) -> None:
    frame = request(engine.detector, SCENE.render(0))
    CloudService(engine).handle(frame)  # what is captured once must not count as silence
    service = CloudService(engine, max_sessions=2, idle_s=1.0)

    def ask(robot: str) -> str:
        return service.handle(replace(frame, session=robot)).error

    assert [ask("a"), ask("b")] == ["", ""]
    assert "already serves 2 robots" in ask("c")
    last_of_a = time.monotonic()
    assert ask("a") == "", "those served go on"
    while refused := ask("c"):
        assert "already serves 2 robots" in refused
        assert ask("b") == "", "who goes on asking is served"
        assert time.monotonic() - last_of_a < 30.0
        time.sleep(0.05)
    assert time.monotonic() - last_of_a >= 1.0, "a's place was free too soon"
    assert "already serves 2 robots" in ask("a")


def profile(detector: Detector, milliseconds: float) -> LatencyProfile:
    return LatencyProfile(
        str(detector.name),
        detector.model_hash,
        (160, 224),
        "none",
        1,
        (0.1, 1.0),
        (milliseconds, 2 * milliseconds),
        2 * milliseconds,
    )


def test_profiles_place_frames_and_both_expectations_are_told(
    engine: Engine, cloud_engine: Engine
) -> None:
    slow, fast = profile(engine.detector, 1e5), profile(engine.detector, 1e-3)
    scene = list(GeneratedScene(height=150, width=200, count=5))
    for edge, cloud, side in ((slow, fast, "cloud"), (fast, slow, "edge")):
        configured = config("auto", codec="auto", profiles=Profiles(edge, cloud))
        with InferenceServer(CloudService(cloud_engine).handle) as server:
            transport = TcpTransport("127.0.0.1", server.port)
            with EdgeSession(engine, configured, transport) as session:
                for frame in scene:
                    result = session.process(frame)
                    assert result.path == side, result.fallback_reason
                    assert result.decision.edge_ms > 0
                    assert result.decision.cloud_ms > 0
                    assert result.realised_ms > 0


@pytest.mark.parametrize("probe", [True, False])
def test_a_link_that_became_fast_brings_frames_back_to_the_cloud(
    engine: Engine, cloud_engine: Engine, probe: bool
) -> None:
    """The robot would need minutes a frame, and believes that the link takes seconds for a byte."""
    profiles = Profiles(profile(engine.detector, 1e6), profile(engine.detector, 1e-3))
    background = BackgroundConfig(probe=probe)
    configured = config("auto", profiles=profiles, background=background)
    with InferenceServer(CloudService(cloud_engine).handle) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(engine, configured, transport) as session:
            session._link.bandwidth.add_transfer(10_000, 1e5, time.monotonic())
            frames = cycle(GeneratedScene(height=150, width=200, count=5))
            assert session.process(next(frames)).path == "edge"
            until = time.monotonic() + (20.0 if probe else 1.0)
            while time.monotonic() < until:
                side = session.process(next(frames)).path
                if side == "cloud":
                    break
    assert side == ("cloud" if probe else "edge")


def nothing_kept(engine: Engine) -> ReuseProfile:
    """A profile for the engine's model by which every frame is computed whole."""
    name, model_hash = str(engine.detector.name), engine.detector.model_hash
    policy = ReuseConfig(background_threshold=0.0, new_reach=0)
    bins = (MotionBin(0, (), Found(policy, Measured(1.0, 0.0, 1.0), ())),)
    return ReuseProfile(name, model_hash, (160, 224), 0.03, 0, "", "", bins)


def test_a_reuse_profile_takes_the_place_of_the_policy(engine: Engine) -> None:
    calibrated = nothing_kept(engine)
    still = [Frame(SCENE.render(0)), Frame(SCENE.render(0) ^ 1), Frame(SCENE.render(0))]
    usual = [EdgeSession(engine, config("edge")).process(frame) for frame in still[:1]]
    session = EdgeSession(engine, config("edge", reuse_profile=calibrated))
    results = [session.process(frame) for frame in still]
    assert results[2].compute_ratio == usual[0].compute_ratio == 1.0
    other = replace(calibrated, model_hash="0" * 64)
    with pytest.raises(InputError, match="calibrate it"):
        EdgeSession(engine, config("edge", reuse_profile=other))


@pytest.mark.parametrize(
    ("changes", "whole"),
    [
        ({}, True),
        ({"reuse_profile": None}, False),
        ({"reuse": ReuseConfig(max_age=300)}, False),
    ],
    ids=["by default", "switched off", "own policy"],
)
def test_the_shipped_profile_of_the_model_takes_the_place_of_the_default_policy(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    whole: bool,
) -> None:
    calibrated = nothing_kept(engine)
    monkeypatch.setattr(shipped, "PROFILES", tmp_path)
    shipped.shipped_profile.cache_clear()
    calibrated.save(tmp_path / shipped.file_name(calibrated.model, calibrated.model_hash))
    session = EdgeSession(engine, config("edge", **changes))
    results = [session.process(Frame(SCENE.render(0) ^ bit)) for bit in (0, 1)]
    shipped.shipped_profile.cache_clear()
    assert (results[1].compute_ratio == 1.0) == whole
