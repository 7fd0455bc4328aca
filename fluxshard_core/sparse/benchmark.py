"""Times an executor against plain PyTorch on one moving scene, both in one process."""

from __future__ import annotations

import copy
import cProfile
import pstats
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fluxshard_core.sparse.active import requested_tiles
from fluxshard_core.sparse.backends import default_backend
from fluxshard_core.sparse.bench_scene import BenchScene, LayoutName
from fluxshard_core.sparse.dense_rivals import dense_rivals
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.plan import Plan
from fluxshard_kernels.cpu.records import Kind

WARM_UP_FRAMES = 24  # until the batch sizes that the pan brings have been met
FRAMES_A_SAMPLE = 4
PROFILED_FRAMES = 8

# What a function's time counts as; operators are counted by the class that runs them.
_PARTS = (
    ("remap", r"reuse/remap\.py$", r"^(follow|settle)$"),
    ("move caches", r"sparse/feature_cache\.py$", r"^move$"),
    (
        "tile lists",
        r"sparse/(active|tiles|schedule)\.py$",
        r"^(requested_tiles|with_lost_cells|select|cells)$",
    ),
    ("cell lists", r"compiled/cells\.py$", r"^(mark|lists)$"),
    ("gather", r"sparse/store\.py$", r"^(gather|read)$"),
    ("scatter", r"sparse/store\.py$", r"^(scatter|write)$"),
    ("convolution", r"ops/primitive\.py$", r"^(images|whole)$"),
    ("upsample", r"ops/upsample\.py$", r"^(tiles|dense)$"),
    ("pool", r"ops/pool\.py$", r"^_pool$"),
    ("merge", r"ops/merge\.py$", r"^apply$"),
    ("island", r"(ops/island|compiled/attention)\.py$", r"^dense$"),
)

# The same for what compiled runners say of their operators.
_COMPILED_PARTS = {
    Kind.CONVOLVE: "convolution",
    Kind.DEPTHWISE: "convolution",
    Kind.MAXIMUM: "pool",
    Kind.AVERAGE: "pool",
    Kind.COPY: "merge",
    Kind.ADD: "merge",
    Kind.MULTIPLY: "merge",
    Kind.ACTIVATE: "merge",
}


@dataclass(frozen=True)
class BenchRow:
    """One active share. Times in milliseconds, memory in megabytes (10**6 bytes).

    ``dense_ms``: the faster of plain PyTorch in NCHW and NHWC. ``sparse_ms``: a whole frame of
    the executor, remap and tile lists included. ``bit_identical``: recomputing the active tiles
    of a still frame restores every cache and output of the dense run, bit for bit.
    ``onnxruntime_ms``, ``openvino_ms``: the dense network there, None where not installed.
    ``peak_mb``: resident memory above what was resident before the executor was built.
    """

    model: str
    size: str
    dtype: str
    layout: str
    active: float
    dense_ms: float
    sparse_ms: float
    speedup: float
    bit_identical: bool
    cache_mb: float
    peak_mb: float
    activations_mb: float
    dense_nchw_ms: float
    dense_nhwc_ms: float
    executor_dense_ms: float
    onnxruntime_ms: float | None
    openvino_ms: float | None
    compute_ratio: float
    threads: int
    breakdown_ms: dict[str, float]


