"""A cloud process that dies, freezes or returns: the edge is never held up and finds it again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import ShardFrame
from fluxshard_core.offload.transport import LinkDown, LinkError, LinkTimeout

MakeFrame = Callable[..., ShardFrame]
Connect = Callable[..., TcpTransport]

# Frame 13 takes longer than any test, the others nothing.
CLOUD = """
import sys, time
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.server import InferenceServer

def handler(frame):
    if frame.number == 13:
        time.sleep(60)
    return InferenceResult(frame.session, frame.epoch, frame.number, frame.stamp_ns)

with InferenceServer(handler, port=int(sys.argv[1])) as server:
    print(server.port, flush=True)
    server.serve_forever()
"""


class Cloud:
    """A server process on one port that can be killed, frozen and started again."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLOUD, str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10.0)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A running cloud, gone at the end."""
    cloud = Cloud()
    yield cloud
    if cloud.process.poll() is None:
        cloud.kill()


def _infer_until_answered(transport: TcpTransport, frame: ShardFrame) -> None:
    deadline = time.monotonic() + 10.0
    while True:
        try:
            assert transport.infer(frame, 1.0).error == ""
            return
        except LinkError:
            assert time.monotonic() < deadline, "the cloud was not found again"
            time.sleep(0.02)


def test_a_cloud_killed_in_the_middle_of_a_frame_is_noticed_at_once_and_found_again(
    cloud: Cloud, connect: Connect, make_frame: MakeFrame
) -> None:
    transport = connect(cloud.port)
    assert transport.infer(make_frame(1), 5.0).error == ""
    killer = threading.Timer(0.2, cloud.process.kill)
    killer.start()
    begun = time.monotonic()
    with pytest.raises(LinkDown):
        transport.infer(make_frame(13), 30.0)
    assert time.monotonic() - begun < 2.0
    begun = time.monotonic()
    with pytest.raises(LinkDown):
        transport.infer(make_frame(14), 30.0)
    assert time.monotonic() - begun < 1.0
    cloud.kill()
    cloud.start()
    _infer_until_answered(transport, make_frame(15))


def test_a_frozen_cloud_costs_a_deadline_and_is_used_again_when_it_thaws(
    cloud: Cloud, connect: Connect, make_frame: MakeFrame
) -> None:
    transport = connect(cloud.port, silence_limit_s=0.2, first_retry_s=0.02)
    assert transport.infer(make_frame(1), 5.0).error == ""
    cloud.process.send_signal(signal.SIGSTOP)
    for number in range(2, 8):
        begun = time.monotonic()
        with pytest.raises((LinkTimeout, LinkDown)):
            transport.infer(make_frame(number), 0.1)
        assert time.monotonic() - begun < 1.0
    cloud.process.send_signal(signal.SIGCONT)
    _infer_until_answered(transport, make_frame(20))
