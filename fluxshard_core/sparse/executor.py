"""Executor: runs a network on one frame after another, recomputing only what must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.remap import FeatureRemap, Int16, Level
from fluxshard_core.sparse.active import Blocks, Bool
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.filtered_pass import FilteredPass
from fluxshard_core.sparse.frame_run import FrameRun
from fluxshard_core.sparse.intake import Intake, Mode
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.pixels import as_numbers
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.schedule import (
    CROSSING,
    MOSTLY_ACTIVE,
    RESIDUAL_LIMIT,
    BlockScheduler,
    Schedule,
)
from fluxshard_core.sparse.spread import RfapRule, Spread, accumulated_fields
from fluxshard_core.sparse.stepping import inferring

FAILED = "the previous frame failed"


@dataclass(frozen=True)
class ExecutorOptions:
    """How an executor decides what to recompute.

    ``thresholds`` (bounded mode) gives, per level (cumulative stride; 1 is the input), the largest
    change of any channel that is not passed on, ``layer_thresholds`` another one for single
    tensors by name. ``rfap`` (exact and bounded mode): the rule of receptive-field alignment, see
    :data:`RfapRule`; ``none`` is wrong. ``tile_sizes`` overrides the cells a side of a tile per
    level. ``crossing`` is the executed share above which a frame is run dense.
    ``residual_limit`` (block mode): cells that cached content may be away from its place, from
    0.5 (always the nearest cell) to 1 (also where that leaves a seam). ``carry_residual`` (block
    mode): whether what rounding to whole cells leaves over is carried to the next frame; only an
    ablation drops it.
    """

    mode: Mode = "block"
    thresholds: Mapping[int, float] = field(default_factory=dict)
    tile_sizes: Mapping[int, int] = field(default_factory=dict)
    crossing: float = CROSSING
    residual_limit: float = RESIDUAL_LIMIT
    carry_residual: bool = True
    layer_thresholds: Mapping[str, float] = field(default_factory=dict)
    rfap: RfapRule = "per_layer"


class Executor:
    """One endpoint's network and its caches, for one input size.

    Another size or other weights need another executor. Not thread-safe: one frame at a time.
    ``scheduler`` draws up what block mode does next. Executors that are given one ``binding`` of
    the plan, made with the same tile sizes, share its weights.
    """

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        options: ExecutorOptions | None = None,
        binding: Binding | None = None,
    ) -> None:
        self.options = options or ExecutorOptions()
        self.plan = plan
        self._intake = Intake(plan, self.options.mode)
        filtered = self.options.mode != "block"
        binding = binding or Binding(plan, backend, self.options.tile_sizes)
        wanted = plan, backend, dict(self.options.tile_sizes)
        if (binding.plan, binding.backend, binding.tile_sizes) != wanted:
            raise InputError("the binding is of another plan or backend, or has other tile sizes")
        self.network = Network(binding, filtered=filtered)
        self.scheduler = BlockScheduler(
            plan,
            self.options.tile_sizes,
            crossing=self.options.crossing,
            residual_limit=self.options.residual_limit,
            carry_residual=self.options.carry_residual,
        )
        self._remap = FeatureRemap(self.network.cached_levels if filtered else ())
        self._dense_cost = plan.total_multiply_accumulates
        self._thresholds = self._resolve_thresholds()
        compact = self.options.rfap == "compact"
        self._fields = accumulated_fields(self.network.binding) if compact else {}
        self._pending = "first frame"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames it takes."""
        return self._intake.size

    @property
    def cache_bytes(self) -> int:
        """Memory of the caches, halo and slack included."""
        return self.network.cache.bytes

    def reset(self) -> None:
        """Forget the past: the next frame is computed whole."""
        self._pending = "reset"
        self._forget_remainders()

    @torch.inference_mode()
    def run(
        self,
        frame: torch.Tensor,
        motion: MotionField | None = None,
        blocks: Blocks | None = None,
    ) -> FrameRun:
        """Bring all outputs up to date with ``frame``.

        :param frame: ``(1, C, H, W)``, the plan's input size, finite; uint8 stands for
            ``frame / 255``.
        :param motion: since the last frame this executor ran; None if nothing moved.
        :param blocks: block mode only: ``(rows, cols)`` bool over 16-pixel blocks, True where
            features must be recomputed; or one such array per level (cumulative stride).
        :raises InputError: wrong shapes, missing or unexpected blocks, NaN or infinity.

        The first frame and the first after :meth:`reset` or after an error are computed whole.
        """
        if blocks is not None:
            return self.execute(frame, self.schedule(motion, blocks))
        self._intake.check_frame(frame)
        self._intake.check_request(motion, blocks)
        moved = motion or MotionField.zero(*self.size)
        numbers = as_numbers(frame)
        return self._guarded(numbers, lambda: self._run_filtered(numbers, moved))

    def schedule(self, motion: MotionField | None, blocks: Blocks) -> Schedule:
        """Return what :meth:`run` would do with ``motion`` and ``blocks`` in block mode.

        :raises InputError: as :meth:`run`.
        """
        self._intake.check_request(motion, blocks)
        return self.scheduler.next(motion or MotionField.zero(*self.size), blocks)

    @torch.inference_mode()
    def execute(self, frame: torch.Tensor, schedule: Schedule) -> FrameRun:
        """As :meth:`run` in block mode, for a schedule that ``scheduler`` drew up."""
        self._intake.check_frame(frame)
        return self._guarded(frame, lambda: self._run_blocks(frame, schedule))

    def runs_whole(self, schedule: Schedule) -> bool:
        """Whether :meth:`execute` would compute the whole frame."""
        return bool(self._pending or schedule.dense_reason)

    def begin(self, frame: torch.Tensor, schedule: Schedule) -> torch.Tensor:
        """Do the first part of :meth:`execute`: move the caches; return ``frame`` as NHWC.

        For a pass over several executors, which ``finish`` each of them: until then the features
        are in between two frames. ``schedule`` must not be one of a whole frame.
        """
        self._intake.check_frame(frame)
        if self.runs_whole(schedule):
            raise InputError("a frame that is computed whole has no tiles to share a pass over")
        self._pending = FAILED
        self._move(schedule)
        return frame.permute(0, 2, 3, 1)

    def finish(self, schedule: Schedule, executed: int) -> FrameRun:
        """Do the last part of :meth:`execute`, after ``begin`` and a pass over the tiles."""
        self.scheduler.settle(schedule)
        self._pending = ""
        return self._result(executed, schedule.recomputed, "")

    def refresh(self, frame: torch.Tensor, schedule: Schedule) -> Iterator[None]:
        """As :meth:`execute`, pausing after every operator and without a result.

        Closed before its end it counts for nothing: where ``schedule`` moves nothing the caches
        remain those of the last frame, some of them fresher, else the next frame is run whole.
        """
        self._intake.check_frame(frame)
        reason = self._pending or schedule.dense_reason
        if reason or not schedule.still:
            self._pending = self._pending or FAILED
        if not reason:
            self._move(schedule, preserve=schedule.still)
        image = self.network.backend.image(frame)
        steps = self.network.runner.steps(self.network, image, None if reason else schedule)
        yield from inferring(steps)
        if reason:
            self._forget_remainders()
        else:
            self.scheduler.settle(schedule)
        self._pending = ""

    def _guarded(self, frame: torch.Tensor, run: Callable[[], FrameRun]) -> FrameRun:
        """Run a frame, whole where the caches cannot be trusted."""
        reason, self._pending = self._pending, FAILED
        done = self._run_dense(frame, reason) if reason else run()
        self._pending = ""
        return done

    def _run_dense(self, frame: torch.Tensor, reason: str) -> FrameRun:
        self.network.runner.dense(self.network, self.network.backend.image(frame))
        self._forget_remainders()
        everything = self.scheduler.dense(reason).recomputed
        return self._result(self._dense_cost, everything, reason)

    def _run_blocks(self, frame: torch.Tensor, schedule: Schedule) -> FrameRun:
        if schedule.dense_reason:
            return self._run_dense(frame, schedule.dense_reason)
        self._move(schedule)
        image = frame.permute(0, 2, 3, 1)
        (executed,) = self.network.runner.blocks([self.network], [image], [schedule])
        return self.finish(schedule, executed)

    def _move(self, schedule: Schedule, *, preserve: bool = False) -> None:
        for level, motion in schedule.moved.items():
            self.network.cache.move(motion, ~schedule.recomputed[level], preserve=preserve)

    def _run_filtered(self, frame: torch.Tensor, motion: MotionField) -> FrameRun:
        moved = self._remap.follow(motion)
        spread = Spread(self.options.rfap, self.network.binding, moved, self._fields)
        frame_pass = FilteredPass(self.network, moved, self._thresholds, spread)
        if frame_pass.start(self.network.backend.image(frame)) > self.options.crossing:
            return self._run_dense(frame, MOSTLY_ACTIVE)
        frame_pass.run()
        if self.options.mode == "exact":
            self._remap.reset()
        else:
            self._remap.settle(moved, frame_pass.recomputed)
        return self._result(frame_pass.executed, frame_pass.recomputed, "")

    def _resolve_thresholds(self) -> dict[str, float]:
        by_level, by_name = self.options.thresholds, self.options.layer_thresholds
        if unknown := sorted(by_name.keys() - self.network.level.keys()):
            raise InputError(f"thresholds for tensors that are no maps of the plan: {unknown}")
        return {
            name: by_name.get(name, by_level.get(level.stride, 0.0))
            for name, level in self.network.level.items()
        }

    def _forget_remainders(self) -> None:
        self.scheduler.reset()
        self._remap.reset()

    def _result(self, executed: int, recomputed: Mapping[Level, Bool], reason: str) -> FrameRun:
        outputs = tuple(self._output(name) for name in self.plan.outputs)
        offsets = tuple(self._offset(name, reason) for name in self.plan.outputs)
        return FrameRun(outputs, offsets, executed, self._dense_cost, recomputed, reason)

    def _offset(self, name: str, dense_reason: str) -> Int16 | None:
        if dense_reason or self.options.mode != "block" or name not in self.network.level:
            return None
        return self.scheduler.remainder(self.network.level[name])

    def _output(self, name: str) -> torch.Tensor:
        if name in self.network.level:
            return self.network.cache.whole(name, own=True).unsqueeze(0).permute(0, 3, 1, 2)
        value = self.network.vectors[name].clone()
        return value.permute(0, 3, 1, 2) if value.ndim == 4 else value
