"""WholeFrames: when to compute a frame whole instead of its critical blocks."""

from __future__ import annotations

from fluxshard_core.offload.side_cost import SideCost

SOONER_WHOLE = "sooner whole than in tiles"

_PROBE_SHARE = 0.02
_REST = 20


class WholeFrames:
    """Decides for each frame of one side, from what its frames took, and goes on measuring both.

    Tiles of a small network may cost more calls than they save arithmetic, and a whole frame loses
    nothing: it may take ``worth_ms`` more, 0 for the sooner way. The way not taken is
    tried again after ``_REST`` frames, out of a budget of ``_PROBE_SHARE`` of the time spent, so
    that measuring never costs more than that. A whole frame needs no motion: while whole ones are
    sooner and no trial is due, ``rests`` says that nothing need be followed.
    """

    def __init__(self, cost: SideCost, worth_ms: float = 0.0) -> None:
        self.cost = cost
        self._worth_ms = worth_ms
        self.rests = False
        self._followed = True
        self._since = {"whole": 0, "tiles": 0}
        self._better = self._chosen = "tiles"
        self._extra_ms = self._budget_ms = 0.0

    def better(self, ratio: float) -> bool:
        """Return whether a frame whose critical blocks make ``ratio`` is better computed whole."""
        whole_ms = self.cost.frame_ms(1.0, dense=True)
        tiles_ms = self.cost.frame_ms(ratio, dense=False)
        if whole_ms is None or tiles_ms is None:
            self._extra_ms = 0.0
            return False
        self._extra_ms = abs(whole_ms - tiles_ms)
        return whole_ms < tiles_ms + self._worth_ms

    def choose(self, ratio: float) -> bool:
        """Return whether to compute such a frame whole, as the better way or to measure it."""
        self._better = "whole" if self.better(ratio) else "tiles"
        if self._always_worth_it:
            tries = False
        elif self._better == "tiles":
            tries = self._due(self._since["whole"]) or self.cost.wants_whole
        else:
            tries = self._due(self._since["tiles"]) and self._followed
        other = "whole" if self._better == "tiles" else "tiles"
        self._chosen = other if tries else self._better
        return self._chosen == "whole"

    def took(self, whole: bool, spent_ms: float) -> None:
        """Count a frame of this side, ``whole`` for whatever reason; ``cost`` has learned of it."""
        way = "whole" if whole else "tiles"
        self._budget_ms += _PROBE_SHARE * spent_ms
        if way == self._chosen != self._better:
            self._budget_ms -= self._extra_ms
        for one in self._since:
            self._since[one] = 0 if one == way else self._since[one] + 1
        self._chosen = self._better
        self._followed = not self.rests
        # Awake for the frame before a trial: what moves between the two has to be seen.
        self.rests = whole and self._better == "whole" and not self._due(self._since["tiles"] + 1)

    @property
    def _always_worth_it(self) -> bool:
        """Whether whole frames are better however little tiles take."""
        whole_ms = self.cost.frame_ms(1.0, dense=True)
        return self._better == "whole" and whole_ms is not None and whole_ms <= self._worth_ms

    def _due(self, since: int) -> bool:
        return since >= _REST and self._budget_ms >= self._extra_ms
