"""Who is connected to a server: places, one connection an identity, and counts of what happened."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.server_account import Account
from fluxshard_core.offload.server_config import ServerConfig

_MAX_ACCOUNTS: Final = 1024
"""Identities remembered; the one that connected longest ago is forgotten first."""

_log = logging.getLogger(__name__)


class NoPlaceError(FluxShardError):
    """The server has no place for another robot."""


class Peer(Protocol):
    """One connection as ``Peers`` sees it; ``identity`` is empty without a certificate."""

    identity: str
    proven: bool
    opened_s: float
    heard_s: float

    @property
    def busy(self) -> bool:
        """Whether the peer waits for the server."""
        ...

    def refuse(self, reason: str) -> None:
        """Tell the peer why, then close."""
        ...

    def drop(self, reason: str) -> None:
        """Close at once."""
        ...

    def close(self) -> None:
        """Close once everything written has left."""
        ...


@dataclass
class ServerStats:
    """Counts since the server started; ``connections`` and ``robots`` (admitted) are those now."""

    connections: int = 0
    robots: int = 0
    frames: int = 0
    errors: int = 0
    turned_away: int = 0
    failed_handshakes: int = 0
    replaced: int = 0


class Peers:
    """Lives on the server's event loop."""

    def __init__(self, config: ServerConfig) -> None:
        self.stats = ServerStats()
        self._config = config
        self._connected: set[Peer] = set()
        self._admitted: set[Peer] = set()
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connected)

    def everyone(self) -> list[Peer]:
        """Return all connections, admitted or not."""
        return list(self._connected)

    def join(self, peer: Peer) -> None:
        """Count a connection; :raises NoPlaceError: when too many only linger to be refused."""
        if len(self._connected) >= 2 * self._config.max_connections + self._config.max_handshakes:
            raise NoPlaceError("too many refused peers are still connected")
        self._connected.add(peer)
        self._count()

    def admit(self, peer: Peer, now_s: float) -> Account:
        """Give a peer a place, and return what its robot has used so far.

        Of two connections with one identity the newer wins: a robot that lost its link without a
        word must not be locked out by its own ghost. Where two robots share a certificate by
        mistake they take turns at the pace of their backoff, each working on its edge meanwhile.

        :raises NoPlaceError: when every place is taken.
        """
        self._replace(peer.identity)
        places = self._config.max_connections
        if len(self._admitted) >= places:
            self._evict_one_silent_peer(now_s)
        if len(self._admitted) >= places:
            raise NoPlaceError(f"all {places} connections of this server are taken")
        self._admitted.add(peer)
        self._count()
        return self._account(peer.identity)

    def give_up_place(self, peer: Peer) -> None:
        """Free the place of a peer that is refused but still connected."""
        self._admitted.discard(peer)
        self._count()

    def leave(self, peer: Peer) -> None:
        """Forget a connection that is lost."""
        self._connected.discard(peer)
        self.give_up_place(peer)

    def drop_idle(self, now_s: float) -> None:
        """Let go of peers that have sent nothing for too long."""
        longest_s = self._config.idle_timeout_s
        for peer in list(self._admitted):
            if not peer.busy and now_s - peer.heard_s > longest_s:
                peer.drop(f"it sent nothing for {longest_s:g} s")

    def _account(self, identity: str) -> Account:
        if not identity:
            return Account(identity, self._config)
        account = self._accounts.pop(identity, None) or Account(identity, self._config)
        self._accounts[identity] = account
        if len(self._accounts) > _MAX_ACCOUNTS:
            self._accounts.popitem(last=False)
        return account

    def _replace(self, identity: str) -> None:
        for other in list(self._admitted):
            if identity and other.identity == identity:
                self.stats.replaced += 1
                other.refuse(f"a newer connection of {identity} took the place of this one")

    def _evict_one_silent_peer(self, now_s: float) -> None:
        """A peer that has long been connected without one valid frame must not hold a place."""
        long_ago = now_s - self._config.peer_timeout_s
        for peer in self._admitted:
            if not peer.proven and peer.opened_s < long_ago:
                self.give_up_place(peer)
                peer.drop("it sent no frame and its place is needed")
                return

    def _count(self) -> None:
        self.stats.connections = len(self._connected)
        self.stats.robots = len(self._admitted)
