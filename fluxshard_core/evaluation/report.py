"""The report of an evaluation: as JSON that survives an interruption, and as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from fluxshard_core.evaluation.rows import AGGREGATE, Row, aggregate
from fluxshard_core.evaluation.runner import Outcome, Series

_COLUMNS = (
    # heading, field of the row, format
    ("box ret.", "box_retention", ".3f"),
    ("mask ret.", "mask_retention", ".3f"),
    ("FA/100", "false_alarms_per_100", ".1f"),
    ("J", "j", ".3f"),
    ("J dense", "j_dense", ".3f"),
    ("compute", "compute_ratio", ".3f"),
    ("reuse", "reuse_ratio", ".3f"),
    ("kB/frame", "tx_bytes_per_frame", ".1f"),
    ("tx ratio", "tx_ratio", ".4f"),
    ("p50 ms", "ms_p50", ".0f"),
    ("p95 ms", "ms_p95", ".0f"),
    ("p99 ms", "ms_p99", ".0f"),
)
_WIDEST = 1000


@dataclass
class Report:
    """What is known so far: ``header`` says how it was made, ``outcomes`` what came of it.

    ``complete`` is False until every method has run on every sequence.
    """

    header: dict[str, Any]
    outcomes: list[Outcome] = field(default_factory=list)
    complete: bool = False

    @property
    def rows(self) -> list[Row]:
        """The rows of the sequences, in the order they were made."""
        return [outcome.row for outcome in self.outcomes]

    @property
    def aggregates(self) -> list[Row]:
        """One row for each method over all its sequences."""
        return aggregate(self.rows)

    @property
    def series(self) -> list[Series]:
        """What happened frame by frame."""
        return [outcome.series for outcome in self.outcomes]

    def save(self, file: Path) -> None:
        """Write the report as JSON, whole or not at all: the old file stays until then."""
        content = {
            "header": self.header | {"complete": self.complete},
            "rows": [asdict(row) for row in (*self.rows, *self.aggregates)],
            "series": [asdict(series) for series in self.series],
        }
        part = file.with_name(f".{file.name}.part")
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(part, file)


def show(report: Report) -> None:
    """Print how the report was made, then its table: never cut off, however narrow the terminal."""
    console = Console()
    grid = table(report)
    unlimited = console.options.update(max_width=_WIDEST)
    console.width = max(console.width, Measurement.get(console, unlimited, grid).maximum)
    for line in (*_origin(report.header), ""):
        console.print(line, highlight=False, markup=False)
    console.print(grid)
    console.print(_caption(report))


def table(report: Report) -> Table:
    """Return the rows, each sequence in a section and the aggregates last."""
    grid = Table(box=SIMPLE, pad_edge=False)
    grid.add_column("sequence", no_wrap=True)
    grid.add_column("method", no_wrap=True)
    for heading, _, _ in _COLUMNS:
        grid.add_column(heading, justify="right", no_wrap=True)
    _add_sections(grid, [*report.rows, *report.aggregates])
    return grid


def _add_sections(grid: Table, rows: Sequence[Row]) -> None:
    last = None
    for row in rows:
        if row.sequence != last:
            grid.add_section()
        cells = [_cell(row, name, form) for _, name, form in _COLUMNS]
        style = "bold" if row.sequence == AGGREGATE else None
        grid.add_row("" if row.sequence == last else row.sequence, row.method, *cells, style=style)
        last = row.sequence


def _cell(row: Row, name: str, form: str) -> str:
    value = getattr(row, name)
    if value is None:
        return "-"
    return format(value / 1000 if name == "tx_bytes_per_frame" else value, form)


def _origin(header: dict[str, Any]) -> list[str]:
    host = header["machine"]
    size = "x".join(map(str, header["size"])) if header["size"] else "native size"
    sequences = [f"{one['name']} ({one['path']})" for one in header["sequences"]]
    return [
        header["command"],
        f"model: {header['model']}, {size}, hash {header['model_hash']}, {header['weights']}",
        f"machine: {host['processor']}, {host['cores']} cores, {host['memory_gib']} GiB, "
        f"{host['system']}, accelerator {host['accelerator']}, {host['torch_threads']} threads",
        "versions: " + ", ".join(f"{name} {found}" for name, found in header["versions"].items()),
        "sequences: " + ", ".join(sequences),
    ]


def _caption(report: Report) -> str:
    state = "" if report.complete else "INTERRUPTED: not all sequences and methods. "
    return f"{state}First frames not scored. Times: both ends in one process, no link."
