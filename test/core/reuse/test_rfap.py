"""Flags after propagation never miss a cell whose value changed, and little else is flagged."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.geometry import AccumulatedField, Enlargement, Geometry, Window
from fluxshard_core.reuse.remap import FeatureRemap, Level, LevelMotion
from fluxshard_core.reuse.rfap import ReceptiveFieldCheck

CHANNELS = 4
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def tap_pairs(geometry: Geometry, axis: int, output: int) -> dict[int, int]:
    """Input index of every kernel tap of one output, straight from the operator's definition."""
    kernel, dilation = geometry.kernel[axis], geometry.dilation[axis]
    if isinstance(geometry, Window):
        start = output * geometry.stride[axis] - geometry.padding[axis]
        return {tap: start + tap * dilation for tap in range(kernel)}
    pairs = {}
    for tap in range(kernel):
        index, phase = divmod(
            output + geometry.padding[axis] - tap * dilation, geometry.factor[axis]
        )
        if phase == 0:
            pairs[tap] = index
    return pairs


def plain_breaks(source: LevelMotion, target: LevelMotion, geometry: Geometry) -> np.ndarray:
    """Cell by cell: is every tap of the cached output the moved twin of this output's tap?"""
    height, width = source.level.shape

    def inside(y: int, x: int) -> bool:
        return 0 <= y < height and 0 <= x < width

    torn = np.zeros(target.level.shape, dtype=bool)
    for y, x in np.ndindex(*target.level.shape):
        old = (y - int(target.shift[0, y, x]), x - int(target.shift[1, y, x]))
        rows, cols = tap_pairs(geometry, 0, y), tap_pairs(geometry, 1, x)
        old_rows, old_cols = tap_pairs(geometry, 0, old[0]), tap_pairs(geometry, 1, old[1])
        same = rows.keys() == old_rows.keys() and cols.keys() == old_cols.keys()
        for a, b in itertools.product(rows, cols) if same else ():
            here, there = (rows[a], cols[b]), (old_rows[a], old_cols[b])
            if inside(*here) != inside(*there):
                same = False
            elif inside(*here):
                dy, dx = source.shift[:, here[0], here[1]]
                same &= there == (here[0] - dy, here[1] - dx)
        torn[y, x] = not (same and target.valid[y, x])
    return torn


