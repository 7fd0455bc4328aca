"""`fluxshard plan`: how a model will be run, operator by operator, and what stays dense and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fluxshard_core.commands.arguments import ImageSize
from fluxshard_core.errors import WeightsError
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.weights import is_weight_path
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.nodes import CacheNeed, DenseIsland, Node, TensorSpec
from fluxshard_core.sparse.plan import Plan

RANDOM_SEED = 0


@click.command(name="plan")
@click.argument("model")
@click.option(
    "--size",
    type=ImageSize(),
    default="480x864",
    show_default=True,
    help="Input height x width, multiples of 32.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the plan to this file.",
)
def command(model: str, size: tuple[int, int], json_file: Path | None) -> None:
    """Print the plan of MODEL: a name like yolo11n-seg, or a .pt or .safetensors file.

    A plan depends on the architecture and the size alone; without weights on this machine it is
    made with random ones.
    """
    console = Console()
    detector = _load(model, console)
    plan = capture(detector.network, *size)
    rows = describe(plan)
    _show(console, f"{detector.name} at {size[0]}x{size[1]}", rows)
    summary = summarise(plan)
    _show_summary(console, summary)
    if json_file:
        document = {
            "model": str(detector.name),
            "weights": detector.weights,
            "size": list(size),
            **summary,
            "operators": rows,
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _load(model: str, console: Console) -> Detector:
    try:
        return Detector.load(model)
    except WeightsError:
        if is_weight_path(model):
            raise
        console.print(f"No weights for {model} here: random ones give the same plan.", style="dim")
        return Detector.load(model, random_seed=RANDOM_SEED)


def describe(plan: Plan) -> list[dict[str, Any]]:
    """One row per feature map, in execution order.

    ``level`` is the cumulative stride, ``stride`` the operator's own, ``receptive_field`` pixels
    of input a side (``None``: the whole frame), ``multiply_accumulates`` those of a dense run,
    counted with the operator's first output.
    """
    fields = plan.receptive_fields()
    rows = [_row(plan.tensors[name], "input", 1, fields[name], 0, ()) for name in plan.inputs]
    for node in plan.nodes:
        for index, name in enumerate(node.outputs):
            cost = 0 if index else plan.multiply_accumulates(node)
            spec = plan.tensors[name]
            stride = _own_stride(node)
            rows.append(_row(spec, node.describe(), stride, fields[name], cost, node.inputs))
    return rows


def _row(
    spec: TensorSpec,
    operator: str,
    stride: int | str,
    field: int | None,
    cost: int,
    inputs: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "tensor": spec.name,
        "operator": operator,
        "inputs": list(inputs),
        "level": spec.stride,
        "shape": [spec.channels, spec.height, spec.width],
        "stride": stride,
        "receptive_field": field,
        "cached": spec.cache.value,
        "cached_because": spec.cache_reason,
        "multiply_accumulates": cost,
    }


def _own_stride(node: Node) -> int | str:
    """The operator's own stride, ``1/f`` where it enlarges by ``f``."""
    enlarges = getattr(node, "factor", None)
    if enlarges is not None:
        return f"1/{enlarges}"
    rows: int = getattr(node, "stride", (1, 1))[0]
    return rows if node.window or rows == 1 else f"1/{rows}"


def summarise(plan: Plan) -> dict[str, Any]:
    """Totals, the share of work per level, cached values and the dense islands."""
    total = plan.total_multiply_accumulates
    by_level = dict.fromkeys(plan.strides, 0)
    for node in plan.nodes:
        level = plan.tensors[node.outputs[0]].stride
        by_level[level] = by_level.get(level, 0) + plan.multiply_accumulates(node)
    cached = dict.fromkeys(CacheNeed, 0)
    for spec in plan.tensors.values():
        cached[spec.cache] += spec.channels * spec.cells
    return {
        "multiply_accumulates": total,
        "share_by_level": {level: cost / max(1, total) for level, cost in by_level.items()},
        "cached_values": {
            "block": cached[CacheNeed.ALWAYS],
            "exact": cached[CacheNeed.ALWAYS] + cached[CacheNeed.FILTERED],
        },
        "dense_islands": [
            {"outputs": list(node.outputs), "why": node.reason}
            for node in plan.nodes
            if isinstance(node, DenseIsland)
        ],
    }


def _show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, header_style="bold", row_styles=("", "dim"))
    table.add_column("tensor", overflow="fold")
    table.add_column("operator", overflow="fold")
    for name in ("level", "stride", "field px", "shape", "MMAC"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("cached", overflow="fold")
    for row in rows:
        because = f": {row['cached_because']}" if row["cached_because"] else ""
        table.add_row(
            row["tensor"],
            row["operator"],
            str(row["level"] or "-"),
            str(row["stride"]),
            "all" if row["receptive_field"] is None else str(row["receptive_field"]),
            "x".join(map(str, row["shape"])),
            f"{row['multiply_accumulates'] / 1e6:.1f}",
            f"{row['cached']}{because}",
        )
    console.print(table)


def _show_summary(console: Console, summary: dict[str, Any]) -> None:
    console.print(f"{summary['multiply_accumulates'] / 1e9:.3f} G multiply-accumulates, by level:")
    shares = summary["share_by_level"].items()
    console.print("  " + ", ".join(f"{level}: {share:.1%}" for level, share in shares))
    block, exact = (summary["cached_values"][mode] / 1e6 for mode in ("block", "exact"))
    console.print(f"Cached values: {block:.1f} M in block mode, {exact:.1f} M in exact or bounded.")
    for island in summary["dense_islands"]:
        console.print(f"Dense island {', '.join(island['outputs'])}: {island['why']}")
    if not summary["dense_islands"]:
        console.print("No dense islands.")
