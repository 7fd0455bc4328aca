"""A one-place mailbox between a camera and a slower worker: the newest frame wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestSlot(Generic[Item]):
    """Holds at most one item; putting a second replaces the first and counts it as dropped."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were replaced before anyone took them."""
        with self._changed:
            return self._dropped

    def put(self, item: Item) -> None:
        """Leave ``item`` for the worker; ignored once closed."""
        with self._changed:
            if self._closed:
                return
            self._dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> Item | None:
        """Wait for an item and remove it; ``None`` when closed or out of time."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    def ready(self) -> bool:
        """Whether :meth:`take` would return at once."""
        with self._changed:
            return self._item is not None or self._closed

    def close(self) -> None:
        """Wake every waiting worker with ``None``, for good."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()