def piecewise(rng: np.random.Generator, height: int, width: int, step: int) -> MotionField:
    """Two to four rectangles of blocks, each with its own motion; some blocks unknown."""
    rows, cols = -(-height // 16), -(-width // 16)
    vectors = np.zeros((rows, cols, 2), dtype=np.int16)
    for _ in range(rng.integers(1, 4)):
        y, x = rng.integers(0, rows), rng.integers(0, cols)
        vectors[y:, x:] = rng.integers(-3, 4, 2) * step * rng.integers(0, 2, 2)
    valid = rng.random((rows, cols)) > rng.choice([0.0, 0.1])
    return MotionField(vectors, valid)


def level_after(level: Level, geometry: Geometry) -> Level:
    """The level an operator writes (sizes as PyTorch computes them, symmetric padding)."""
    if isinstance(geometry, Enlargement):
        factor = geometry.factor[0]
        sizes = [
            (n - 1) * factor - 2 * geometry.padding[a] + (geometry.kernel[a] - 1) + 1
            for a, n in enumerate(level.shape)
        ]
        return Level(level.stride // factor, *sizes)
    sizes = [
        (n + 2 * geometry.padding[a] - geometry.dilation[a] * (geometry.kernel[a] - 1) - 1)
        // geometry.stride[a]
        + 1
        for a, n in enumerate(level.shape)
    ]
    return Level(level.stride * geometry.stride[0], *sizes)


def square(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
    return Window((kernel, kernel), (stride, stride), (padding, padding), (dilation, dilation))


def enlarge(factor: int, kernel: int, padding: int = 0) -> Enlargement:
    return Enlargement((factor, factor), (kernel, kernel), (padding, padding))


GEOMETRIES = [
    square(1),
    square(3, padding=1),
    square(3, 2, 1),
    square(2, 2),
    square(1, 2),
    square(5, 1, 2),
    square(3, 1, 2, 2),
    square(6, 2, 2),
    square(3),
    Window((1, 7), (1, 1), (0, 3)),
    enlarge(2, 2),
    enlarge(2, 4, 1),
    enlarge(2, 3, 1),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("step", [4, 8, 16, 64, 128])
def test_breaks_are_exactly_the_cells_whose_taps_did_not_move_together(geometry, step) -> None:
    rng = np.random.default_rng(step)
    level = Level(4, 13, 16)
    target = level_after(level, geometry)
    for _ in range(4):
        moved = FeatureRemap({level, target}).follow(piecewise(rng, 60, 64, step))
        expected = plain_breaks(moved[level], moved[target], geometry)
        breaks = ReceptiveFieldCheck(moved).breaks(level, target, geometry)
        actual = np.zeros(target.shape, dtype=bool) if breaks is None else breaks
        missed = expected & ~actual
        assert not missed.any()
        if isinstance(geometry, Window):
            np.testing.assert_array_equal(actual, expected)


def gathered(cached: torch.Tensor, motion: LevelMotion) -> torch.Tensor:
    """The cached ``(1, C, H, W)`` map moved to where ``motion`` says, ``(C, H, W)``."""
    source = torch.from_numpy(motion.source.astype(np.int64))
    return cached[0].flatten(1)[:, source]


def run(geometry: Geometry, values: torch.Tensor, weight: torch.Tensor, use_max: bool):
    """One layer in float64 on small integers: exact arithmetic, so equality means sameness."""
    if isinstance(geometry, Enlargement):
        return functional.conv_transpose2d(
            values, weight, stride=geometry.factor, padding=geometry.padding
        )
    if use_max and max(geometry.padding) <= min(geometry.kernel) // 2:
        return functional.max_pool2d(
            values, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation
        )
    out = functional.conv2d(
        values, weight, None, geometry.stride, geometry.padding, geometry.dilation
    )
    return torch.remainder(out, 17.0) - 8.0


def random_layers(rng: np.random.Generator, depth: int) -> list[Geometry]:
    layers: list[Geometry] = []
    stride = 1
    for _ in range(depth):
        choices = [g for g in GEOMETRIES if isinstance(g, Window) or stride > 1]
        layers.append(choices[rng.integers(len(choices))])
        geometry = layers[-1]
        stride = (
            stride * geometry.stride[0]
            if isinstance(geometry, Window)
            else stride // geometry.factor[0]
        )
    return layers


def moved_image(old: np.ndarray, motion: LevelMotion, rng: np.random.Generator) -> np.ndarray:
    """The old image moved along ``motion``, new content where there is no source."""
    new = old.reshape(old.shape[0], -1)[:, motion.source]
    return np.where(motion.valid, new, rng.integers(-8, 9, new.shape))


@given(seed=st.integers(0, 2**32 - 1), step=st.sampled_from([4, 8, 16, 32, 64, 128]))
@QUICK
def test_cells_that_are_not_flagged_have_the_moved_cached_value(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed % 2**31)
    pixels = Level(1, 48, 64)
    levels, layers = [pixels], random_layers(rng, int(rng.integers(1, 6)))
    for geometry in layers:
        levels.append(level_after(levels[-1], geometry))
    moved = FeatureRemap(set(levels)).follow(piecewise(rng, *pixels.shape, step))
    old = rng.integers(-8, 9, (2, *pixels.shape)).astype(np.float64)
    new = moved_image(old, moved[pixels], rng)
    if rng.random() < 0.5:
        new[:, rng.integers(48), rng.integers(64)] += 1

    check = ReceptiveFieldCheck(moved)
    active = ~moved[pixels].valid
    active |= (new != old.reshape(2, -1)[:, moved[pixels].source]).any(axis=0)
    first_active, field = active, AccumulatedField()
    cached, fresh = torch.from_numpy(old)[None], torch.from_numpy(new)[None]
    for geometry, source, target in zip(layers, levels[:-1], levels[1:], strict=True):
        weight = torch.randint(-3, 4, (2, 2, *geometry.kernel), generator=generator).double()
        use_max = bool(rng.random() < 0.3)
        cached, fresh = (run(geometry, x, weight, use_max) for x in (cached, fresh))
        active = check.propagate(active, source, target, geometry)
        field = field.through(geometry, target.stride)

        inherited = gathered(cached, moved[target])
        wrong = (inherited != fresh[0]).any(dim=0).numpy() & ~active
        assert not wrong.any()
        compact = check.compact(first_active, pixels, target, field)
        assert not (active & ~compact).any()


def test_a_pan_divisible_by_the_stride_is_reused_but_for_the_border_it_came_from() -> None:
    """Panning right by 64 px keeps all but the new columns and their reach, at any depth."""
    pixels, coarse = Level(1, 64, 256), Level(2, 32, 128)
    field = MotionField.zero(*pixels.shape)
    field.vectors[..., 0] = 64 * 4
    moved = FeatureRemap([pixels, coarse]).follow(field)
    check = ReceptiveFieldCheck(moved)
    active = check.propagate(~moved[pixels].valid, pixels, coarse, square(3, 2, 1))
    expected = np.zeros(coarse.shape, dtype=bool)
    # 32 new columns; column 32 read padding at its source, and reads a new pixel now.
    expected[:, :33] = True
    np.testing.assert_array_equal(active, expected)


def test_content_leaving_the_border_loses_its_padding_and_is_recomputed() -> None:
    """All pixels are known, yet the cached first row saw zeros where the image now has content."""
    level = Level(1, 32, 32)
    field = MotionField.zero(32, 32)
    field.vectors[1, :, 1] = 16 * 4  # the lower block row came from the upper one
    moved = FeatureRemap([level]).follow(field)
    active = ReceptiveFieldCheck(moved).propagate(
        np.zeros(level.shape, dtype=bool), level, level, square(3, padding=1)
    )
    old = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    new = torch.cat([old[:, :, :16], old[:, :, :16]], dim=2)
    weight = torch.ones(1, 1, 3, 3)
    before, after = (functional.conv2d(x, weight, padding=1) for x in (old, new))
    wrong = (gathered(before, moved[level]) != after[0]).any(dim=0).numpy()
    assert wrong[16].all(), "the row that was the frame's first differs in every column"
    assert active[16].all()
    assert not active[18:31].any()
    assert active[31].all(), "it now reads padding where the cached row read content"


def published_comparison(active, moved, source, target, geometry, cached, fresh) -> np.ndarray:
    """The rule as published: what changed against the pointwise-moved cache spreads, no more."""
    warped = cached[0].reshape(cached.shape[1], -1)[
        :, torch.from_numpy(moved[source].source).long()
    ]
    changed = active & (warped != fresh[0]).any(dim=0).numpy()
    spread = functional.max_pool2d(
        torch.from_numpy(changed)[None].float(), geometry.kernel, geometry.stride, geometry.padding
    )
    return spread[0].bool().numpy() | ~moved[target].valid


def wrong_share(first: Window, trials: int) -> float:
    """Share of two-layer trials in which the published rule reuses a value that is not right."""
    wrong = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        pixels = Level(1, 64, 64)
        middle = level_after(pixels, first)
        second = square(3, padding=1)
        last = level_after(middle, second)
        moved = FeatureRemap({pixels, middle, last}).follow(piecewise(rng, 64, 64, 16))
        old = rng.integers(-99, 100, (CHANNELS, 64, 64)).astype(np.float64)
        new = moved_image(old, moved[pixels], rng)
        weights = [
            torch.randint(-3, 4, (CHANNELS, CHANNELS, *g.kernel), generator=generator).double()
            for g in (first, second)
        ]
        check = ReceptiveFieldCheck(moved)
        # The first layer is checked as published: both geometric conditions and the border.
        active = check.propagate(~moved[pixels].valid, pixels, middle, first)
        images = [torch.from_numpy(x)[None] for x in (old, new)]
        hidden = [
            functional.relu(functional.conv2d(x, weights[0], None, first.stride, first.padding))
            for x in images
        ]
        outputs = [functional.conv2d(x, weights[1], padding=1) for x in hidden]
        reused = ~published_comparison(active, moved, middle, last, second, *hidden)
        inherited = gathered(outputs[0], moved[last])
        differs = (inherited != outputs[1][0]).any(dim=0).numpy()
        wrong += bool((differs & reused).any())
        right = ~check.propagate(active, middle, last, second)
        assert not (differs & right).any()
    return wrong / trials


@pytest.mark.parametrize("first", [square(1), square(2, 2), square(3, 2, 1)], ids=str)
def test_the_published_pointwise_comparison_is_wrong_from_the_second_layer_on(first) -> None:
    """A first layer that straddles no motion boundary or border hides both from the second."""
    assert wrong_share(first, 60) > 0.3
