"""The repair of the ROS wheels, and the check that a built message interoperates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fluxshard_setup.errors import SetupError
from fluxshard_setup.interfaces import check_type_hashes, repair_includes

WHEEL = (
    '  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp3{0}-cp3{0}/include/python3.{0};'
    '/opt/python/cp3{0}-cp3{0}/lib/python3.{0}/site-packages/numpy/_core/include"\n'
)


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_header_folders_of_the_build_machine_are_replaced(minor: int) -> None:
    repaired = repair_includes(WHEEL.format(minor), "/usr/include/python3", "/venv/numpy/include")
    assert repaired == (
        '  INTERFACE_INCLUDE_DIRECTORIES "/usr/include/python3;/venv/numpy/include"\n'
    )
    assert repair_includes(repaired, "/elsewhere", "/elsewhere") == repaired


def test_a_message_of_another_hash_is_refused(tmp_path: Path) -> None:
    messages = tmp_path / "vision_msgs" / "msg"
    messages.mkdir(parents=True)
    built = {"type_name": "vision_msgs/msg/Point2D", "hash_string": "RIHS01_aa"}
    (messages / "Point2D.json").write_text(json.dumps({"type_hashes": [built]}))
    table = tmp_path / "type_hashes.json"
    table.write_text(json.dumps({"Point2D": "RIHS01_aa"}))
    check_type_hashes(table, messages)
    table.write_text(json.dumps({"Point2D": "RIHS01_bb"}))
    with pytest.raises(SetupError, match="vision_msgs/Point2D has the type hash RIHS01_aa"):
        check_type_hashes(table, messages)
