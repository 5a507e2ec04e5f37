"""The plot of the days; matplotlib is wanted here alone, and only if it is there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(totals: Mapping[str, Sequence[float]], path: Path) -> bool:
    """Draw the megabytes stored after each day as a PNG file; return False without matplotlib."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return False
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for name, stored in totals.items():
        days = range(1, len(stored) + 1)
        axes.plot(
            days, stored, marker=".", label=f"{name}: {stored[-1] / stored[0]:.2f} times day 1"
        )
    axes.set(
        title="Stored after each day, 1 % of all rows changed at random a day",
        xlabel="day", ylabel="MB", ylim=(0, None),
    )  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    return True
