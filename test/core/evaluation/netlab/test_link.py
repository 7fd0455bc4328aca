"""The shaped link really has its rate, and leaves nothing behind; needs root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from fluxshard_core.evaluation.netlab import link as netlab_link
from fluxshard_core.evaluation.netlab.link import CLOUD_ADDRESS, NetlabError, ShapedLink

_SINK = """
import socket
server = socket.create_server(("10.213.77.2", 9999))
print("ready", flush=True)
peer, _ = server.accept()
while peer.recv(1 << 16):
    pass
"""
_SEND = """
import socket, sys, time
peer = socket.create_connection(("10.213.77.2", 9999))
block, started = bytes(1 << 16), time.monotonic()
for _ in range(int(sys.argv[1]) >> 16):
    peer.sendall(block)
peer.shutdown(socket.SHUT_WR)
peer.recv(1)
print(time.monotonic() - started)
"""


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        return False
    try:
        with ShapedLink(10.0):
            return True
    except NetlabError:
        return False


needs_namespaces = pytest.mark.skipif(
    not can_make_namespaces(), reason="network namespaces need root, iproute2 and the kernel's veth"
)


@needs_namespaces
def test_bytes_take_as_long_as_the_rate_says_and_the_rate_can_change() -> None:
    with ShapedLink(100.0) as link:
        seconds = []
        for mbit in (8.0, 32.0):
            link.shape(mbit)
            sink = subprocess.Popen(
                link.inside(link.cloud, sys.executable, "-c", _SINK),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert sink.stdout is not None
            assert sink.stdout.readline() == "ready\n"
            sender = link.inside(link.edge, sys.executable, "-c", _SEND, str(1 << 20))
            seconds.append(float(subprocess.check_output(sender, text=True)))
            assert sink.wait(10) == 0
        assert 0.9 < seconds[0] < 2.0, "a megabyte at 8 Mbit/s takes 1.05 s"
        assert 0.2 < seconds[1] < 0.8, "at 32 Mbit/s 0.26 s"
        assert CLOUD_ADDRESS.startswith("10.")
    assert link.edge not in namespaces()
    assert link.cloud not in namespaces()


@needs_namespaces
def test_nothing_is_left_behind_when_the_block_is_interrupted() -> None:
    link = ShapedLink(10.0)

    def interrupted() -> None:
        with link:
            assert link.edge in namespaces()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert link.edge not in namespaces()


def test_without_root_one_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlab_link.os, "geteuid", lambda: 1000)
    with pytest.raises(NetlabError, match="sudo"), ShapedLink(10.0):
        pass
