"""A slowed process really gets so much of a core, and nothing is left behind; needs root."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fluxshard_core.evaluation.netlab.link import NetlabError
from fluxshard_core.evaluation.netlab.processor import ProcessorShare

_COMPUTE = """
import json, time
started, spent = time.perf_counter(), time.process_time()
while time.process_time() < spent + 0.3:
    pass
print(json.dumps([time.process_time() - spent, time.perf_counter() - started]))
"""


def can_slow_down() -> bool:
    try:
        with ProcessorShare(0.5):
            return True
    except NetlabError:
        return False


needs_groups = pytest.mark.skipif(not can_slow_down(), reason="control groups need root")


@needs_groups
def test_a_process_gets_its_share_of_a_core_from_the_limit_on() -> None:
    with ProcessorShare(0.25) as slow:
        command = slow.inside(sys.executable, "-c", _COMPUTE)
        slow.limit()
        computed, passed = json.loads(subprocess.check_output(command, text=True))
        group = slow._group
        assert group.is_dir()
    assert computed / passed < 0.3, "less where the machine has other things to do"
    assert not group.exists()


@needs_groups
def test_a_second_group_at_the_same_time_is_refused_with_the_reason() -> None:
    with (
        ProcessorShare(0.5),
        pytest.raises(NetlabError, match="control group"),
        ProcessorShare(0.5),
    ):
        pass
