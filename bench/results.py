"""bench/results.md and its plots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.figure import Curve, Figure
from bench.turns import Spread
from tests.faults.campaign import describe_versions

_HEAD = """# Measured

Made by `make bench`; what each line measures and how stands in [README.md](README.md). Compared are things
measured turn by turn in one run; given is the median over the turns, and behind it the lowest and the highest.
Absolute figures are of this machine and this run.

"""


def write_results(
    folder: Path, figures: Sequence[Figure], curves: Sequence[Curve], not_run: Sequence[str], seed: int
) -> None:
    """Replace results.md and the plots in `folder`."""
    lines = [
        "| # | measured | beside | came to | to reach | reached | turns | absolute |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(figure) for figure in sorted(figures)]
    made = (
        f"Made on {datetime.now(UTC):%Y-%m-%d}, seed {seed}, {os.cpu_count()} cores, {describe_versions()}."
    )
    parts = [_HEAD + made, "\n".join(lines)]
    if not_run:
        parts.append("Not run: " + "; ".join(not_run) + ".")
    for curve in curves:
        plot(curve, folder / f"{curve.name}.png")
        parts.append(f"![{curve.title}]({curve.name}.png)")
    (folder / "results.md").write_text("\n\n".join(parts) + "\n", "utf-8")


def plot(curve: Curve, path: Path) -> None:
    """As a PNG; each point with its spread."""
    import matplotlib as mpl  # noqa: PLC0415  # half a second that measuring need not wait for

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice of its backend

    figure, axes = plt.subplots(figsize=(7, 4), dpi=110)
    for name, points in curve.lines.items():
        spreads = [spread for _, spread in points]
        middles = [spread.median for spread in spreads]
        below = [spread.median - spread.lowest for spread in spreads]
        above = [spread.highest - spread.median for spread in spreads]
        axes.errorbar([x for x, _ in points], middles, yerr=[below, above], marker="o", capsize=3, label=name)
    if curve.logarithmic:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _line(figure: Figure) -> str:
    cells = [
        str(figure.row),
        figure.measure,
        figure.against,
        f"{format_spread(figure.value)} {figure.unit}",
        str(figure.aim),
        "yes" if figure.aim.is_reached_by(figure.value.median) else "**no**",
        str(figure.turns),
        figure.absolute,
    ]
    return f"| {' | '.join(cells)} |"


def format_spread(spread: Spread) -> str:
    """`0.52 (0.50 to 0.55)`, with three digits that count."""
    return f"{spread.median:.3g} ({spread.lowest:.3g} to {spread.highest:.3g})"
