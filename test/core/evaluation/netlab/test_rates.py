"""Rates are understood or refused with the reason, and a trace changes the link at its times."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.netlab.rates import Rate


@pytest.mark.parametrize(
    ("text", "mbit"), [("25mbit", 25.0), ("800kbit", 0.8), ("1.5gbit", 1500.0), ("56MBIT", 56.0)]
)
def test_a_rate_is_a_number_and_a_unit(text: str, mbit: float) -> None:
    assert [step.mbit for step in Rate.constant(text).steps] == [mbit]


@pytest.mark.parametrize("text", ["25", "fast", "-3mbit", "0mbit", "1e3mbit", "900gbit", "25mbit;"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"mbit|Mbit"):
        Rate.constant(text)


@pytest.mark.parametrize(
    "content", ["", "1,5\n2,6", "0,5\n0,6", "0,5,6", "0,fast", "0,0", "0,5\n2,1\n1,3", "0,nan"]
)
def test_a_trace_that_cannot_be_replayed_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=r"trace"):
        Rate.trace(file)


def test_a_trace_changes_the_link_at_its_times_and_no_longer_after_the_end(tmp_path: Path) -> None:
    file = tmp_path / "tunnel.csv"
    file.write_text("seconds,mbps\n0,50\n0.05,5\n0.1,25\n60,1\n")
    rate = Rate.trace(file)
    changes: list[tuple[float, float]] = []
    started = time.monotonic()
    with rate.replayed(lambda mbit: changes.append((time.monotonic() - started, mbit))):
        while len(changes) < 3:
            assert time.monotonic() - started < 5.0
            time.sleep(0.01)
    assert rate.name == "tunnel"
    assert [mbit for _, mbit in changes] == [50, 5, 25]
    assert [at >= due for (at, _), due in zip(changes, (0, 0.05, 0.1), strict=True)] == [True] * 3
