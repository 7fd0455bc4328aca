"""A shaped link: two network namespaces, a cable between them, a token bucket at each end."""

from __future__ import annotations

import os
import shutil
import subprocess

from fluxshard_core.closing import Closing
from fluxshard_core.errors import FluxShardError

EDGE_ADDRESS, CLOUD_ADDRESS = "10.213.77.1", "10.213.77.2"
_DEVICE = "shaped"
_QUEUE_MS = 100
"""How much may wait for the link before packets are dropped, as in a small access router."""
_MINIMUM_BURST_BYTES = 16_000
_BURST_S = 0.005
"""The bucket holds this much time at the rate: less, and the kernel's timer cannot keep up."""


class NetlabError(FluxShardError):
    """The link cannot be made or shaped."""


class ShapedLink(Closing):
    """The namespaces ``edge`` and ``cloud`` for as long as the block lasts, then nothing of them.

    Both directions have the same rate. Use as a context manager.

    :raises NetlabError: without root, without `ip` and `tc`, or where the kernel refuses.
    """

    def __init__(self, rate_mbit: float, delay_ms: float = 0.0) -> None:
        """``delay_ms`` is the round trip that distance adds, half of it each way."""
        self._rate_mbit = rate_mbit
        self._delay_ms = delay_ms
        self.edge, self.cloud = (f"fsnl-{os.getpid()}-{end}" for end in ("edge", "cloud"))

    def __enter__(self) -> ShapedLink:
        _check_tools()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def shape(self, rate_mbit: float) -> None:
        """Change the rate of both directions from now on."""
        self._rate_mbit = rate_mbit
        for name in (self.edge, self.cloud):
            self._limit(name, "change")

    @staticmethod
    def inside(namespace: str, *command: str) -> list[str]:
        """Return ``command`` as it is run in a namespace."""
        return ["ip", "netns", "exec", namespace, *command]

    def _build(self) -> None:
        for name in (self.edge, self.cloud):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        peer = "peer", "name", _DEVICE, "netns", self.cloud
        _run("ip", "link", "add", "name", _DEVICE, "netns", self.edge, "type", "veth", *peer)
        for name, address in ((self.edge, EDGE_ADDRESS), (self.cloud, CLOUD_ADDRESS)):
            _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", _DEVICE)
            _run("ip", "-n", name, "link", "set", _DEVICE, "up")
            self._limit(name, "add")
            if self._delay_ms:
                self._delay(name)

    def _limit(self, name: str, action: str) -> None:
        rate = self._rate_mbit * 1e6
        burst = max(_MINIMUM_BURST_BYTES, round(rate / 8 * _BURST_S))
        bucket = "rate", f"{rate:.0f}bit", "burst", f"{burst}b", "latency", f"{_QUEUE_MS}ms"
        place = "dev", _DEVICE, "root", "handle", "1:"
        _run("tc", "-n", name, "qdisc", action, *place, "tbf", *bucket)

    def _delay(self, name: str) -> None:
        place = "dev", _DEVICE, "parent", "1:1", "handle", "2:"
        wait = "netem", "delay", f"{self._delay_ms / 2:g}ms", "limit", "10000"
        try:
            _run("tc", "-n", name, "qdisc", "add", *place, *wait)
        except NetlabError as error:
            raise NetlabError(
                "this kernel cannot delay packets (it lacks sch_netem): load the module, or run "
                "without --delay"
            ) from error

    def close(self) -> None:
        """Take both namespaces down, and the cable with them."""
        for name in (self.edge, self.cloud):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _check_tools() -> None:
    if os.geteuid() != 0:
        raise NetlabError("network namespaces need root: run `sudo fluxshard netlab ...`")
    missing = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if missing:
        raise NetlabError(f"{' and '.join(missing)} not found: install iproute2")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetlabError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
