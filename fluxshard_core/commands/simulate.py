"""`fluxshard simulate`: latencies on machines that are not here, from an evaluation's counts."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.netlab.rates import Rate
from fluxshard_core.evaluation.simulate import Count, SimulatedRow, rows
from fluxshard_core.evaluation.testbeds import TESTBEDS, find_testbed

_FILE = click.Path(dir_okay=False, path_type=Path)
_HEADER = (
    "rate         method                        frames   p50 ms   p95 ms  mean ms  cloud  kB/frame"
)


@click.command("simulate")
@click.argument("report", type=_FILE)
@click.option(
    "--testbed",
    "bed_name",
    type=click.Choice(list(TESTBEDS)),
    default="xavier-nx-segment",
    show_default=True,
)
@click.option("--rate", "rates", multiple=True, help="Such as 25mbit; may be repeated.")
@click.option("--trace", "traces", multiple=True, type=_FILE, help="CSV file of seconds,mbps.")
@click.option(
    "--rtt", type=click.FloatRange(0.0, 1e4), default=40.0, show_default=True, help="Milliseconds."
)
@click.option("--fps", type=click.FloatRange(0.0), default=0.0, help="0: as fast as results come.")
@click.option("--json", "json_file", type=_FILE, help="Write the rows to this file.")
def command(
    report: Path,
    bed_name: str,
    rates: tuple[str, ...],
    traces: tuple[Path, ...],
    rtt: float,
    fps: float,
    json_file: Path | None,
) -> None:
    """Simulate the methods of REPORT, made by `fluxshard eval --json`, on a testbed.

    SIMULATION: device times come from published tables, in proportion to the input's pixels; what
    each frame computes and sends is what the evaluation measured; encoding, decoding and motion are
    not charged to anyone.
    """
    links = [*(Rate.constant(text) for text in rates), *(Rate.trace(file) for file in traces)]
    if not links:
        raise click.UsageError("give a --rate or a --trace")
    methods, pixels = _counts(report)
    bed = find_testbed(bed_name)
    click.echo(f"SIMULATION: {bed.source}; {pixels} pixels a frame, {rtt:g} ms round trip")
    click.echo(_HEADER)
    found = rows(
        methods, bed, pixels, links, rtt / 1e3, period_s=1 / fps if fps else 0.0, skipped=_skip
    )
    for row in found:
        click.echo(_line(row))
    if json_file:
        header = {"command": shlex.join(["fluxshard", *sys.argv[1:]]), "testbed": asdict(bed)}
        content = {**header, "simulation": True, "rows": [asdict(row) for row in found]}
        json_file.write_text(json.dumps(content, indent=1))


def _counts(file: Path) -> tuple[dict[str, list[list[Count]]], int]:
    """Return the counts of each method's sequences, and the pixels of the network's input."""
    try:
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        methods: dict[str, list[list[Count]]] = {}
        for series in report["series"]:
            pairs = zip(series["compute_ratio"], series["tx_bytes"], strict=True)
            counts = [Count(float(ratio), int(sent)) for ratio, sent in pairs]
            methods.setdefault(series["method"], []).append(counts)
        sizes = {
            round(row["tx_bytes_per_frame"] / row["tx_ratio"] / 3)
            for row in report["rows"]
            if row["tx_ratio"] and row["sequence"] != "aggregate"
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not a report of `fluxshard eval --json`: {error}") from error
    if len(sizes) != 1:
        raise InputError(f"{file} must hold one input size and a method that sends; found {sizes}")
    return methods, sizes.pop()


def _skip(method: str) -> None:
    click.echo(f"{method} cannot be simulated", err=True)


def _line(row: SimulatedRow) -> str:
    return (
        f"{row.rate:12} {row.method:29} {row.frames:6d} {row.p50_ms:8.1f} {row.p95_ms:8.1f} "
        f"{row.mean_ms:8.1f} {row.on_cloud:6.2f} {row.bytes_per_frame / 1e3:9.1f}"
    )
