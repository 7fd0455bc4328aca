"""Our vision_msgs is wire-compatible with the released one: the type hashes are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
vision = pytest.importorskip("vision_msgs", reason="vision_msgs is not built")

TABLE = Path(__file__).parents[2] / "tools" / "vision_msgs" / "type_hashes.json"
RELEASED = json.loads(TABLE.read_text())


@pytest.mark.parametrize("name", RELEASED)
def test_installed_type_has_the_released_hash(name: str) -> None:
    prefix = Path(vision.__file__).parents[4]  # PREFIX/lib/pythonX.Y/site-packages/vision_msgs
    description = json.loads((prefix / f"share/vision_msgs/msg/{name}.json").read_text())
    hashes = {item["type_name"]: item["hash_string"] for item in description["type_hashes"]}
    assert hashes[f"vision_msgs/msg/{name}"] == RELEASED[name]


def test_every_message_we_build_is_in_the_table() -> None:
    assert {path.stem for path in (TABLE.parent / "msg").glob("*.msg")} == set(RELEASED)
