"""The pictures of a report: accuracy, bytes, reuse and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fluxshard_core.evaluation.report import Report
from fluxshard_core.evaluation.rows import Row
from fluxshard_core.evaluation.runner import Series

_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F3C8D",
    "#444444",
    "#A6761D",
    "#6B8E23",
    "#8B0000",
)
_LINES = ("-", "--", ":", "-.")
_CURVE = 4  # methods that differ in arguments only, from which they are drawn as a curve
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h", "p", "<")


def save_plots(report: Report, directory: Path) -> list[Path]:
    """Write the four plots as PNG into ``directory`` and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[Report], Figure]] = {
        "accuracy_compute.png": _accuracy_against_compute,
        "accuracy_bytes.png": _accuracy_against_bytes,
        "reuse_motion.png": _reuse_against_motion,
        "ratio_frames.png": _ratio_over_frames,
    }
    for name, draw in drawings.items():
        draw(report).savefig(directory / name, dpi=120)
    return [directory / name for name in drawings]


class MethodStyles:
    """One colour and marker for a family of methods: those that differ in arguments only."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._families = list(dict.fromkeys(_family(row.method) for row in rows))
        self._methods = list(dict.fromkeys(row.method for row in rows))

    def colour(self, method: str) -> str:
        return _COLOURS[self._families.index(_family(method)) % len(_COLOURS)]

    def marker(self, method: str) -> str:
        return _MARKERS[self._families.index(_family(method)) % len(_MARKERS)]

    def line(self, method: str) -> str:
        """Tell the members of one family apart."""
        family = [other for other in self._methods if _family(other) == _family(method)]
        return _LINES[family.index(method) % len(_LINES)]

    def families(self, rows: Sequence[Row]) -> list[list[Row]]:
        return [[row for row in rows if _family(row.method) == name] for name in self._families]


def _family(method: str) -> str:
    return method.split(":")[0]


def _accuracy_against_compute(report: Report) -> Figure:
    figure, axes = _figure("Executed / dense multiply-accumulates", "Box retention")
    _scatter(axes, report, lambda row: row.compute_ratio)
    axes.set_xlim(left=0)
    _finish(axes)
    return figure


def _accuracy_against_bytes(report: Report) -> Figure:
    figure, axes = _figure("Bytes sent / raw RGB bytes", "Box retention")
    _scatter(axes, report, lambda row: row.tx_ratio or None)
    axes.set_xscale("log")
    silent = [row.method for row in report.aggregates if not row.tx_ratio]
    if silent:
        axes.set_title(f"Send nothing: {', '.join(silent)}", fontsize=9, loc="left")
    _finish(axes)
    return figure


def _scatter(axes: Axes, report: Report, across: Callable[[Row], float | None]) -> None:
    """Aggregates as named markers, one line a family; each sequence as a faint one.

    Of a family with many members, a curve, the line has the name they share and each marker what
    is its own.
    """
    styles = MethodStyles(report.rows)
    for row in report.rows:
        _point(axes, styles, row, across(row), alpha=0.25, size=18)
    for family in styles.families(report.aggregates):
        points = [(across(row), row.box_retention, row) for row in family]
        known = sorted(
            ((x, y, row) for x, y, row in points if x is not None and y is not None),
            key=lambda point: point[0],
        )
        shared = shared_name([row.method for _, _, row in known])
        if len(known) > 1:
            axes.plot(
                [x for x, _, _ in known],
                [y for _, y, _ in known],
                lw=1,
                color=styles.colour(family[0].method),
                label=shared.rstrip(":") or None,
            )
        for x, y, row in known:
            _point(axes, styles, row, x, alpha=1.0, size=70)
            name = row.method.removeprefix(shared)
            axes.annotate(name, (x, y), xytext=(6, -10), textcoords="offset points", fontsize=8)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False, loc="lower right")


def shared_name(methods: Sequence[str]) -> str:
    """Return the arguments that many methods have in common, none where they are few."""
    if len(methods) < _CURVE:
        return ""
    parts = [method.split(":") for method in methods]
    same = takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
    return "".join(f"{column[0]}:" for column in same)


def _point(
    axes: Axes, styles: MethodStyles, row: Row, x: float | None, *, alpha: float, size: int
) -> None:
    if x is None or row.box_retention is None:
        return
    axes.scatter(
        x,
        row.box_retention,
        s=size,
        alpha=alpha,
        color=styles.colour(row.method),
        marker=styles.marker(row.method),
        linewidths=0,
    )


def _reuse_against_motion(report: Report) -> Figure:
    figure, axes = _figure("Mean over frames of the median motion (pixels/frame)", "Reuse ratio")
    styles = MethodStyles(report.rows)
    for method in dict.fromkeys(row.method for row in report.rows):
        rows = sorted(
            (row for row in report.rows if row.method == method), key=lambda row: row.motion
        )
        axes.plot(
            [row.motion for row in rows],
            [row.reuse_ratio for row in rows],
            marker=styles.marker(method),
            color=styles.colour(method),
            linestyle=styles.line(method),
            lw=1,
            label=method,
        )
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _legend(axes)
    _finish(axes)
    return figure


def _ratio_over_frames(report: Report) -> Figure:
    """One panel a sequence: the compute ratio of every scored frame."""
    sequences = list(dict.fromkeys(series.sequence for series in report.series))
    figure = Figure(figsize=(9, 1.6 + 1.7 * len(sequences)), layout="constrained")
    styles = MethodStyles(report.rows)
    panels = figure.subplots(len(sequences), 1, squeeze=False)[:, 0]
    for axes, sequence in zip(panels, sequences, strict=True):
        for series in report.series:
            if series.sequence == sequence:
                _plot_series(axes, styles, series)
        axes.set_title(sequence, fontsize=9, loc="left")
        axes.set_ylim(bottom=-0.03)
        axes.set_ylabel("Compute ratio")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes)
    panels[-1].set_xlabel("Frame")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _plot_series(axes: Axes, styles: MethodStyles, series: Series) -> None:
    axes.plot(
        range(1, len(series.compute_ratio) + 1),
        series.compute_ratio,
        drawstyle="steps-mid",
        lw=1.2,
        linestyle=styles.line(series.method),
        color=styles.colour(series.method),
        label=series.method,
    )


def _figure(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
