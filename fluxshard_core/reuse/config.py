"""Every knob of the reuse policy, with its unit and what it is there for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE


@dataclass(frozen=True)
class ReuseConfig:
    """What may stay slightly old. A difference is the mean absolute one of a block's pixels, all
    channels, in [0, 1].

    ``background_threshold``: difference above which a block outside objects is new content.
    ``new_reach``: pixels around new content that are recomputed with it: an object that enters
    brings its surroundings.
    ``fine_threshold``, ``deep_threshold``: difference above which a block on an object is
    recomputed, at levels of up to ``fine_stride`` pixels a cell and at deeper ones. The deeper say
    what and where the object is and cost less, so they get the lower threshold.
    ``fine_ease``, ``deep_ease`` are added to them for an object that the network is ``certain`` of
    and that is at least ``large`` pixels (root of its box's area); at a confidence of ``doubtful``
    nothing is added, in between a part. Small changes turn the class of a doubtful object. Nor is
    anything added where the box found has an IoU below ``agreement`` with where the motion had put
    it: the object turns, bends or is covered, and the cache no longer tells what it is.
    ``still_threshold`` takes the place of lower ones where the cached content lies exactly in its
    place: what is left there is mostly sensor noise.
    ``residual_share``: how far cached content on an object may lie off its place, as a share of
    the object's shorter side: what matters is the overlap that a box loses.
    ``reach``: pixels around a block recomputed on an object that are recomputed with it, whole
    blocks: features there see the change too. Those whose cached content lies exactly in its place
    are spared, unless the block changed by more than ``reach_threshold``.

    ``salience_threshold``: confidence from which a result, even one too weak to be published,
    keeps its surroundings fresh; without that an object whose confidence dips once is never seen
    again. Where it is below ``sure``, and so it was long enough, an object of at least ``large``
    pixels, which costs much, does so only every ``weak_interval`` frames: trust in it falls to
    ``trust_decay`` of itself a frame, not at once. ``persistence``: frames after it was last found
    that it still does. The surroundings reach ``margin`` of the box's shorter side beyond it, in
    pixels at least ``min_margin`` and at most ``max_margin``.

    ``head_smallest``, ``head_largest``: root of the area, in cells of a head, of the objects it
    is recomputed for, with ``head_reach`` cells around what changed and around their surroundings,
    but for the finest head: a head that reads fresh cells beside stale ones still says what was
    there before. ``shape_confidence``: that of the objects whose shapes are kept up to date,
    after ``shape_interval`` changes, or at the next one where the object's boxes have strayed from
    where the motion put them by ``shape_slip`` (1 - IoU, added up) since: what only shifts keeps
    its shape. Where it or the scene moves (the median of the vectors) by ``fast`` pixels a frame or
    more, limbs and boxes are not where the motion put them: there a shape is kept up to date at
    every change, and ``shape_reach`` times the larger motion, whole blocks, beyond the object.

    ``whole_motion``: pixels a frame that the scene moves from which a frame is computed whole while
    the class of an object of at least ``large`` pixels is ``contested`` that much or more
    (:class:`~fluxshard_core.reuse.contested.Contests`, in [0, 1]): moved features then tell least
    and turn it soonest.

    ``max_age``: frames after which a block is recomputed even if nothing changed there, to half as
    many more (:func:`~fluxshard_core.reuse.classifier.due_ages`).
    ``cut_share``: share of blocks with new content from which the scene was cut and nothing is
    worth keeping.

    :raises InputError: for a value that means nothing.
    """

    background_threshold: float = 0.1
    new_reach: int = 16
    fine_threshold: float = 0.0
    deep_threshold: float = 0.0
    fine_stride: int = 8
    fine_ease: float = 0.05
    deep_ease: float = 0.03
    doubtful: float = 0.6
    certain: float = 0.85
    large: float = 64.0
    agreement: float = 0.93
    still_threshold: float = 0.02
    residual_share: float = 0.05
    reach: int = 16
    reach_threshold: float = 0.04
    salience_threshold: float = 0.1
    sure: float = 0.3
    trust_decay: float = 0.85
    weak_interval: int = 3
    persistence: int = 4
    margin: float = 0.15
    min_margin: float = 16.0
    max_margin: float = 32.0
    head_smallest: float = 1.5
    head_largest: float = 8.0
    head_reach: int = 1
    shape_confidence: float = 0.25
    shape_interval: int = 5
    shape_slip: float = 0.1
    shape_reach: float = 2.0
    fast: float = 8.0
    whole_motion: float = 24.0
    contested: float = 0.5
    max_age: int = 240
    cut_share: float = 0.6

    def __post_init__(self) -> None:
        """Check each value alone and the two margins together."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise InputError(f"{field.name} is {value}; use a finite number from 0 on")
        for name in ("reach", "new_reach"):
            if getattr(self, name) % BLOCK_SIZE:
                raise InputError(
                    f"{name} is {getattr(self, name)} px; use a multiple of {BLOCK_SIZE}"
                )
        for name in ("max_age", "weak_interval", "shape_interval"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)} frames; use 1 or more")
        for name in ("trust_decay", "agreement"):
            if getattr(self, name) > 1:
                raise InputError(f"{name} is {getattr(self, name)}; use at most 1")
        if self.doubtful >= self.certain:
            raise InputError(f"doubtful is {self.doubtful}, not below certain {self.certain}")
        if self.min_margin > self.max_margin:
            raise InputError(
                f"min_margin is {self.min_margin} px, above max_margin {self.max_margin}"
            )