class ExecutorBenchmark:
    """One model at one size and dtype; :meth:`run` measures all active shares interleaved."""

    def __init__(self, model: str, network: nn.Module, plan: Plan, dtype: torch.dtype) -> None:
        spec = plan.tensors[plan.inputs[0]]
        self._model, self._plan, self._dtype = model, plan, dtype
        self._scene = BenchScene(spec.height, spec.width)
        generator = torch.Generator().manual_seed(0)
        self._frame = torch.rand((1, spec.channels, spec.height, spec.width), generator=generator)
        self._nchw = _converted(network, dtype, torch.contiguous_format)
        self._nhwc = _converted(network, dtype, torch.channels_last)
        with torch.inference_mode(False), torch.no_grad():
            self._rivals = dense_rivals(network.eval(), self._frame, dtype, torch.get_num_threads())
        self._baseline = _status_bytes("VmRSS")
        self._executor = Executor(plan, default_backend(dtype))
        self._frames = 0

    @torch.inference_mode()
    def run(self, shares: Sequence[float], layout: LayoutName, repeats: int) -> list[BenchRow]:
        """Return one row per active share, medians over ``repeats``."""
        frame = self._frame.to(self._dtype)
        last = frame.contiguous(memory_format=torch.channels_last)
        whole = Executor(self._plan, self._executor.network.backend)
        everything = self._scene.blocks(1.0, layout)

        def run_whole() -> None:
            whole.reset()
            whole.run(self._frame, None, everything)

        dense: dict[str, Callable[[], object]] = {
            "nchw": lambda: self._nchw(frame),
            "nhwc": lambda: self._nhwc(last),
            "executor": run_whole,
            **self._rivals,
        }
        times: dict[str | float, list[float]] = {}
        ratios: dict[float, list[float]] = {share: [] for share in shares}
        peaks = {share: self._warm_up(share, layout) for share in shares}
        for rival in dense.values():
            rival()
        for _ in range(repeats):
            for name, rival in dense.items():
                times.setdefault(name, []).append(_seconds(rival))
            for share in shares:
                blocks = self._scene.blocks(share, layout)
                started = time.perf_counter()
                for _ in range(FRAMES_A_SAMPLE):
                    ratios[share].append(self._step(blocks))
                elapsed = (time.perf_counter() - started) / FRAMES_A_SAMPLE
                times.setdefault(share, []).append(elapsed)
        median = {name: statistics.median(values) * 1e3 for name, values in times.items()}
        return [
            self._row(share, layout, median, statistics.mean(ratios[share]), peaks[share])
            for share in shares
        ]

    def _step(self, blocks: object) -> float:
        self._frames += 1
        motion = self._scene.motion(self._frames)
        return self._executor.run(self._frame, motion, blocks).compute_ratio  # type: ignore[arg-type]

    def _warm_up(self, share: float, layout: LayoutName) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # starts a new high-water mark
        blocks = self._scene.blocks(share, layout)
        for _ in range(WARM_UP_FRAMES):
            self._step(blocks)
        return _status_bytes("VmHWM")

    def _row(
        self,
        share: float,
        layout: LayoutName,
        median: dict[str | float, float],
        ratio: float,
        peak: int,
    ) -> BenchRow:
        dense = min(median["nchw"], median["nhwc"])
        element = self._dtype.itemsize
        activations = sum(s.channels * s.cells for s in self._plan.tensors.values()) * element
        return BenchRow(
            model=self._model,
            size=f"{self._scene.height}x{self._scene.width}",
            dtype={torch.float32: "fp32", torch.bfloat16: "bf16"}[self._dtype],
            layout=layout,
            active=share,
            dense_ms=dense,
            sparse_ms=median[share],
            speedup=dense / median[share],
            bit_identical=self._is_bit_identical(share, layout),
            cache_mb=self._executor.cache_bytes / 1e6,
            peak_mb=(peak - self._baseline) / 1e6,
            activations_mb=activations / 1e6,
            dense_nchw_ms=median["nchw"],
            dense_nhwc_ms=median["nhwc"],
            executor_dense_ms=median["executor"],
            onnxruntime_ms=median.get("onnxruntime"),
            openvino_ms=median.get("openvino"),
            compute_ratio=ratio,
            threads=torch.get_num_threads(),
            breakdown_ms=self._breakdown(share, layout, median[share]),
        )

    def _is_bit_identical(self, share: float, layout: LayoutName) -> bool:
        """Spoil every active tile of every cache, then let the executor restore them."""
        blocks = self._scene.blocks(share, layout)
        executor = self._executor
        executor.reset()
        expected = executor.run(self._frame, None, blocks).outputs
        network = executor.network
        for level, tiles in requested_tiles(network.grid, blocks).items():
            cells = torch.from_numpy(network.grid[level].cells(tiles))
            for name in network.cache.names:
                if network.level[name] == level:
                    network.cache[name].frame()[cells] = float("nan")
        restored = executor.run(self._frame, None, blocks).outputs
        return all(torch.equal(a, b) for a, b in zip(restored, expected, strict=True))

    def _breakdown(self, share: float, layout: LayoutName, total: float) -> dict[str, float]:
        """Milliseconds a frame by part; the profiler's own cost is scaled away."""
        blocks = self._scene.blocks(share, layout)
        self._step(blocks)
        runner = self._executor.network.runner
        compiled: dict[Kind, float] = {}
        runner.timings = compiled
        profiler = cProfile.Profile()
        started = time.perf_counter()
        profiler.enable()
        for _ in range(PROFILED_FRAMES):
            self._step(blocks)
        profiler.disable()
        runner.timings = None
        scale = total / (time.perf_counter() - started)
        parts = dict.fromkeys((part for part, _, _ in _PARTS), 0.0)
        for kind, seconds in compiled.items():
            parts[_COMPILED_PARTS[kind]] += seconds * scale
        stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
        for (file, _, function), (_, _, _, cumulative, _) in stats.items():
            for part, file_pattern, function_pattern in _PARTS:
                if re.search(file_pattern, file) and re.search(function_pattern, function):
                    parts[part] += cumulative * scale
        parts["dispatch and other"] = max(0.0, total - sum(parts.values()))
        return {part: round(value, 3) for part, value in parts.items()}


def _converted(network: nn.Module, dtype: torch.dtype, layout: torch.memory_format) -> nn.Module:
    clone = copy.deepcopy(network).to(dtype)
    for parameter in clone.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return clone


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _status_bytes(name: str) -> int:
    """Read a memory figure of this process from Linux."""
    match = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0
