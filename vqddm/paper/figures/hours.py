"""What Figures 5 and 6 share: seconds of one machine as hours, an axis of sampling steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS = 50_000  # code maps and images whose hours are told
SECONDS_PER_HOUR = 3600


def hours_of(timed: dict[str, Any], steps: int, decode: float = 0.0) -> float:
    """Hours for 50,000 code maps or pictures of so many steps; `decode` are the seconds of decoding one."""
    return MAPS * steps * float(timed["seconds_per_step"]) / SECONDS_PER_HOUR + MAPS * decode / SECONDS_PER_HOUR


def machine_of(timed: dict[str, Any]) -> str:
    """The machine on which something was timed."""
    threads = timed["threads"]
    return f"{timed['device']}, {threads} thread{'s' if threads != 1 else ''}"


def hours(value: float) -> str:
    """Two significant digits with the unit, such as `0.023 h` or `10 h`."""
    return f"{value:.2g} h" if value < 100 else f"{value:.0f} h"


def steps_axis(axes: Axes, steps: Sequence[int], room: float = 1.9) -> None:
    """Sampling steps on a logarithmic axis, with so many times the most steps as room for labels on the right."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xlim(min(steps) / 1.6, max(steps) * room)
    shown: list[int] = []
    for step in sorted(set(steps)):  # leave out ticks that would touch their left neighbour
        if not shown or step / shown[-1] > 1.45:
            shown.append(step)
    axes.set_xticks(shown, [f"{s:,}".replace(",", " ") for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sampling steps (log scale)")
