"""The simulated testbed: known costs over known links come out as worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fluxshard_core.commands.simulate import command
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.netlab.rates import Rate, Step
from fluxshard_core.evaluation.simulate import Count, Link, rows, simulate
from fluxshard_core.evaluation.testbeds import TESTBEDS, Testbed, find_testbed

PIXELS = 1024 * 1024
BED = Testbed("b", 400.0, 20.0, 0.25, "by hand")
CHANGING = Rate("changing", tuple(Step(15.0 * i, (130.0, 2.0)[i % 2]) for i in range(20)))


def test_the_published_row_lies_on_the_curve_it_made() -> None:
    bed = find_testbed("xavier-nx-segment")
    assert bed.edge(PIXELS).frame_ms(0.454, dense=False) == pytest.approx(433.9)
    assert bed.edge(PIXELS).frame_ms(1.0, dense=True) == 537.5
    assert bed.cloud(PIXELS // 2).frame_ms(1.0, dense=True) == pytest.approx(35.7 / 2)
    with pytest.raises(InputError, match="xavier-nx-pose"):
        find_testbed("cray")
    assert all(0 < bed.fixed < 1 for bed in TESTBEDS.values())


@pytest.mark.parametrize(
    ("size", "start_s", "seconds"),
    [(125_000, 0.0, 1.0), (250_000, 0.0, 1.25), (125_000, 5.0, 0.25), (0, 0.5, 0.0)],
)
def test_a_transfer_takes_what_the_trace_lets_through(
    size: int, start_s: float, seconds: float
) -> None:
    link = Link(Rate("r", (Step(0.0, 1.0), Step(1.0, 4.0))), 0.04)
    assert link.exchange_s(size, start_s) == pytest.approx(seconds + 0.04)


def test_each_side_costs_what_its_curve_and_the_link_say() -> None:
    link = Link(Rate.constant("8mbit"), 0.01)
    counts = [Count(1.0, 10_000), Count(0.5, 1000), Count(0.0, 0)]
    spent, sides = simulate(counts, BED, PIXELS, link, "cloud")
    assert spent == pytest.approx([20 + 10 + 10, 20 * (0.25 + 0.75 * 0.5) + 10 + 1, 0.0])
    assert sides == ["cloud"] * 3
    assert simulate(counts, BED, PIXELS, link, "edge")[0] == pytest.approx([400.0, 250.0, 0.0])


def test_dispatch_is_near_the_better_side_and_better_than_both_where_the_link_changes() -> None:
    rng = np.random.default_rng(4)
    counts = [Count(float(r), int(200_000 * r)) for r in rng.uniform(0.2, 0.5, 800)]
    steady = [Rate.constant(text) for text in ("130mbit", "25mbit", "1mbit")]
    found = {
        (row.rate, row.method): row.mean_ms
        for row in rows(
            {"fluxshard": [counts]}, BED, PIXELS, [*steady, CHANGING], 0.04, period_s=0.1
        )
    }
    for rate in (*steady, CHANGING):
        best = min(found[rate.name, f"fluxshard@{side}"] for side in ("edge", "cloud"))
        assert found[rate.name, "fluxshard"] <= (1.10 if rate in steady else 0.95) * best


def test_the_command_reads_a_report_and_says_that_it_simulates(tmp_path: Path) -> None:
    report, out = tmp_path / "rows.json", tmp_path / "out.json"
    series = [
        {"method": "fluxshard", "compute_ratio": [0.3, 0.4], "tx_bytes": [5000, 6000]},
        {"method": "full_offload:raw", "compute_ratio": [1.0, 1.0], "tx_bytes": [1_244_160] * 2},
        {"method": "roi", "compute_ratio": [1.0, 1.0], "tx_bytes": [1000] * 2},
    ]
    row = {"sequence": "s", "tx_bytes_per_frame": 1_244_160.0, "tx_ratio": 1.0}
    report.write_text(json.dumps({"series": series, "rows": [row]}))
    done = CliRunner().invoke(command, [str(report), "--rate", "25mbit", "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert done.output.count("SIMULATION") == 1
    assert "roi cannot be simulated" in done.output
    written = json.loads(out.read_text())
    assert written["simulation"] is True
    assert [one["method"] for one in written["rows"]] == [
        "fluxshard",
        "fluxshard@edge",
        "fluxshard@cloud",
        "full_offload:raw",
    ]
    times = {one["method"]: one["mean_ms"] for one in written["rows"]}
    assert times["fluxshard"] < times["full_offload:raw"] / 4
    broken = CliRunner().invoke(command, [str(out), "--rate", "25mbit"])
    assert isinstance(broken.exception, InputError)
