"""The benchmark's scene: as many active blocks as asked for, what motion uncovers among them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.remap import FeatureRemap, Level
from fluxshard_core.sparse.bench_scene import BenchScene


@pytest.mark.parametrize("layout", ["clustered", "scattered"])
@pytest.mark.parametrize("active", [0.05, 0.1, 0.25, 0.5, 1.0])
def test_the_active_share_is_the_one_asked_for(
    active: float, layout: Literal["clustered", "scattered"]
) -> None:
    blocks = BenchScene(480, 864).blocks(active, layout)
    assert blocks.sum() == round(active * blocks.size)


def test_what_the_motion_uncovers_is_active() -> None:
    scene = BenchScene(1024, 1024)
    level = Level(2, 512, 512)
    lost = ~FeatureRemap([level]).follow(scene.motion(1))[level].valid
    assert lost.any()
    blocks = np.repeat(np.repeat(scene.blocks(0.05, "clustered"), 8, axis=0), 8, axis=1)
    assert not (lost & ~blocks).any()


def test_clusters_touch_while_scattered_blocks_do_not() -> None:
    scene = BenchScene(1024, 1024)

    def perimeter(layout: Literal["clustered", "scattered"]) -> int:
        blocks = scene.blocks(0.25, layout)
        return int((blocks[1:] != blocks[:-1]).sum() + (blocks[:, 1:] != blocks[:, :-1]).sum())

    assert perimeter("clustered") * 4 < perimeter("scattered")


@pytest.mark.parametrize("active", [0.0, 1.1, -0.1, 0.001])
def test_impossible_shares_are_refused(active: float) -> None:
    with pytest.raises(InputError):
        BenchScene(480, 864).blocks(active, "clustered")
